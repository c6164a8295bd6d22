//! Alerts all the way: the real exporter, the repository's own rules in a real Prometheus, its own routes in a real
//! Alertmanager, and what arrives at a webhook. Intervals and waiting times are shortened, nothing else is changed.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod alertmanager;
mod webhook;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use wattribute_e2e::{Exporter, Flags, PATIENCE, Prometheus, Scratch, eventually, require, wattribute};

use alertmanager::Alertmanager;
use webhook::Webhook;

/// In force whenever this runs.
const PRICES: &str = r#"
currency: EUR
time_zone: UTC
sites:
  default:
    electricity: [{from: 2000-01-01, per_kwh: 0.30}]
    pue: [{from: 2000-01-01, ratio: 1.2}]
hardware:
  - {model: "NVIDIA.*", rates: [{from: 2000-01-01, per_hour: 2}]}
"#;

/// A cent for one of the demo's teams, and none for the others.
const BUDGETS: &str = r"
currency: EUR
teams:
  climate: {monthly: [{from: 2000-01, amount: 0.01}]}
";

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

/// A text with each setting of these names, wherever it stands, at this value.
fn with_settings(text: &str, names: &[&str], value: &str) -> String {
    let line = |line: &str| {
        let (name, _) = line.trim_start().split_once(": ").unwrap_or((line, ""));
        if !names.contains(&name) {
            return format!("{line}\n");
        }
        let indent = line.len() - line.trim_start().len();
        format!("{}{name}: {value}\n", &line[..indent])
    };
    text.lines().map(line).collect()
}

/// The rules of the repository, with these prices and budgets, at a run every second; and how many files there are.
fn hasten_rules(scratch: &Scratch) -> usize {
    let folder = scratch.path("rules");
    fs::create_dir_all(&folder).expect("a folder");
    let (prices, budgets) = (scratch.write("prices.yaml", PRICES), scratch.write("budgets.yaml", BUDGETS));
    let mut render = Command::new(wattribute());
    render.arg("render").arg("--prices").arg(prices).arg("--budgets").arg(budgets).arg("--out").arg(&folder);
    let output = render.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["recording.rules.yaml", "alerts.rules.yaml"] {
        fs::copy(rules().join("prometheus").join(name), folder.join(name)).expect(name);
    }
    let files: Vec<PathBuf> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    for file in &files {
        let text = fs::read_to_string(file).expect("rules");
        let fast = with_settings(&with_settings(&text, &["interval"], "1s"), &["for"], "0s");
        fs::write(file, fast).expect("a file");
    }
    files.len()
}

fn start_prometheus(scratch: &Scratch, exporter: &Exporter, alertmanager: &Alertmanager) -> Prometheus {
    assert_eq!(hasten_rules(scratch), 4);
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}/*.rules.yaml']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n\
         scrape_configs: [{{job_name: gpus, static_configs: [{{targets: ['{}']}}]}}]\n",
        scratch.path("rules").display(),
        alertmanager.address(),
        exporter.address(),
    );
    Prometheus::with_config(scratch.path("prometheus"), &config)
}

#[test]
fn a_team_hears_of_its_budget_and_operators_of_theirs_through_real_servers() {
    let scratch = Scratch::new("alerts");
    let webhook = Webhook::listen();
    let alertmanager = Alertmanager::start(&scratch, &webhook);
    let flags = Flags {
        source: Some("demo".into()),
        exposition_delay: Some(Duration::from_secs(3)),
        ..Flags::default()
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let instance = exporter.address().to_string();
    let _prometheus = start_prometheus(&scratch, &exporter, &alertmanager);

    let burn = [("alertname", "WattributeBudgetBurnFast"), ("team", "climate"), ("currency", "EUR")];
    let notice = webhook.wait_for("/team-climate", &burn);
    let said = notice["annotations"]["description"].as_str().unwrap_or_default();
    assert!(said.contains("climate has spent") && said.contains("(EUR per hour)"), "{said}");
    let missing = [("alertname", "WattributeTeamWithoutBudget"), ("team", "vision")];
    let notice = webhook.wait_for("/operators", &missing);
    assert_eq!(notice["annotations"]["summary"], "vision spends, and has no budget");

    exporter.kill9();
    let down = [("alertname", "WattributeExporterDown"), ("instance", &instance), ("severity", "critical")];
    webhook.wait_for("/operators", &down);
    let elsewhere = webhook.notices("/finops", &burn).len() + webhook.notices("/operators", &burn).len();
    assert_eq!(elsewhere, 0, "a team's alert went to somebody else too");
}

#[test]
fn of_the_thresholds_of_a_budget_a_team_hears_the_highest_only() {
    let scratch = Scratch::new("thresholds");
    let webhook = Webhook::listen();
    let alertmanager = Alertmanager::start(&scratch, &webhook);
    let at = |threshold: &'static str| [("team", "climate"), ("threshold", threshold)];
    let send = |team: &str, threshold: &str, severity: &str| {
        let labels = [("team", team), ("threshold", threshold), ("severity", severity), ("currency", "EUR")];
        alertmanager.add("WattributeBudgetUsed", &labels);
    };
    send("climate", "100", "critical");
    webhook.wait_for("/team-climate", &at("100"));
    send("climate", "80", "warning");
    send("climate", "50", "info");
    send("vision", "80", "warning");
    send("somebody", "80", "warning");
    webhook.wait_for("/team-vision", &[("team", "vision"), ("threshold", "80")]);
    webhook.wait_for("/finops", &[("team", "somebody"), ("threshold", "80")]);
    for threshold in ["50", "80"] {
        let inhibited = || alertmanager.inhibits(&at(threshold)).then_some(());
        eventually(PATIENCE, "the lower threshold is inhibited", inhibited);
        assert_eq!(webhook.notices("/team-climate", &at(threshold)), Vec::<serde_json::Value>::new());
    }
}

/// Which receivers an alert with these labels goes to, as amtool reads the example.
#[track_caller]
fn check_route(labels: &[&str], want: &str) {
    let mut amtool = Command::new(require("amtool"));
    amtool.args(["config", "routes", "test"]);
    amtool.arg(format!("--config.file={}", rules().join("alertmanager.yaml").display())).args(labels);
    let output = amtool.output().expect("amtool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), want, "{labels:?}");
}

#[test]
fn the_example_is_valid_and_routes_each_alert_to_one_receiver() {
    let mut amtool = Command::new(require("amtool"));
    let output = amtool.arg("check-config").arg(rules().join("alertmanager.yaml")).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_route(&["audience=team", "team=climate", "severity=critical"], "team-climate");
    check_route(&["audience=team", "team=vision", "severity=info"], "team-vision");
    check_route(&["audience=team", "team=somebody"], "finops");
    check_route(&["audience=operators", "team=climate"], "operators");
    check_route(&["alertname=NotOurs"], "operators");
}

#[test]
fn only_the_settings_named_are_changed() {
    let text = "  - name: x\n    interval: 1m\n    rules:\n      - alert: A\n        for: 5m\n";
    let want = "  - name: x\n    interval: 1s\n    rules:\n      - alert: A\n        for: 1s\n";
    assert_eq!(with_settings(text, &["interval", "for"], "1s"), want);
}
