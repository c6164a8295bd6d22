//! The manual pages in `man`, the completions in bash.

use std::fs;
use std::process::Command;

use wattribute_e2e::{Scratch, require, wattribute};

use crate::said;

#[test]
fn man_shows_every_page_without_a_warning() {
    let scratch = Scratch::new("manual");
    let folder = scratch.path("man1");
    let (is_done, what) = said(Command::new(wattribute()).arg("manual").arg("--out").arg(&folder));
    assert!(is_done && what.is_empty(), "{what}");
    let mut pages: Vec<_> =
        fs::read_dir(&folder).expect("pages").map(|entry| entry.expect("a page").path()).collect();
    pages.sort();
    assert!(pages.len() > 5, "{pages:?}");
    for page in pages {
        let mut man = Command::new(require("man"));
        man.args(["--warnings=all", "--encoding=UTF-8", "--local-file"]).arg(&page);
        let output = man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").output().expect("man runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", page.display());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("SYNOPSIS") && text.contains("wattribute"), "{}: {text}", page.display());
    }
}

/// What bash offers at the end of this line.
#[track_caller]
fn check_completion(line: &[&str], want: &str) {
    let script = Scratch::new("completion");
    let (is_done, text) = said(Command::new(wattribute()).args(["completions", "bash"]));
    assert!(is_done, "{text}");
    let file = script.write("wattribute", &text);
    let (is_shell, what) = said(Command::new(require("bash")).arg("-n").arg(&file));
    assert!(is_shell && what.is_empty(), "{what}");
    let ask = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        _wattribute wattribute \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new(require("bash"));
    let (_, offered) = said(bash.args(["--norc", "-c", ask, "bash"]).arg(&file).arg("wattribute").args(line));
    assert!(offered.lines().any(|word| word == want), "{line:?}: {offered}");
}

#[test]
fn bash_completes_commands_flags_and_values() {
    check_completion(&["ren"], "render");
    check_completion(&["--rules."], "--rules.file");
    check_completion(&["serve", "--rules."], "--rules.file");
    check_completion(&["serve", "--log.level", "wa"], "warn");
    check_completion(&["completions", "z"], "zsh");
}
