//! The Debian package, as `package.metadata.deb` describes it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{check_rules, check_serves, read, root};

/// What `packaging/debian/build` makes before the package.
const MADE: &[&str] = &[
    "target/release/wattribute",
    "target/release/manual/*.1.gz",
    "target/release/completions/bash",
    "target/release/completions/zsh",
    "target/release/completions/fish",
];

/// `package.metadata.deb`.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = all["packages"].as_array().expect("packages");
    let package =
        packages.iter().find(|package| package["name"] == "wattribute-exporter").expect("the exporter");
    package["metadata"]["deb"].clone()
}

/// Source, destination and mode of everything in the package.
fn assets(metadata: &Value) -> Vec<[String; 3]> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let asset = |value: &Value| [0, 1, 2].map(|index| text(&value[index]));
    metadata["assets"].as_array().expect("assets").iter().map(asset).collect()
}

/// The files that a source of an asset means.
fn matches(source: &str) -> Vec<String> {
    let path = root().join("exporter").join(source);
    let (folder, pattern) =
        (path.parent().expect("a folder"), path.file_name().expect("a name").display().to_string());
    let Some((before, after)) = pattern.split_once('*') else {
        return path.is_file().then(|| source.to_owned()).into_iter().collect();
    };
    let entries = fs::read_dir(folder).expect(source).map(|entry| entry.expect("an entry"));
    let names =
        entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().display().to_string());
    names.filter(|name| name.starts_with(before) && name.ends_with(after)).collect()
}

#[test]
fn everything_in_the_package_exists_and_is_readable() {
    for [source, destination, mode] in assets(&metadata()) {
        let is_program = destination == "usr/bin/";
        assert_eq!(mode, if is_program { "755" } else { "644" }, "{source}");
        assert!(MADE.contains(&&*source) || !matches(&source).is_empty(), "{source} names no file");
    }
}

#[test]
fn what_is_made_is_made_by_the_script() {
    let script = read("debian/build");
    for folder in ["manual", "completions"] {
        assert!(script.contains(&format!("$target/release/{folder}")), "{folder}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(MADE.iter().any(|path| path.ends_with(shell)) && script.contains(shell), "{shell}");
    }
}

#[test]
fn files_in_etc_are_kept_on_upgrade() {
    let metadata = metadata();
    let files = assets(&metadata).into_iter().map(|[_, destination, _]| format!("/{destination}"));
    let in_etc: BTreeSet<String> = files.filter(|path| path.starts_with("/etc/")).collect();
    let kept = metadata["conf-files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file.as_str().expect("a path").into());
    assert_eq!(in_etc, kept.collect());
}

#[test]
fn the_scripts_are_programs_with_the_place_for_the_units() {
    for name in ["postrm", "build"] {
        let path = root().join("packaging/debian").join(name);
        let mode = fs::metadata(&path).expect(name).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name}");
        assert!(name == "build" || read(&format!("debian/{name}")).contains("\n#DEBHELPER#\n"), "{name}");
    }
}

#[test]
fn version_and_licence_are_the_workspaces() {
    let version = format!("wattribute ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(read("debian/changelog").starts_with(&version), "packaging/debian/changelog: {version}");
    let licence = fs::read_to_string(root().join("LICENSE-MIT")).expect("the licence");
    let words =
        |text: &str| text.split_whitespace().filter(|word| *word != ".").collect::<Vec<_>>().join(" ");
    let (_, licence) = licence.split_once("Permission").expect("its text");
    assert!(words(&read("debian/copyright")).contains(&words(licence)));
}

#[test]
fn only_the_service_is_a_unit_by_itself() {
    // cargo-deb installs and enables every unit in this folder.
    let units = ["service", "socket", "timer", "path", "target", "mount", "tmpfile"];
    let files = matches("../packaging/systemd/*");
    let found: Vec<&String> =
        files.iter().filter(|name| units.iter().any(|unit| name.ends_with(&format!(".{unit}")))).collect();
    assert_eq!(found, ["wattribute.service"]);
}

#[test]
fn the_service_starts_with_the_rules_and_variables_that_come_with_it() {
    let rules = root().join("packaging/debian/teams.yaml");
    check_rules(&rules);
    check_serves(&service_command(), &rules);
    // With the comment signs gone they are values that somebody would set.
    let defaults = read("systemd/wattribute.default");
    let set = defaults.lines().filter_map(|line| line.strip_prefix("#WATTRIBUTE_"));
    let flags = set.map(|line| {
        let (name, value) = line.split_once('=').expect("a value");
        format!("--{}={value}", flag(name))
    });
    let flags: Vec<String> = flags.filter(|flag| flag != "--web.enable-processes=true").collect();
    assert!(flags.len() > 3, "{flags:?}");
    check_serves(&flags, &rules);
}

/// The flag of a variable, of those which `wattribute.default` names.
fn flag(variable: &str) -> String {
    let (group, name) = variable.split_once('_').expect("a group");
    format!("{group}.{}", name.replace('_', "-")).to_lowercase()
}

/// What the unit starts, without the program.
fn service_command() -> Vec<String> {
    let unit = read("systemd/wattribute.service");
    let line =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/wattribute ")).expect("a command");
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_commented_rules_hold_too() {
    let text = read("debian/teams.yaml");
    let (_, rules) = text.split_once("\nlabels:").expect("labels, and what comes after the prose");
    let text = format!("labels:{}", rules.replace("\n#", "\n"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("teams-{}.yaml", std::process::id()));
    fs::write(&path, &text).expect("a file");
    check_rules(&path);
    assert!(text.contains("emmy"), "{text}");
    fs::remove_file(path).expect("it is there");
}
