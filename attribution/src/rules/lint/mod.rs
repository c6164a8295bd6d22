//! What is no error in rules files, and yet cannot be meant: rules that never match, tables nobody asks, teams that
//! anyone could claim. Every warning is certain; where shapes of regular expressions do not tell, nothing is said.
//!
//! Called by `check` only: it compares every rule with all before it.

mod claims;
mod form;
mod matchers;
mod shadows;
pub(super) mod shape;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use form::Form;

use super::problem::{Fault, Problem, quote};
use super::rule::{Action, Rule};
use super::set::RuleSet;
use super::test;
use crate::facts::Evidence;

/// A rule with its matchers' forms.
struct Subject<'a> {
    rule: &'a Rule,
    forms: Vec<Form<'a>>,
    /// Whether no rule comes after it.
    is_last: bool,
}

impl<'a> Subject<'a> {
    fn of(rule: &'a Rule, is_last: bool) -> Self {
        Self { rule, forms: rule.matchers.iter().map(Form::of).collect(), is_last }
    }

    /// A warning at the rule's name.
    fn warn(&self, fault: Fault) -> Problem {
        self.rule.origin.place.warn(Some(format!("rule {}", quote(&self.rule.name))), fault)
    }

    /// A warning at one of its matchers.
    fn warn_at(&self, matcher: usize, fault: Fault) -> Problem {
        let line = self.rule.origin.lines.get(matcher).copied().unwrap_or(self.rule.origin.place.line);
        Problem { line, ..self.warn(fault.key("match")) }
    }
}

/// See [`RuleSet::lint`].
pub(super) fn lint(set: &RuleSet) -> Vec<Problem> {
    let last = set.rules.len().saturating_sub(1);
    let subjects: Vec<Subject<'_>> =
        set.rules.iter().enumerate().map(|(index, rule)| Subject::of(rule, index == last)).collect();
    let mut warnings = trust(set, &subjects);
    warnings.extend(tables(set));
    warnings.extend(matchers::of_ignore(set));
    warnings.extend(rules(set, &subjects));
    let order = |problem: &Problem| set.files.iter().position(|file| **file == *problem.file);
    warnings.sort_by_cached_key(|problem| (order(problem), problem.line));
    warnings
}

fn rules(set: &RuleSet, subjects: &[Subject<'_>]) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut unreachable = BTreeSet::new();
    for (index, subject) in subjects.iter().enumerate() {
        let mut never = matchers::never(subject);
        if never.is_empty() {
            never.extend(shadows::shadow(subject, &subjects[..index], set.trust.is_some()));
        }
        if !never.is_empty() {
            unreachable.insert(Arc::clone(&subject.rule.name));
        }
        warnings.extend(never);
        warnings.extend(matchers::doubtful(subject, set.trust.is_some()));
        warnings.extend(claims::anyones(subject, set.trust.is_some()));
        warnings.extend(values::boundless(subject, set.owner_limit));
    }
    warnings.extend(untested(set, subjects, &unreachable));
    warnings
}

/// Rules that no test of the files reaches.
fn untested(set: &RuleSet, subjects: &[Subject<'_>], unreachable: &BTreeSet<Arc<str>>) -> Vec<Problem> {
    let Some(first) = subjects.first() else { return Vec::new() };
    if set.tests.is_empty() {
        let fault = Fault::new("the rules have no tests").help("add a section `tests`: see docs/rules.md");
        return vec![first.rule.origin.place.warn(None, fault)];
    }
    let reached: BTreeSet<Arc<str>> = set.tests.iter().filter_map(|test| test::winner(test, set)).collect();
    let is_missed = |subject: &&Subject<'_>| {
        !reached.contains(&subject.rule.name) && !unreachable.contains(&subject.rule.name)
    };
    let fault =
        || Fault::new("no test reaches it").help("add one under `tests`, with a process that it matches");
    subjects.iter().filter(is_missed).map(|subject| subject.warn(fault())).collect()
}

fn tables(set: &RuleSet) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (name, place, table) in &set.tables {
        let is_asked = set.rules.iter().any(
            |rule| matches!(&rule.action, Action::Lookup { table: asked, .. } if Arc::ptr_eq(asked, table)),
        );
        let fault = match (is_asked, table.is_empty()) {
            (false, _) => Fault::new("no rule looks anything up in it")
                .help("remove it, or name it in a rule's `lookup`"),
            (true, true) => {
                Fault::new("it has no rows, so no rule can match by it").help("add one, or remove it")
            }
            (true, false) => continue,
        };
        warnings.push(place.warn(Some(format!("table {}", quote(name))), fault));
    }
    warnings
}

fn trust(set: &RuleSet, subjects: &[Subject<'_>]) -> Vec<Problem> {
    let Some(trust) = &set.trust else { return Vec::new() };
    let mut warnings = Vec::new();
    for (line, group) in trust.cgroups.iter().filter(|(_, group)| group == "/user.slice") {
        let fault = Fault::new(format!("everybody's sessions are in {group}")).key("declared.cgroups");
        let help = "name a user's own, such as /user.slice/user-1000.slice, or user ids";
        warnings.push(trust.place.at(*line).warn(None, fault.help(help)));
    }
    if trust.is_empty() {
        let is_declared = |form: &Form<'_>| form.field().evidence() == Evidence::Declared;
        for subject in subjects {
            let Some(index) = subject.forms.iter().position(is_declared) else { continue };
            let fault =
                format!("{} never holds: `declared` names nobody", matchers::shown(&subject.forms[index]));
            let help = "name those whose word counts, or match on what the kernel says";
            warnings.push(subject.warn_at(index, Fault::new(fault).help(help)));
        }
    }
    warnings
}
