//! A scrape as it should be, held to the table of metrics.

use super::*;
use crate::expose::encode;
use crate::expose::rows::{About, RulesStatus, Scrapable};

/// Two GPUs, a known and an unknown process, one that serves on both, and ten seconds.
#[test]
fn the_golden_scrape() {
    let mut world = World::new(100 * SECOND, None);
    (0..2).for_each(|index| world.tell(sample::Event::Opened(card(index))));
    let [train, serve, guest] = [11, 12, 13].map(|pid| world.start(pid));
    world.learn(train, &[]);
    for second in 0..=10 {
        world.now = (100 + second) * SECOND;
        world.sample(0, value(1_000_000 + second * 400_001), &[(11, 60), (12, 20)]);
        world.sample(1, value(second * 150_000), if second < 6 { &[(12, 10), (13, 30)] } else { &[] });
        world.learn(train, &[(Field::User, "ada-climate"), (Field::Comm, "python")]);
        world.learn(
            serve,
            &[(Field::User, "svc"), (Field::Comm, "serve"), (Field::ContainerId, "0123456789abcdef")],
        );
        world.learn(guest, &[(Field::User, "guest"), (Field::Comm, "a\"b\\c\nd")]);
        world.publish();
    }
    let about = About {
        source: "nvml",
        rules: RulesStatus { successful: true, success_timestamp: 1_700_000_000.0 },
        state_write_failed: Some(false),
    };
    let exposition: Arc<dyn crate::expose::metrics::Exposition> =
        Arc::new(Scrapable { snapshot: Arc::new(world.publish()), about });
    crate::expose::fixture::check_rows(&*exposition);
    let text = encode::classic(&exposition).expect("text");
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("build_info")).collect();
    check_golden(&(text.join("\n") + "\n"));
}

fn check_golden(got: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/scrape.prom");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, got).expect("the golden file");
    }
    let want = std::fs::read_to_string(path).expect("the golden file");
    assert_eq!(got, want, "the scrape has changed: UPDATE_GOLDEN=1 writes it anew; read the difference");
}
