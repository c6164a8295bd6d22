//! Why a process got its owner: what every rule says of it. For people at a terminal, not for logs: it shows
//! values of facts.

use std::fmt;
use std::sync::Arc;

use super::problem::quote;
use super::rule::{Judgement, Rule};
use super::trust::Testimony;
use super::verdict::{Decision, Verdict};

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
    /// Whether it matches, by itself.
    pub outcome: Outcome,
    /// Why not, or that an earlier rule was first; empty for the rule that decides.
    pub reason: String,
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

impl Explanation {
    pub(super) fn new(rules: &[Rule], process: Testimony<'_>, decision: Decision) -> Self {
        let mut decided = None;
        let mut lines = Vec::new();
        for rule in rules {
            let (outcome, mut reason) = say(rule, process);
            match (&decided, outcome) {
                (_, Outcome::Fails) => {}
                (None, _) => decided = Some(&rule.name),
                (Some(first), Outcome::Matches) => reason = format!("but rule {first:?} comes first"),
                (Some(_), Outcome::Waits) => {}
            }
            lines.push(Line { rule: Arc::clone(&rule.name), outcome, reason });
        }
        Self { rules: lines, objection: process.objection(), decision }
    }
}

fn say(rule: &Rule, process: Testimony<'_>) -> (Outcome, String) {
    match rule.judge(process) {
        Judgement::Matched(_) => (Outcome::Matches, String::new()),
        Judgement::Pending(field) => (Outcome::Waits, format!("for {field}")),
        Judgement::NoKey(key) => (Outcome::Fails, format!("the table has no key {}", quote(&key))),
        Judgement::Fails(index) => {
            let why = |matcher| format!("{matcher}: {}", found(rule, index, process));
            (Outcome::Fails, rule.matchers.get(index).map(why).unwrap_or_default())
        }
    }
}

/// The value that the matcher did not accept.
fn found(rule: &Rule, index: usize, process: Testimony<'_>) -> String {
    let Some(matcher) = rule.matchers.get(index) else { return String::new() };
    let (field, facts) = (&matcher.field, process.facts);
    if process.discounts(field) {
        return "its declared facts do not count".into();
    }
    if field.is_of_ancestors() {
        let values: Vec<String> = facts.of_ancestors(field).map(quote).collect();
        return if values.is_empty() {
            "no ancestors".into()
        } else {
            format!("it is {}", values.join(", "))
        };
    }
    match facts.text(field) {
        "" => format!("no {field}"),
        value => format!("it is {}", quote(value)),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rules.iter().map(|line| line.rule.chars().count()).max().unwrap_or_default();
        for Line { rule, outcome, reason } in &self.rules {
            let line = format!("{rule:width$}  {outcome:7}  {reason}");
            writeln!(f, "{}", line.trim_end())?;
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
