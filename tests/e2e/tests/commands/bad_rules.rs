//! Rules files that nobody should load, and what is to be said of each: where, and what.

use wattribute_e2e::Scratch;

use crate::console::run;

/// A bad file: its text, and words of the complaint, the line among them.
pub struct Bad {
    pub text: String,
    pub words: &'static [&'static str],
}

/// All of them.
pub fn all() -> Vec<Bad> {
    let bad = |text: &str, words| Bad { text: text.into(), words };
    let rule = |rest: &str| format!("labels: [team]\nrules:\n  - name: train\n{rest}");
    vec![
        bad(
            &rule("    mtach: ['comm=\"x\"']\n    owner: {team: a}\n"),
            &["bad.yaml:4", "train", "mtach", "match"],
        ),
        bad("labels: [team]\nlimits: {owners: 5}\nlabels: [team]\n", &["bad.yaml:3", "labels"]),
        bad(&rule("    match: ['comm=~\"(\"']\n    owner: {team: a}\n"), &["bad.yaml:4", "train", "match"]),
        bad("labels: 7\n", &["bad.yaml:1", "labels"]),
        bad(&rule("    match: {comm: x}\n    owner: {team: a}\n"), &["bad.yaml:4", "train", "match"]),
        bad("", &["bad.yaml:1"]),
        bad("- one\n- two\n", &["bad.yaml:1"]),
        bad(
            &rule(
                "    match: ['comm=\"x\"']\n    owner: {team: a}\n  - name: train\n    match: ['comm=\"y\"']\n    owner: {team: b}\n",
            ),
            &["bad.yaml:6", "train"],
        ),
        bad(
            &rule("    match: ['cgrp=\"x\"']\n    owner: {team: a}\n"),
            &["bad.yaml:4", "train", "cgrp", "cgroup"],
        ),
        bad(
            &rule("    match: ['comm=\"x\"']\n    owner: {team: unobserved}\n"),
            &["bad.yaml:5", "train", "unobserved"],
        ),
        bad(&"[".repeat(200 * 1024), &["bad.yaml:1", "deep"]),
        Bad { text: bomb(), words: &["bad.yaml:"] },
        bad("rules: [\u{0}]\n", &["bad.yaml:1"]),
    ]
}

/// Six lists of ten, each of the one before: a million entries if all aliases are followed.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..6 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text + "labels: *a5\n"
}

/// Two faults in one file, and one in another.
#[test]
fn all_errors_of_all_files_are_said_at_once() {
    let scratch = Scratch::new("bad-many");
    let one = scratch.write(
        "one.yaml",
        "labels: 7\nrules:\n  - name: x\n    match: ['nmae=\"a\"']\n    owner: {team: a}\n",
    );
    let two = scratch.write("two.yaml", "rulez: []\n");
    let done = run(&["check", &one.display().to_string(), &two.display().to_string()], &[]);
    done.check(1, &["one.yaml:1", "one.yaml:4", "two.yaml:1"]);
}

#[test]
fn a_bad_file_ends_serve_and_check_at_once_with_the_place() {
    for Bad { text, words } in all() {
        let scratch = Scratch::new("bad");
        let file = scratch.write("bad.yaml", &text).display().to_string();
        run(&["check", &file], &[]).check(1, words);
        let flag = format!("--rules.file={file}");
        run(&["--source=demo", "--web.listen-address=127.0.0.1:0", &flag], &[]).check(1, words);
    }
}

#[test]
fn a_complaint_is_short_whatever_the_file() {
    for Bad { text, .. } in all() {
        let scratch = Scratch::new("bad-short");
        let file = scratch.write("bad.yaml", &text).display().to_string();
        let done = run(&["check", &file], &[]);
        assert!(done.stderr.len() < 4000, "{} bytes: {:.500}", done.stderr.len(), done.stderr);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let scratch = Scratch::new("unreadable");
    let missing = scratch.path("nowhere.yaml").display().to_string();
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let folder = scratch.path("folder");
    std::fs::create_dir_all(folder.join("bad.yaml")).expect("a folder");
    let not_text = scratch.path("bytes.yaml");
    std::fs::write(&not_text, b"labels: [\xff]\n").expect("a file");
    let huge = scratch.write("huge.yaml", &format!("# {}\n", "x".repeat(4 << 20)));
    for (path, word) in [
        (missing.as_str(), "nowhere.yaml"),
        (&empty.display().to_string(), "empty"),
        (&folder.display().to_string(), "bad.yaml"),
        (&not_text.display().to_string(), "bytes.yaml"),
        (&huge.display().to_string(), "huge.yaml"),
    ] {
        run(&["check", path], &[]).check(1, &[word]);
        let flag = format!("--rules.file={path}");
        run(&["--source=demo", "--web.listen-address=127.0.0.1:0", &flag], &[]).check(1, &[word]);
    }
}

/// As a user who may not enter the folder.
#[test]
fn a_folder_that_may_not_be_entered_is_named() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    // Other users may not be allowed to enter the target's folder.
    let open = std::env::temp_dir().join(format!("wattribute-unreadable-{}", std::process::id()));
    let (program, closed) = (open.join("wattribute"), open.join("closed"));
    std::fs::create_dir_all(&closed).expect("a folder");
    std::fs::copy(wattribute_e2e::wattribute(), &program).expect("a copy");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own");
    };
    mode(&open, 0o755);
    mode(&closed, 0o700);
    let mut command = std::process::Command::new(&program);
    command.arg("check").arg(&closed).uid(65_534).gid(65_534).current_dir("/");
    let done = crate::console::finish(command);
    std::fs::remove_dir_all(&open).expect("our own");
    done.check(1, &["closed", "ermission"]);
}
