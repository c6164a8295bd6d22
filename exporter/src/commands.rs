//! `wattribute check`: errors, warnings and the files' own tests, all at once.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Check, Warnings};
use crate::rules_file;

/// Loads the files as one set of rules, looks for what cannot be meant, and runs their own tests.
pub fn check(typed: &Check) -> ExitCode {
    let rules = match rules_file::load(&typed.files) {
        Ok(rules) => rules,
        Err(errors) => return fail(&errors),
    };
    let warnings = rules.lint();
    for warning in &warnings {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    let failures: Vec<String> = rules.check().iter().map(ToString::to_string).collect();
    if !failures.is_empty() {
        return fail(&failures.join("\n"));
    }
    let held = format!("{} rules, {} tests: all hold", rules.rule_count(), rules.test_count());
    let held = match warnings.len() {
        0 => held,
        1 => format!("{held}, 1 warning"),
        some => format!("{held}, {some} warnings"),
    };
    match typed.warnings() {
        Warnings::Fail if !warnings.is_empty() => fail(&held),
        Warnings::Fail | Warnings::Pass => say(&format!("{held}\n")),
    }
}

/// Writes to standard output; a reader that has gone is no error of ours.
fn say(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
