//! Puts the replay and what the recording rules make of it into a Prometheus. Rules are evaluated by range queries, a
//! level of rules that need each other at a time, and what they say is backfilled like the replay itself: `promtool tsdb
//! create-blocks-from rules` cannot do it, since it evaluates each rule as if no other were recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_yaml::Value;
use wattribute_e2e::{Labels, Prometheus, Scratch, require, wattribute};

use crate::board::root;
use crate::exposition::{Page, RECENT, page};
use crate::site::{END, SLOT, START};

/// Every hour is recorded, and every five minutes of the last hours.
const SPANS: [(u64, u64, u64); 2] =
    [(START, END - END % 3600, 3600), ((END - RECENT * SLOT) / SLOT * SLOT + SLOT, END, SLOT)];

/// Recording rules of what the replay does not have.
const SILENT: [&str; 0] = [];

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub record: String,
    pub expr: String,
    pub labels: BTreeMap<String, String>,
}

/// The recording rules of a file.
#[track_caller]
pub fn rules(path: &Path) -> Vec<Rule> {
    all(path).iter().filter_map(rule).collect()
}

/// The alerts of a file: names and expressions.
#[track_caller]
pub fn alerts(path: &Path) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    all(path).iter().filter_map(|one| Some((text(&one["alert"])?, text(&one["expr"])?))).collect()
}

#[track_caller]
fn all(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value =
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let groups = file["groups"].as_sequence().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

fn rule(one: &Value) -> Option<Rule> {
    let pairs = one["labels"].as_mapping().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let labels = pairs.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    Some(Rule { record: text(&one["record"])?, expr: text(&one["expr"])?, labels })
}

/// Whether an expression names a series.
fn names(expr: &str, name: &str) -> bool {
    let part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    expr.match_indices(name).any(|(at, _)| {
        let (before, after) = (expr[..at].chars().next_back(), expr[at + name.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Rules by how deep they build on others; those of one level need only what earlier levels recorded.
fn levels(mut rules: Vec<Rule>) -> Vec<Vec<Rule>> {
    let mut levels = vec![];
    while !rules.is_empty() {
        let waits = |one: &Rule| {
            rules.iter().any(|other| other.record != one.record && names(&one.expr, &other.record))
        };
        let (later, ready): (Vec<Rule>, Vec<Rule>) = rules.iter().cloned().partition(waits);
        assert!(!ready.is_empty(), "rules that need each other: {later:?}");
        levels.push(ready);
        rules = later;
    }
    levels
}

/// Renders the prices and budgets beside this file, as a user would.
#[track_caller]
fn render(scratch: &Scratch) -> PathBuf {
    let (beside, out) = (root().join("tests/e2e/tests/dashboards"), scratch.path("rules"));
    fs::create_dir_all(&out).expect("a folder");
    let mut command = Command::new(wattribute());
    command.arg("render").arg("--prices").arg(beside.join("prices.yaml"));
    command.arg("--budgets").arg(beside.join("budgets.yaml")).arg("--out").arg(&out);
    let output = command.output().expect("wattribute runs");
    assert!(output.status.success(), "render: {}", String::from_utf8_lossy(&output.stderr));
    out
}

/// A Prometheus that knows the replay, and what our rules record of it with the prices beside this file.
pub fn prometheus(scratch: &Scratch) -> Prometheus {
    let rendered = render(scratch);
    let files = [
        rendered.join("prices.rules.yaml"),
        rendered.join("budgets.rules.yaml"),
        root().join("rules/prometheus/recording.rules.yaml"),
    ];
    let folder = scratch.path("prometheus");
    backfill(scratch, &page());
    let mut server = Prometheus::with_config(&folder, "{}");
    for level in levels(files.iter().flat_map(|path| rules(path)).collect()) {
        let mut page = Page::default();
        for rule in &level {
            let series = record(&server, rule, &mut page);
            assert!(
                series > 0 || SILENT.contains(&rule.record.as_str()),
                "{} records nothing: {}",
                rule.record,
                rule.expr
            );
        }
        drop(server);
        backfill(scratch, &page.finish());
        server = Prometheus::with_config(&folder, "{}");
    }
    server
}

/// Writes what a rule says at every time; how many series that are.
fn record(server: &Prometheus, rule: &Rule, page: &mut Page) -> usize {
    let mut series_written = 0;
    for (from, to, step) in SPANS {
        let span = (seconds(from), seconds(to));
        for (mut labels, points) in server.query_range(&rule.expr, span, Duration::from_secs(step)) {
            labels.remove("__name__");
            labels.extend(rule.labels.clone());
            let points: Vec<(f64, f64)> =
                points.into_iter().filter(|(time, _)| step < 3600 || *time < seconds(SPANS[1].0)).collect();
            page.recorded(&series(&rule.record, &labels), &points);
            series_written += 1;
        }
    }
    series_written
}

/// As text: `name{label="value"}`.
fn series(name: &str, labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", pairs.join(","))
}

#[expect(clippy::cast_precision_loss, reason = "Unix times in s are exact")]
pub fn seconds(whole: u64) -> f64 {
    whole as f64
}

/// Adds blocks to the data of a Prometheus that does not run.
#[track_caller]
fn backfill(scratch: &Scratch, text: &str) {
    let file = scratch.write("replay.om", text);
    let mut command = Command::new(require("promtool"));
    command.args(["tsdb", "create-blocks-from", "--quiet", "--max-block-duration=720h", "openmetrics"]);
    command.arg(file).arg(scratch.path("prometheus").join("data"));
    let output = command.output().expect("promtool runs");
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
}
