//! Every error message, against a golden file. `UPDATE_GOLDEN=1 cargo test -p wattribute` rewrites it; read the diff.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wattribute::rules::{RuleSet, Source};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules_errors");

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A fixture is a file, or a folder of files that are loaded together.
fn messages(fixture: &Path) -> String {
    let folder = if fixture.is_dir() { fixture } else { Path::new(FIXTURES) };
    let files = if fixture.is_dir() { sorted(fixture) } else { vec![fixture.to_owned()] };
    let rules = files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml"));
    let source =
        |file: &PathBuf| Source { name: name(file), text: fs::read_to_string(file).expect("a text") };
    let sources: Vec<Source> = rules.map(source).collect();
    let mut read =
        |_: &str, file: &str| fs::read_to_string(folder.join(file)).map_err(|_| "no such file".to_owned());
    let problems = RuleSet::load(&sources, &mut read).expect_err(&name(fixture));
    problems.to_string()
}

#[test]
fn every_error_reads_as_the_golden_file_shows() {
    let golden = Path::new(FIXTURES).join("golden.txt");
    let mut got = String::new();
    for fixture in sorted(Path::new(FIXTURES)).iter().filter(|path| **path != golden) {
        writeln!(got, "== {}\n{}\n", name(fixture), messages(fixture)).expect("a string takes all");
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).expect("the golden file is written");
    }
    assert_eq!(got, fs::read_to_string(&golden).unwrap_or_default());
}
