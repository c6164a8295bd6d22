//! Why a process got its owner: what every rule says of it, the first matcher that failed, and the value it found.
//!
//! For people who may see the process: it carries values of facts, also secret ones. Who shows it to others leaves out
//! what they may not see, by the fields that a [`Reason`] names.

use std::fmt;
use std::sync::Arc;

use super::place::Place;
use super::problem::quote;
use super::rule::{Judgement, Rule};
use super::trust::Testimony;
use super::verdict::{Decision, Verdict};
use crate::facts::Field;

/// What every rule says of one process, and the verdict. Displays as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rules in the order they apply.
    pub rules: Vec<Line>,
    /// Why the facts that the process declares do not count, where they do not.
    pub objection: Option<String>,
    /// What they come to.
    pub decision: Decision,
}

/// What one rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The file it stands in, as its source was named.
    pub file: Arc<str>,
    /// Its line there, from 1.
    pub line: usize,
    /// Whether it matches, by itself.
    pub outcome: Outcome,
    /// Why not, or why it does not decide all the same; `None` for the rule that decides.
    pub reason: Option<Reason>,
}

/// Whether a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All its matchers hold.
    Matches,
    /// A matcher does not hold, or its table has no such key.
    Fails,
    /// It waits for a pending fact.
    Waits,
}

/// Why a rule does not decide. Displays as a part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first matcher that does not hold.
    Matcher {
        /// As it is written in the file.
        matcher: String,
        /// The field it names.
        field: Field,
        /// What that field is.
        found: Found,
    },
    /// The table has no such key.
    NoKey {
        /// The key that was looked up.
        key: String,
        /// The fields that the rule names, of which the key may be made.
        fields: Vec<Field>,
    },
    /// The fact that it must read, and that is still being fetched.
    Pending(Field),
    /// The earlier rule that decides, or waits to.
    Later(Arc<str>),
}

/// The value that a matcher did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no such fact.
    Nothing,
    /// It was declared by the process, and the section `declared` does not name it.
    Discounted,
    /// Its value.
    Value(String),
    /// Its value for each ancestor, the nearest first, empty where one has none; no item where there are no ancestors.
    OfAncestors(Vec<String>),
}

impl Explanation {
    pub(super) fn new(rules: &[Rule], process: Testimony<'_>, decision: Decision) -> Self {
        let mut first: Option<Arc<str>> = None;
        let mut lines = Vec::new();
        for rule in rules {
            let (outcome, mut reason) = say(rule, process);
            match (&first, outcome) {
                (_, Outcome::Fails) | (Some(_), Outcome::Waits) => {}
                (None, _) => first = Some(Arc::clone(&rule.name)),
                (Some(first), Outcome::Matches) => reason = Some(Reason::Later(Arc::clone(first))),
            }
            let Place { file, line } = rule.origin.place.clone();
            lines.push(Line { rule: Arc::clone(&rule.name), file, line, outcome, reason });
        }
        Self { rules: lines, objection: process.objection(), decision }
    }
}

fn say(rule: &Rule, process: Testimony<'_>) -> (Outcome, Option<Reason>) {
    match rule.judge(process) {
        Judgement::Matched(_) => (Outcome::Matches, None),
        Judgement::Pending(field) => (Outcome::Waits, Some(Reason::Pending(field))),
        Judgement::NoKey(key) => {
            let fields = rule.fields().cloned().collect();
            (Outcome::Fails, Some(Reason::NoKey { key, fields }))
        }
        Judgement::Fails(index) => {
            let why = |matcher: &super::matcher::Matcher| Reason::Matcher {
                matcher: matcher.to_string(),
                field: matcher.field.clone(),
                found: found(&matcher.field, process),
            };
            (Outcome::Fails, rule.matchers.get(index).map(why))
        }
    }
}

fn found(field: &Field, process: Testimony<'_>) -> Found {
    let facts = process.facts;
    if process.discounts(field) {
        return Found::Discounted;
    }
    if field.is_of_ancestors() {
        return Found::OfAncestors(facts.of_ancestors(field).map(str::to_owned).collect());
    }
    match facts.text(field) {
        "" => Found::Nothing,
        value => Found::Value(value.to_owned()),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matcher { matcher, field, found } => match found {
                Found::Nothing => write!(f, "{matcher}: no {field}"),
                Found::Discounted => write!(f, "{matcher}: its declared facts do not count"),
                Found::Value(value) => write!(f, "{matcher}: it is {}", quote(value)),
                Found::OfAncestors(values) if values.is_empty() => write!(f, "{matcher}: no ancestors"),
                Found::OfAncestors(values) => {
                    let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
                    write!(f, "{matcher}: it is {}", values.join(", "))
                }
            },
            Self::NoKey { key, .. } => write!(f, "the table has no key {}", quote(key)),
            Self::Pending(field) => write!(f, "for {field}"),
            Self::Later(first) => write!(f, "but rule {first:?} comes first"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rules.iter().map(|line| line.rule.chars().count()).max().unwrap_or_default();
        for Line { rule, outcome, reason, .. } in &self.rules {
            let reason = reason.as_ref().map(ToString::to_string).unwrap_or_default();
            writeln!(f, "{}", format!("{rule:width$}  {outcome:7}  {reason}").trim_end())?;
        }
        if let Some(objection) = &self.objection {
            writeln!(f, "{objection}")?;
        }
        match &self.decision {
            Decision::Pending(field) => write!(f, "verdict: none yet, waits for {field}"),
            Decision::Verdict(verdict) => write!(f, "verdict: {}", Shown(verdict)),
        }
    }
}

struct Shown<'a>(&'a Verdict);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { owner, rule, evidence, refusal } = self.0;
        write!(f, "{owner}")?;
        if let (Some(rule), Some(evidence)) = (rule, evidence) {
            write!(f, " by rule {rule:?}, evidence {evidence}")?;
        }
        refusal.map_or(Ok(()), |refusal| write!(f, ", because {refusal}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Matches => "matches",
            Self::Fails => "no",
            Self::Waits => "waits",
        })
    }
}
