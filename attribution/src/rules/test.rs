//! The tests that rules files carry: reading them, and running them against the rules.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::problem::{Fault, Report, quote};
use super::set::RuleSet;
use super::verdict::{Decision, Verdict};
use super::yaml::{Entry, Node};
use super::{process, schema, table};
use crate::facts::{Facts, Field};
use crate::owner::{Owner, TEAM};

/// A process and what must be said of it.
#[derive(Clone, Debug)]
pub(super) struct Test {
    file: String,
    line: usize,
    name: String,
    facts: Facts,
    derived: Vec<(Field, String)>,
    owner: Option<Owner>,
    rule: Option<String>,
}

/// A test of a rules file that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure {
    /// The file the test stands in.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The test's name.
    pub test: String,
    /// What differs.
    pub message: String,
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: test {}: {}", self.file, self.line, quote(&self.test), self.message)
    }
}

/// What a test may refer to.
pub(super) struct Known<'a> {
    pub labels: &'a [Arc<str>],
    pub rules: &'a BTreeSet<String>,
}

/// Reads a test. Nothing if it has an error; all of them are reported.
pub(super) fn read(node: &Node, known: &Known<'_>, report: &mut Report<'_>) -> Option<Test> {
    let entries = schema::map(node, "", report)?;
    schema::check_keys(entries, &["name", "process", "facts", "owner", "rule"], report);
    let name = schema::name(node, entries, report);
    let expected = ["facts", "owner", "rule"];
    if expected.iter().all(|key| schema::get(entries, key).is_none()) {
        report.add(node.line, Fault::new("the test expects nothing").help("add facts, owner or rule"));
    }
    let facts = match schema::get(entries, "process") {
        Some(entry) => process::read(&entry.value, report),
        None => {
            report.add(node.line, Fault::new("process is missing").help("add `process: {…}`"));
            None
        }
    };
    let derived =
        schema::get(entries, "facts").map(|entry| process::expected(entry, report)).unwrap_or_default();
    let owner = schema::get(entries, "owner").and_then(|entry| read_owner(entry, known.labels, report));
    let rule = schema::get(entries, "rule").and_then(|entry| read_rule(entry, known.rules, report));
    let (file, line) = (report.file().to_owned(), node.line);
    Some(Test { file, line, name: name?.to_owned(), facts: facts?, derived, owner, rule })
}

/// The owner expected, all of its labels: one that is not written must be empty. May be a reserved team.
fn read_owner(entry: &Entry, labels: &[Arc<str>], report: &mut Report<'_>) -> Option<Owner> {
    let entries = schema::map(&entry.value, "owner", report)?;
    if schema::get(entries, TEAM).is_none() {
        report.add(entry.line, Fault::new("team is missing").key("owner"));
    }
    let mut pairs = Vec::new();
    for entry in entries {
        let label =
            report.check(entry.line, table::label(&entry.key, labels).map_err(|fault| fault.key("owner")));
        let value = schema::text_or_empty(&entry.value, &format!("owner.{}", entry.key), report);
        pairs.extend(label.zip(value));
    }
    Some(Owner::new(pairs))
}

/// The rule expected; an empty text expects none.
fn read_rule(entry: &Entry, rules: &BTreeSet<String>, report: &mut Report<'_>) -> Option<String> {
    let name = schema::text_or_empty(&entry.value, "rule", report)?;
    if !name.is_empty() && !rules.contains(name) {
        let fault = Fault::unknown("rule", name, rules.iter().map(String::as_str));
        report.add(entry.line, fault.key("rule"));
    }
    Some(name.to_owned())
}

/// Everything in which a test differs from what the rules say.
pub(super) fn run(test: &Test, rules: &RuleSet) -> Vec<TestFailure> {
    let mut messages = Vec::new();
    for (field, want) in &test.derived {
        let got = test.facts.text(field);
        if got != want {
            messages.push(format!("{field}: expected {}, got {}", shown(want), shown(got)));
        }
    }
    match rules.decide(&test.facts) {
        Decision::Verdict(verdict) => messages.extend(compare(test, &verdict)),
        Decision::Pending(field) => messages.push(format!("waits for {field}")),
    }
    let Test { file, line, name, .. } = test;
    let failure = |message| TestFailure { file: file.clone(), line: *line, test: name.clone(), message };
    messages.into_iter().map(failure).collect()
}

/// The rule that wins, if one does.
pub(super) fn winner(test: &Test, rules: &RuleSet) -> Option<Arc<str>> {
    match rules.decide(&test.facts) {
        Decision::Verdict(verdict) => verdict.rule,
        Decision::Pending(_) => None,
    }
}

fn compare(test: &Test, verdict: &Verdict) -> Vec<String> {
    let mut messages = Vec::new();
    let by = match (&verdict.rule, verdict.refusal) {
        (Some(rule), Some(refusal)) => format!("rule {rule:?}, refused: {refusal}"),
        (Some(rule), None) => format!("rule {rule:?}"),
        (None, _) => "no rule".into(),
    };
    if let Some(owner) = test.owner.as_ref().filter(|owner| **owner != verdict.owner) {
        messages.push(format!("owner: expected {owner}, got {} by {by}", verdict.owner));
    }
    if let Some(rule) =
        test.rule.as_deref().filter(|rule| *rule != verdict.rule.as_deref().unwrap_or_default())
    {
        let want = if rule.is_empty() { "no rule".into() } else { format!("rule {rule:?}") };
        messages.push(format!("expected {want}, got {by}"));
    }
    messages
}

fn shown(value: &str) -> String {
    if value.is_empty() { "none".into() } else { quote(value) }
}
