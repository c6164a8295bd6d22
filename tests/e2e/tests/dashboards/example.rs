//! `examples/monitoring`: its files are valid and fit together, and the demo has what the dashboards ask for.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_yaml::Value;
use wattribute_e2e::{Exporter, Flags, PATIENCE, Scratch, eventually, require};

use crate::board::root;
use crate::conventions::named;

/// Metrics that the demo does not have, since nothing goes wrong there and no driver is asked.
const ABSENT: [&str; 5] = [
    "wattribute_gpu_energy_counter_resets_total",
    "wattribute_identify_failures_total",
    "wattribute_nvml_call_duration_seconds_bucket",
    "wattribute_nvml_errors_total",
    "wattribute_state_write_failed",
];

#[track_caller]
fn read(path: &str) -> Value {
    let text = fs::read_to_string(root().join("examples/monitoring").join(path)).expect(path);
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_example_of_prometheus_finds_all_our_rules() {
    let mut command = Command::new(require("promtool"));
    command.args(["check", "config"]).arg(root().join("examples/monitoring/prometheus.yml"));
    let output = command.output().expect("promtool runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for name in ["recording", "alerts", "prices", "budgets"] {
        assert!(said.contains(&format!("rules/prometheus/{name}.rules.yaml")), "{name} is not read: {said}");
    }
}

/// Grafana computes `$__rate_interval` out of what its data source says of the scrape interval.
#[test]
fn grafana_is_told_the_scrape_interval_of_prometheus_and_where_the_dashboards_are() {
    let prometheus = read("prometheus.yml");
    let source = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0].clone();
    assert_eq!(source["jsonData"]["timeInterval"], prometheus["global"]["scrape_interval"]);
    let provider = read("grafana/provisioning/dashboards/wattribute.yaml")["providers"][0].clone();
    let services = read("compose.yaml")["services"].clone();
    let mounted = services["grafana"]["volumes"][0].as_str().and_then(|volume| volume.strip_prefix("../..:"));
    let place = mounted.and_then(|rest| rest.strip_suffix(":ro")).expect("the repository is mounted");
    assert_eq!(provider["options"]["path"], format!("{place}/dashboards").as_str());
}

/// Grafana takes every JSON file in the folder for a dashboard.
#[test]
fn the_folder_of_dashboards_has_nothing_else_for_grafana() {
    let files = fs::read_dir(root().join("dashboards")).expect("a folder");
    let names: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    let want = ["README.md", "accounting.json", "fleet.json", "gpu.json", "team.json"].map(ToOwned::to_owned);
    assert_eq!(names, want.into());
}

#[test]
fn the_demo_has_what_the_dashboards_ask_for() {
    let scratch = Scratch::new("dashboards-demo");
    let exporter = Exporter::start(&scratch, Flags { source: Some("demo".into()), ..Flags::default() })
        .expect("it starts");
    let asked: BTreeSet<String> =
        named().into_iter().map(|(_, name, _)| name).filter(|name| name.starts_with("wattribute_")).collect();
    let mut missing = BTreeSet::new();
    let all_there = || {
        let scrape = exporter.scrape();
        missing = asked.iter().filter(|name| scrape.find(name, &[]).is_empty()).cloned().collect();
        (missing.iter().all(|name| ABSENT.contains(&name.as_str()))).then_some(())
    };
    eventually(PATIENCE, "the demo has all metrics of the dashboards", all_there);
}
