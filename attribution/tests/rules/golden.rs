//! Every message, errors and warnings, against golden files. `UPDATE_GOLDEN=1 cargo test -p wattribute` rewrites them;
//! read the diff.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wattribute::rules::{Problems, RuleSet, Source};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

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
fn load(fixture: &Path) -> Result<RuleSet, Problems> {
    let folder = if fixture.is_dir() { fixture } else { fixture.parent().expect("a folder") };
    let files = if fixture.is_dir() { sorted(fixture) } else { vec![fixture.to_owned()] };
    let rules = files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml"));
    let source =
        |file: &PathBuf| Source { name: name(file), text: fs::read_to_string(file).expect("a text") };
    let sources: Vec<Source> = rules.map(source).collect();
    let mut read =
        |_: &str, file: &str| fs::read_to_string(folder.join(file)).map_err(|_| "no such file".to_owned());
    RuleSet::load(&sources, &mut read)
}

#[track_caller]
fn check(folder: &str, messages: impl Fn(&Path) -> String) {
    let folder = Path::new(TESTS).join(folder);
    let golden = folder.join("golden.txt");
    let mut got = String::new();
    for fixture in sorted(&folder).iter().filter(|path| **path != golden) {
        writeln!(got, "== {}\n{}\n", name(fixture), messages(fixture)).expect("a string takes all");
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).expect("the golden file is written");
    }
    assert_eq!(got, fs::read_to_string(&golden).unwrap_or_default());
}

#[test]
fn every_error_reads_as_the_golden_file_shows() {
    check("rules_errors", |fixture| load(fixture).expect_err(&name(fixture)).to_string());
}

#[test]
fn every_warning_reads_as_the_golden_file_shows() {
    check("rules_warnings", |fixture| {
        let rules = load(fixture).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(rules.check(), [], "{}", name(fixture));
        let warnings: Vec<String> = rules.lint().iter().map(ToString::to_string).collect();
        warnings.join("\n")
    });
}
