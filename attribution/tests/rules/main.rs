//! The rules from outside: what loads, what is refused and how, and what is decided.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "the library is pure and does not panic; its tests read files, and fail by panics"
)]

mod decide;
mod files;
mod golden;
mod hostile;
mod properties;
mod trust;

use std::time::{Duration, Instant};

use wattribute::facts::{Facts, Field};
use wattribute::rules::{Problems, RuleSet, Source, process};

/// Loads one file without tables.
fn load(text: &str) -> Result<RuleSet, Problems> {
    let source = Source { name: "teams.yaml".into(), text: text.into() };
    RuleSet::load(&[source], &mut |_, file| Err(format!("no {file} in this test")))
}

/// A process as a test's `process:` writes it.
#[track_caller]
fn facts(text: &str) -> Facts {
    process(&Source { name: "process".into(), text: text.into() }).expect("a process")
}

/// The same, with a field still being fetched.
#[track_caller]
fn facts_pending(text: &str, field: &str) -> Facts {
    let mut facts = facts(text);
    facts.set_pending(Field::parse(field).expect("a field"));
    facts
}

/// How long it takes.
fn took(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}
