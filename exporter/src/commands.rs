//! The command that answers and ends: `check`.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::Check;
use crate::rules_file;

/// Loads the files as one set of rules and runs their own tests.
pub fn check(typed: &Check) -> ExitCode {
    let rules = match rules_file::load(&typed.files) {
        Ok(rules) => rules,
        Err(errors) => return fail(&errors),
    };
    let failures = rules.check();
    if !failures.is_empty() {
        let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
        return fail(&lines.join("\n"));
    }
    say(&format!("{} rules, {} tests: all hold\n", rules.rule_count(), rules.test_count()))
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
