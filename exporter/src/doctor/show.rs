//! The findings as text for a terminal, and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::finding::{Finding, Outcome};
use crate::explain::{Ink, Look, visible};

/// What a program gets; its names are in `docs/troubleshoot.md`.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    version: &'static str,
    failures: usize,
    warnings: usize,
    checks: &'a [Finding],
}

impl<'a> Answer<'a> {
    pub fn of(checks: &'a [Finding]) -> Self {
        let count = |outcome| checks.iter().filter(|one| one.outcome == outcome).count();
        let (failures, warnings) = (count(Outcome::Failure), count(Outcome::Warning));
        Self { version: env!("CARGO_PKG_VERSION"), failures, warnings, checks }
    }
}

/// A line for each, what to do below it, and a line that counts.
pub fn text(findings: &[Finding], look: Look) -> String {
    let width = findings.iter().map(|one| one.check.len()).max().unwrap_or_default();
    let mut out = String::new();
    for one in findings {
        let (word, ink) = match one.outcome {
            Outcome::Ok => ("ok", Ink::Good),
            Outcome::Warning => ("warning", Ink::Caution),
            Outcome::Failure => ("FAILURE", Ink::Bad),
        };
        let mut lines = one.found.lines().map(visible);
        let first = lines.next().unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}  {:width$}  {first}", look.ink(ink, &format!("{word:7}")), one.check);
        let indent = " ".repeat(7 + 2 + width + 2);
        lines.for_each(|line| out.extend([&*indent, &*line, "\n"]));
        if let Some(advice) = &one.advice {
            let _ = writeln!(out, "{indent}{} {}", look.ink(Ink::Quiet, "→"), visible(advice));
        }
    }
    let Answer { failures, warnings, checks, .. } = Answer::of(findings);
    let _ = writeln!(out, "\n{} checks: {failures} failed, {warnings} with a warning", checks.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Paint;

    #[test]
    fn findings_stand_in_columns_and_what_to_do_below() {
        let findings = [
            Finding::ok("driver", "version 1\u{1b}[31m"),
            Finding::failure("state dir", "it is\nfull", "make room"),
        ];
        let text = text(&findings, Look { width: None, paint: Paint::None });
        let want = "ok       driver     version 1\\u{1b}[31m\nFAILURE  state dir  it is\n                    full\n\
                    \u{20}                   → make room\n\n2 checks: 1 failed, 0 with a warning\n";
        assert_eq!(text, want);
    }
}
