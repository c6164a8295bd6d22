//! What stands in rules/prometheus/: every metric and label exists, every alert says what it must, has a runbook, and
//! was seen to fire. That the expressions are right is promtool's to test.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_yaml::Value;

const FILES: [&str; 4] = ["alerts", "budgets", "prices", "recording"];
/// Labels that are not in the table of metrics: of targets, of Prometheus, of the rules themselves, and what rules files
/// commonly add to `team`.
const OTHER_LABELS: &str =
    "cluster component currency day instance job month project site team threshold year";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// All rules of a file.
fn rules(file: &str) -> Vec<Value> {
    let text = read(&format!("rules/prometheus/{file}.rules.yaml"));
    let file: Value = serde_yaml::from_str(&text).expect("YAML");
    let groups = file["groups"].as_sequence().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules")).cloned().collect()
}

fn all_rules() -> Vec<Value> {
    FILES.into_iter().flat_map(rules).collect()
}

fn text<'a>(rule: &'a Value, key: &str) -> &'a str {
    rule[key].as_str().unwrap_or_default()
}

/// An expression without what stands in quotes.
fn unquoted(expr: &str) -> String {
    Regex::new(r#""(?:[^"\\]|\\.)*""#).expect("a pattern").replace_all(expr, r#""""#).into_owned()
}

fn exported() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let name = Regex::new(r"(?m)^\| `(\w+)` \|").expect("a pattern");
    name.captures_iter(&page).map(|found| found[1].to_string()).collect()
}

/// The words of the column of labels, and of those that rules use.
fn labels() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let column = rows.filter_map(|line| line.split('|').nth(4)).flat_map(|cell| cell.split(','));
    let words = column.map(|word| word.trim().to_string());
    words.chain(OTHER_LABELS.split(' ').map(Into::into)).collect()
}

#[test]
fn every_metric_that_a_rule_reads_is_exported_or_recorded() {
    let (exported, rules) = (exported(), all_rules());
    let recorded: BTreeSet<&str> = rules.iter().map(|rule| text(rule, "record")).collect();
    let name = Regex::new(r"\b(?:wattribute_\w+|[a-z_]+:[a-z_0-9]+:[a-z_0-9]+)\b").expect("a pattern");
    let mut count = 0;
    for rule in &rules {
        let said = format!("{} {}", unquoted(text(rule, "expr")), text(&rule["annotations"], "description"));
        for name in name.find_iter(&said).map(|found| found.as_str()) {
            count += 1;
            assert!(exported.contains(name) || recorded.contains(name), "{name} in: {said}");
        }
    }
    assert!(count > 200, "only {count} names were found: does this test still read the rules?");
}

#[test]
fn every_label_that_a_rule_uses_exists() {
    let known = labels();
    let list = Regex::new(r"\b(?:by|without|on|group_left|group_right) \(([^()]*)\)").expect("a pattern");
    let selector = Regex::new(r"\{([^{}]*)\}").expect("a pattern");
    let mut count = 0;
    for rule in all_rules() {
        let expr = unquoted(text(&rule, "expr"));
        let lists = list.captures_iter(&expr).map(|found| found[1].to_string());
        let selectors = selector.captures_iter(&expr).map(|found| found[1].to_string());
        for label in lists.chain(selectors).collect::<Vec<_>>().join(",").split(',') {
            let label = label.split(['=', '!']).next().unwrap_or_default().trim();
            count += usize::from(!label.is_empty());
            assert!(label.is_empty() || known.contains(label), "{label:?} in: {expr}");
        }
    }
    assert!(count > 200, "only {count} labels were found: does this test still read the rules?");
}

#[test]
fn every_alert_has_a_summary_a_value_in_its_description_a_runbook_and_a_place_to_go() {
    let runbooks = read("docs/runbooks.md");
    let alerts = rules("alerts");
    for alert in &alerts {
        let (name, annotations) = (text(alert, "alert"), &alert["annotations"]);
        assert!(text(annotations, "summary").len() > 20, "{name}");
        assert!(text(annotations, "description").contains("$value"), "{name}: no value in its description");
        let link = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(text(annotations, "runbook_url"), link, "{name}");
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name} has no section in docs/runbooks.md");
        let (audience, severity) = (text(&alert["labels"], "audience"), text(&alert["labels"], "severity"));
        assert!(["team", "operators"].contains(&audience), "{name}: {audience}");
        assert!(["info", "warning", "critical"].contains(&severity), "{name}: {severity}");
    }
    let sections = runbooks.lines().filter_map(|line| line.strip_prefix("## "));
    for section in sections {
        assert!(alerts.iter().any(|alert| text(alert, "alert") == section), "{section} is no alert");
    }
}

/// Of each alert of a test file that promtool runs: name, threshold and component where it fires, and the name where
/// nothing of that name may.
fn cases(file: &Path) -> (Vec<(String, String, String)>, Vec<String>) {
    let file: Value = serde_yaml::from_str(&fs::read_to_string(file).expect("a file")).expect("YAML");
    let tests = file["tests"].as_sequence().expect("tests");
    let (mut firing, mut silent) = (vec![], vec![]);
    for case in tests.iter().filter_map(|test| test["alert_rule_test"].as_sequence()).flatten() {
        let name = text(case, "alertname").to_string();
        let alerts = case["exp_alerts"].as_sequence().cloned().unwrap_or_default();
        if alerts.is_empty() {
            silent.push(name.clone());
        }
        let own = |alert: &Value, label| text(&alert["exp_labels"], label).to_string();
        let label = |alert: &Value| (name.clone(), own(alert, "threshold"), own(alert, "component"));
        firing.extend(alerts.iter().map(label));
    }
    (firing, silent)
}

#[test]
fn every_alert_has_a_case_for_promtool_in_which_it_fires_and_one_in_which_it_is_silent() {
    let folder = fs::read_dir(root().join("rules/prometheus/tests")).expect("a folder");
    let files = folder.map(|entry| entry.expect("an entry").path());
    let files = files.filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    let (firing, silent): (Vec<_>, Vec<_>) = files.map(|file| cases(&file)).unzip();
    let (firing, silent) = (firing.concat(), silent.concat());
    for alert in rules("alerts") {
        let of = |label: &str| text(&alert["labels"], label).to_string();
        let key = (text(&alert, "alert").to_string(), of("threshold"), of("component"));
        assert!(firing.contains(&key), "{key:?}: no case has it fire");
        assert!(silent.contains(&key.0), "{}: no case has it silent", key.0);
    }
}
