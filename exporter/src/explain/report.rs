//! The report on one process, as plain values: what is shown as text, as JSON, and over HTTP.
//!
//! Its names and their meaning are documented in `docs/api.md`; all keys are always there.

use std::collections::BTreeMap;

use serde::Serialize;
use wattribute::facts::{Facts, Field};
use wattribute::rules::{self, Decision, Found, Outcome, Reason, RuleSet};

use super::subject::{Origin, Subject};

/// Who reads the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody who may look into /proc as well.
    Person,
    /// Whoever may ask over HTTP: no command lines, and no values of the environment.
    Web,
}

impl Audience {
    fn may_see(self, field: &Field) -> bool {
        self == Self::Person
            || !matches!(
                field,
                Field::Cmdline | Field::Env(_) | Field::AncestorCmdline | Field::AncestorEnv(_)
            )
    }
}

/// Everything there is to say of a process on a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub process: Process,
    pub facts: Vec<Fact>,
    /// What could not be found out, in sentences.
    pub notes: Vec<String>,
    pub rules: Vec<Rule>,
    pub verdict: Verdict,
}

/// Which process.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Process {
    /// `None` for one that a file describes.
    pub pid: Option<u32>,
    /// Unix time in seconds.
    pub start_time: Option<f64>,
    /// The UUID of the GPU that it is explained for.
    pub gpu_uuid: Option<String>,
}

/// A fact, and where it is from.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    pub field: String,
    pub state: State,
    pub value: Option<Value>,
    pub evidence: &'static str,
    pub source: String,
}

/// What is known of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Known,
    /// A rule names it, and there is no such fact.
    Absent,
    /// It is still being fetched.
    Pending,
    /// Known, and not to be shown to this audience.
    Withheld,
}

/// A value; for fields of ancestors one of each, the nearest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    One(String),
    OfAncestors(Vec<String>),
}

/// What one rule says.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    pub rule: String,
    pub file: String,
    pub line: usize,
    pub outcome: Said,
    /// The first matcher that does not hold.
    pub matcher: Option<String>,
    /// What it found instead, empty where there is no such fact.
    pub found: Option<Value>,
    /// The key that the rule's table does not have.
    pub key: Option<String>,
    /// Whether `found` or `key` is there and not to be shown to this audience.
    pub withheld: bool,
    pub waits_for: Option<String>,
    /// The earlier rule that decides, or waits to.
    pub earlier: Option<String>,
}

/// What a rule comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Decides,
    /// It would decide if an earlier one did not.
    Matches,
    Fails,
    Waits,
}

/// What the rules come to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// `None` while it waits.
    pub owner: Option<BTreeMap<String, String>>,
    pub rule: Option<String>,
    pub evidence: Option<&'static str>,
    /// Why the owner is `unattributed`.
    pub refusal: Option<&'static str>,
    pub waits_for: Option<String>,
    /// Whether `ignore:` names the process, so that it holds no GPU.
    pub ignored: bool,
}

impl Report {
    /// What these rules say of a process.
    pub fn new(subject: Subject, rules: &RuleSet, audience: Audience) -> Self {
        let Subject { facts, origin, start_time, mut notes } = subject;
        let explained = rules.explain(&facts);
        notes.extend(explained.objection.clone());
        let uuid = facts.text(&Field::GpuUuid);
        Self {
            process: Process {
                pid: origin.pid(),
                start_time,
                gpu_uuid: Some(uuid.to_owned()).filter(|uuid| !uuid.is_empty()),
            },
            facts: list(&facts, &origin, rules, audience),
            notes,
            rules: explained.rules.iter().map(|line| rule(line, audience)).collect(),
            verdict: verdict(&explained.decision, rules.ignores(&facts)),
        }
    }
}

/// The facts there are, and those that the rules name and that are not there.
fn list(facts: &Facts, origin: &Origin, rules: &RuleSet, audience: Audience) -> Vec<Fact> {
    let fact = |field: &Field, state, value: Option<Value>| {
        let shown = state != State::Known || audience.may_see(field);
        Fact {
            field: field.to_string(),
            state: if shown { state } else { State::Withheld },
            value: value.filter(|_| shown),
            evidence: field.evidence().name(),
            source: origin.source(field, facts),
        }
    };
    let own = facts.iter().map(|(field, value)| match value {
        Some(value) => fact(field, State::Known, Some(Value::One(value.to_owned()))),
        None => fact(field, State::Pending, None),
    });
    let mut listed: Vec<Fact> = own.collect();
    let names = rules.wanted_env().iter();
    let env =
        names.flat_map(|name| [Field::Env(name.as_str().into()), Field::AncestorEnv(name.as_str().into())]);
    for field in Field::FIXED.iter().cloned().chain(env) {
        let values: Vec<String> = facts.of_ancestors(&field).map(str::to_owned).collect();
        let has_values = field.is_of_ancestors() && values.iter().any(|value| !value.is_empty());
        if has_values {
            listed.push(fact(&field, State::Known, Some(Value::OfAncestors(values))));
        } else if rules.wants(&field) && facts.get(&field) == wattribute::facts::Fact::Absent {
            listed.push(fact(&field, State::Absent, None));
        }
    }
    listed
}

fn rule(line: &rules::Line, audience: Audience) -> Rule {
    let mut rule = Rule {
        rule: line.rule.to_string(),
        file: line.file.to_string(),
        line: line.line,
        outcome: match (line.outcome, &line.reason) {
            (Outcome::Matches, None) => Said::Decides,
            (Outcome::Matches, Some(_)) => Said::Matches,
            (Outcome::Fails, _) => Said::Fails,
            (Outcome::Waits, _) => Said::Waits,
        },
        matcher: None,
        found: None,
        key: None,
        withheld: false,
        waits_for: None,
        earlier: None,
    };
    match &line.reason {
        None => {}
        Some(Reason::Pending(field)) => rule.waits_for = Some(field.to_string()),
        Some(Reason::Later(first)) => rule.earlier = Some(first.to_string()),
        Some(Reason::NoKey { key, fields }) => {
            rule.withheld = !fields.iter().all(|field| audience.may_see(field));
            rule.key = Some(key.clone()).filter(|_| !rule.withheld);
        }
        Some(Reason::Matcher { matcher, field, found }) => {
            rule.matcher = Some(matcher.clone());
            // That there is nothing is no secret.
            rule.withheld = !matches!(found, Found::Nothing | Found::Discounted) && !audience.may_see(field);
            rule.found = Some(value(found)).filter(|_| !rule.withheld);
        }
    }
    rule
}

fn value(found: &Found) -> Value {
    match found {
        Found::Nothing | Found::Discounted => Value::One(String::new()),
        Found::Value(value) => Value::One(value.clone()),
        Found::OfAncestors(values) => Value::OfAncestors(values.clone()),
    }
}

fn verdict(decision: &Decision, ignored: bool) -> Verdict {
    match decision {
        Decision::Pending(field) => Verdict {
            owner: None,
            rule: None,
            evidence: None,
            refusal: None,
            waits_for: Some(field.to_string()),
            ignored,
        },
        Decision::Verdict(verdict) => Verdict {
            owner: Some(verdict.owner.labels().map(|(label, value)| (label.into(), value.into())).collect()),
            rule: verdict.rule.as_deref().map(str::to_owned),
            evidence: verdict.evidence.map(wattribute::facts::Evidence::name),
            refusal: verdict.refusal.map(rules::Refusal::name),
            waits_for: None,
            ignored,
        },
    }
}
