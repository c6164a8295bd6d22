//! Every capture in `tests/captures`, replayed on its own clocks, gives the scrape that lies beside it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::*;
use crate::capture::{Capture, Stage, Witness};
use crate::expose::encode;
use crate::expose::rows::{About, RulesStatus, Scrapable};
use crate::rules_file;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures")
}

/// The scrape after a capture and its exposition delay, with the gauges of its last samples.
fn scrape(folder: &Path) -> String {
    let capture = Capture::open(folder).expect("a capture");
    assert!(capture.is_complete, "{}: it has no end", folder.display());
    let header = capture.header.clone();
    let stage = Arc::new(Mutex::new(Stage::new(&header)));
    let (events, inbox) = mpsc::channel();
    let published = Arc::new(Mutex::new(Snapshot::default()));
    let (sink, known) = (Arc::clone(&published), Arc::clone(&stage));
    let neighbours = Neighbours {
        identify: Box::new(Witness::new(Arc::clone(&stage), events)),
        key_of: Box::new(move |pid| known.lock().expect("a lock").key(pid)),
        publish: Box::new(move |snapshot| *sink.lock().expect("a lock") = snapshot),
    };
    let clock = |at_us: u64| Now {
        monotonic: Microseconds(header.boot_us + at_us),
        boot: Microseconds(header.boot_us + at_us),
        unix: Microseconds(header.unix_us + at_us),
    };
    let config = Config {
        begins: clock(0).monotonic,
        interval: Duration::from_micros(header.interval_us),
        delay: Duration::from_secs(DELAY),
        host: header.host.clone(),
        schedulers: BTreeSet::new(),
        process_series: 100,
        workload_series: 100,
        detail: Default::default(),
    };
    let rules = rules_file::load(&[folder.join("rules.yaml")]).expect("rules");
    let mut accountant = Accountant::new(config, neighbours, Arc::new(rules), |_| Inheritance::default());
    let mut last = 0;
    for entry in capture.lines().expect("lines") {
        let entry = entry.expect("a sound line");
        last = entry.at_us;
        let event = stage.lock().expect("a lock").hear(entry).expect("a line that makes sense");
        if let Some(event) = event {
            accountant.take(event, clock(last));
            inbox.try_iter().for_each(|event| accountant.take(event, clock(last)));
        }
        accountant.note_silence(clock(last).monotonic);
        accountant.publish(clock(last));
    }
    accountant.publish(clock(last + 2 * DELAY * 1_000_000));
    let about = About {
        source: "capture",
        rules: RulesStatus { successful: true, success_timestamp: 1_700_000_000.0 },
        state_write_failed: None,
    };
    let snapshot = Arc::new(published.lock().expect("a lock").clone());
    let exposition: Arc<dyn crate::expose::metrics::Exposition> = Arc::new(Scrapable { snapshot, about });
    let text = encode::classic(&exposition).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("build_info")).collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_capture_gives_the_scrape_beside_it() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("the captures") {
        let folder = entry.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        let (got, path) = (scrape(&folder), folder.join("expected.prom"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &got).expect("the scrape");
        }
        let want = std::fs::read_to_string(&path).expect("the scrape");
        assert_eq!(got, want, "{}: UPDATE_GOLDEN=1 writes it anew; read the difference", folder.display());
        count += 1;
    }
    assert!(count >= 4, "{count} captures");
}
