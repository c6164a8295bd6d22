//! The rendered rules in this repository are what `wattribute render` makes of the files beside them.
//!
//! `UPDATE_GOLDEN=1 cargo test --test render` renders them again; read the diff.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn render(source: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattribute"));
    command.current_dir(root()).arg("render").arg("--out").arg(out).args(more);
    command.arg("--prices").arg(source.join("prices.yaml"));
    command.arg("--budgets").arg(source.join("budgets.yaml"));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[track_caller]
fn check(source: &str, out: &str, until: &str) {
    let mut flags = vec!["--until", until];
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        flags.push("--check");
    }
    let output = render(Path::new(source), Path::new(out), &flags);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_committed_rules_are_current() {
    check("rules", "rules/prometheus", "2040");
}

#[test]
fn the_rules_that_promtool_tests_are_current() {
    check("rules/prometheus/tests/new-york", "rules/prometheus/tests/new-york", "1970");
    check("rules/prometheus/tests/berlin", "rules/prometheus/tests/berlin", "2027");
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wattribute-render-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_price_that_was_changed_by_hand_is_noticed() {
    let (rules, out) = (root().join("rules"), scratch("stale"));
    let absent = render(&rules, &out, &["--check"]);
    assert!(said(&absent).contains("prices.rules.yaml: No such file"), "{}", said(&absent));
    assert!(render(&rules, &out, &[]).status.success());
    assert!(render(&rules, &out, &["--check"]).status.success());
    let file = out.join("prices.rules.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("vector(0.32)", "vector(0.31)")).unwrap();
    let stale = render(&rules, &out, &["--check"]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(said(&stale).contains("prices.rules.yaml: not current: render again"), "{}", said(&stale));
    assert!(said(&render(&rules, &out, &[])).contains("prices.rules.yaml: written"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn all_errors_of_both_files_are_reported_and_nothing_is_written() {
    let (source, out) = (scratch("wrong"), scratch("nothing"));
    std::fs::write(source.join("prices.yaml"), "currency: euro\ntime_zone: UTC\nsites: {}\n").unwrap();
    std::fs::write(source.join("budgets.yaml"), "currency: EUR\nteams: {a: {monthly: []}}\n").unwrap();
    let output = render(&source, &out, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("prices.yaml:1: currency: \"euro\" is no currency"), "{}", said(&output));
    assert!(
        said(&output).contains("budgets.yaml:2: team \"a\": monthly: an empty list"),
        "{}",
        said(&output)
    );
    std::fs::write(source.join("prices.yaml"), "currency: USD\ntime_zone: UTC\nsites: {}\n").unwrap();
    std::fs::write(source.join("budgets.yaml"), "currency: EUR\nteams: {}\n").unwrap();
    let output = render(&source, &out, &[]);
    assert!(said(&output).contains("budgets are in EUR, prices in USD"), "{}", said(&output));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    std::fs::remove_dir_all(source).unwrap();
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn the_examples_in_the_documents_are_right() {
    let page = std::fs::read_to_string(root().join("docs/money.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    let [prices, budgets] = blocks.collect::<Vec<_>>().try_into().unwrap();
    let folder = scratch("examples");
    std::fs::write(folder.join("prices.yaml"), prices).unwrap();
    std::fs::write(folder.join("budgets.yaml"), budgets).unwrap();
    let output = render(&folder, &folder, &[]);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::remove_dir_all(folder).unwrap();
}
