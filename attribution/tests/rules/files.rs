//! The files we ship, and what the docs say of the fields.

use std::fs;
use std::path::{Path, PathBuf};

use wattribute::facts::Field;
use wattribute::rules::{Refusal, RuleSet, Source};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn load(path: &Path) -> RuleSet {
    let source = Source { name: path.display().to_string(), text: fs::read_to_string(path).expect("a text") };
    let folder = path.parent().expect("a folder");
    let mut read =
        |_: &str, file: &str| fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    RuleSet::load(&[source], &mut read).unwrap_or_else(|problems| panic!("{problems}"))
}

fn shipped() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(ROOT).join("rules/attribution")).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect()
}

#[test]
fn the_files_we_ship_pass_their_own_tests() {
    let files = shipped();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let rules = load(&file);
        assert!(rules.test_count() > 0, "{} has no tests", file.display());
        assert_eq!(rules.check(), [], "{}", file.display());
        assert_eq!(rules.lint(), [], "{}", file.display());
    }
}

#[test]
fn only_the_variables_that_rules_name_are_wanted() {
    let rules = load(&Path::new(ROOT).join("rules/attribution/bare-metal.yaml"));
    assert_eq!(rules.wanted_env().iter().collect::<Vec<_>>(), ["COURSE", "PROJECT"]);
}

#[test]
fn the_recorded_control_groups_pass_as_a_rules_file() {
    let rules = load(&Path::new(ROOT).join("attribution/tests/fixtures/cgroups.yaml"));
    assert!(rules.test_count() > 30);
    assert_eq!(rules.check(), []);
}

#[test]
fn the_examples_in_the_docs_load_and_pass() {
    let docs = fs::read_to_string(Path::new(ROOT).join("docs/rules.md")).expect("the docs");
    let examples: Vec<&str> =
        docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for text in examples {
        let source = Source { name: "docs/rules.md".into(), text: text.into() };
        let rules = RuleSet::load(&[source], &mut |_, _| Ok("key,project,team\nsky,survey,physics\n".into()));
        assert_eq!(rules.unwrap_or_else(|problems| panic!("{problems}")).check(), []);
    }
}

/// The rows of a section of the docs: the name in the first cell, and the second cell.
fn rows(section: &str) -> Vec<(String, String)> {
    let docs = fs::read_to_string(Path::new(ROOT).join("docs/rules.md")).expect("the docs");
    let rest = docs.split(&format!("\n## {section}\n")).nth(1).expect("the section");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*cells.get(2)?).to_owned()))
    };
    rest.split("\n## ").next().unwrap_or_default().lines().filter_map(row).collect()
}

#[test]
fn the_docs_list_every_field_with_its_evidence() {
    let listed: Vec<_> = rows("Fields").into_iter().filter(|(name, _)| !name.contains('<')).collect();
    let fields = Field::FIXED.iter().map(|field| (field.to_string(), field.evidence().to_string()));
    assert_eq!(listed, fields.collect::<Vec<_>>());
}

#[test]
fn the_docs_list_every_refusal() {
    let listed: Vec<String> = rows("Values").into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, Refusal::ALL.map(|refusal| refusal.to_string()));
}
