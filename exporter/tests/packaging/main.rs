//! What ships to other people's machines, as far as it can be checked without root and servers: every flag and variable in
//! it exists, every file it names is there, and what it promises of security stands in it. With servers, systemd and a
//! shell: `tests/e2e/tests/packaging`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod container;
mod debian;
mod kubernetes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_yaml::Value;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// A file of `packaging/`.
#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join("packaging").join(path)).expect(path)
}

/// All files below a folder of `packaging/`, by their paths in it.
#[track_caller]
fn files(folder: &str) -> Vec<String> {
    let mut found = vec![];
    let path = root().join("packaging").join(folder);
    for entry in fs::read_dir(path).expect(folder).map(|entry| entry.expect("an entry")) {
        let name = format!("{folder}/{}", entry.file_name().display());
        if entry.path().is_dir() { found.extend(files(&name)) } else { found.push(name) }
    }
    found
}

/// The documents of a YAML file of `packaging/`.
#[track_caller]
fn documents(path: &str) -> Vec<Value> {
    let parse = |text: &str| serde_yaml::from_str(text).expect(path);
    read(path).split("\n---\n").map(parse).collect()
}

/// The binary, without the environment of whoever runs the tests.
fn wattribute() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattribute"));
    command.env_clear();
    command
}

#[test]
fn every_variable_that_ships_is_a_flag() {
    let help = wattribute().args(["serve", "--help"]).output().expect("help").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let mut count = 0;
    let all = ["systemd", "container", "debian", "kubernetes"].map(files).concat();
    for path in all {
        let text = read(&path);
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        // The revision is for building; `WATTRIBUTE_` by itself is prose.
        let names = words.filter(|word| word.starts_with("WATTRIBUTE_") && word.len() > 11);
        for name in names.filter(|name| *name != "WATTRIBUTE_REVISION") {
            assert!(help.contains(&format!("[env: {name}=")), "{path}: {name}");
            count += 1;
        }
    }
    assert!(count > 5, "only {count} variables were found: does this test still read the files?");
}

/// Serves with these arguments until the driver is looked for, which is not there: so far everything was understood.
#[track_caller]
fn check_serves(arguments: &[String], rules: &Path) {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}", std::process::id()));
    let here = |argument: &String| match argument.split_once('=') {
        Some(("--web.listen-address", _)) => "--web.listen-address=127.0.0.1:0".to_owned(),
        Some(("--rules.file", _)) => format!("--rules.file={}", rules.display()),
        Some(("--state.dir", _)) => format!("--state.dir={}", state.display()),
        _ => argument.clone(),
    };
    let mut command = wattribute();
    command.args(arguments.iter().filter(|argument| !argument.starts_with("--nvml.library")).map(here));
    let output = command.arg("--nvml.library=/nowhere/libnvidia-ml.so.1").output().expect("it runs");
    fs::remove_dir_all(&state).ok();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("no GPU can be read"), "{arguments:?}: {said}");
}

/// Rules hold without a warning, in the folder as it is or as Kubernetes mounts it.
#[track_caller]
fn check_rules(path: &Path) {
    let output = wattribute().args(["check", "--strict"]).arg(path).output().expect("it runs");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
}

/// The commands of a page, which stand in indented lines.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs").join(page)).expect(page);
    text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[test]
fn every_file_that_a_command_in_the_docs_names_exists() {
    let mut count = 0;
    for page in ["install.md", "kubernetes.md"] {
        for command in commands(page) {
            for word in command.split(' ').filter(|word| word.starts_with("packaging/")) {
                assert!(root().join(word).exists(), "{page}: {command}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn what_is_installed_by_hand_is_what_the_service_needs() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("by-hand-{}", std::process::id()));
    fs::create_dir_all(place.join("usr/bin")).expect("a folder");
    for command in commands("install.md") {
        let Some(arguments) = command.strip_prefix("sudo install ") else { continue };
        let arguments = arguments.replace("target/release/wattribute", env!("CARGO_BIN_EXE_wattribute"));
        let (arguments, to) = arguments.rsplit_once(' ').expect("where to");
        let mut install = Command::new("install");
        install.args(arguments.split(' ')).arg(format!("{}{to}", place.display())).current_dir(root());
        assert!(install.status().expect("install").success(), "{command}");
    }
    let unit = fs::read_to_string(place.join("etc/systemd/system/wattribute.service")).expect("the unit");
    for path in ["usr/bin/wattribute", "etc/wattribute/rules.d", "etc/default/wattribute"] {
        assert!(unit.contains(&format!("/{path}")) && place.join(path).exists(), "{path}");
    }
    check_rules(&place.join("etc/wattribute/rules.d"));
    fs::remove_dir_all(place).expect("it is there");
}
