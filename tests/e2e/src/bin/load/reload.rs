//! Replaces the rules of a running exporter by a thousand rules and a table of five thousand rows: how long it takes,
//! and whether a sample comes late.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use wattribute_e2e::Exporter;

use crate::row;

const RULES: usize = 1000;
const ROWS: usize = 5000;
/// How often, and for how long each, samples are watched.
const TIMES: usize = 5;
const TIME: Duration = Duration::from_secs(5);

pub fn measure(exporter: &Exporter, rules: &Path) {
    let quiet = watch(exporter);
    row("longest time between two samples of a GPU", "ms", quiet * 1000.0);
    let mut took = vec![];
    let mut gap: f64 = 0.0;
    for generation in 0..TIMES {
        let folder = rules.parent().expect("a folder");
        fs::write(folder.join("accounts.csv"), table(generation)).expect("a table");
        fs::write(rules, text(generation)).expect("rules");
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
        exporter.signal(Signal::HUP);
        gap = gap.max(watch(exporter));
        let scrape = exporter.scrape();
        let ok = scrape.value("wattribute_rules_last_reload_successful", &[]);
        assert_eq!(ok, Some("1"), "{}", exporter.stderr());
        let end = scrape.find("wattribute_rules_last_reload_success_timestamp_seconds", &[])[0].number();
        took.push((end - begin) * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    row("reload of 1,000 rules and 5,000 table rows, median", "ms", took[TIMES / 2]);
    row("the slowest of five", "ms", took[TIMES - 1]);
    row("longest time between two samples of a GPU around them", "ms", gap * 1000.0);
}

/// The longest time between two samples of a GPU, in s.
fn watch(exporter: &Exporter) -> f64 {
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    let mut longest: f64 = 0.0;
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let scrape = exporter.scrape();
        for sample in scrape.find("wattribute_gpu_last_sample_timestamp_seconds", &[]) {
            let before = last.insert(format!("{:?}", sample.labels), sample.number());
            longest = longest.max(before.map_or(0.0, |before| sample.number() - before));
        }
        sleep(Duration::from_millis(200));
    }
    longest
}

fn text(generation: usize) -> String {
    let mut text = String::from("idle_watts: {\"NVIDIA H100.*\": 70}\nrules:\n");
    for number in 0..RULES {
        let pattern = format!(".*(a|b)project-{generation}-{number:04}/train.*");
        writeln!(text, "  - {{name: r{number}, match: ['cmdline=~\"{pattern}\"'], owner: {{team: other}}}}")
            .expect("a string");
    }
    text + "  - {name: said, match: ['env_TEAM=~\".+\"'], owner: {team: \"${env_TEAM}\"}}\n\
        \x20 - {name: account, match: ['scheduler=\"slurm\"'], lookup: {table: accounts, key: \"${slurm_account}\"}}\n\
        tables:\n  accounts: {file: accounts.csv}\n"
}

fn table(generation: usize) -> String {
    let row = |number| format!("account-{generation}-{number},team-{}\n", number % 12);
    (0..ROWS).map(row).fold("key,team\n".into(), |text: String, row| text + &row)
}
