//! What an examination finds: how bad it is, what is there, and what to do.

use serde::Serialize;

/// How bad it is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// The exporter runs, but not as it could.
    Warning,
    /// The exporter does not start, or accounts nothing that is right.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two; one may come several times.
    pub check: &'static str,
    pub outcome: Outcome,
    /// What is there.
    pub found: String,
    /// What to do, where something is wrong.
    pub advice: Option<String>,
}

/// So many of something, in words.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn failure(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failure, ..Self::warning(check, found, advice) }
    }
}
