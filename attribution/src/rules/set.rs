//! A loaded set of rules, and what it says of a process.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::explain::Explanation;
use super::matcher::Matcher;
use super::pattern::Pattern;
use super::place::Place;
use super::problem::{Problem, Problems};
use super::rule::{Judgement, Rule};
use super::screen::Screen;
use super::table::Table;
use super::test::{self, Test, TestFailure};
use super::trust::{Testimony, Trust};
use super::verdict::{Decision, Refusal, Verdict};
use super::{lint, load};
use crate::facts::{Facts, Field};
use crate::owner::TEAM;
use crate::split::IdlePolicy;
use crate::units::Milliwatts;

/// Rules that are whole: a file with any error makes none. Share it behind an `Arc`.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// The files' names, in their order.
    pub(super) files: Vec<Arc<str>>,
    pub(super) labels: Vec<Arc<str>>,
    pub(super) idle_policy: IdlePolicy,
    pub(super) idle_watts: Vec<(Pattern, Milliwatts)>,
    pub(super) owner_limit: usize,
    /// Whose declared facts count; without it, everybody's.
    pub(super) trust: Option<Trust>,
    pub(super) ignore: Vec<(Place, Matcher)>,
    pub(super) tables: Vec<(String, Place, Arc<Table>)>,
    pub(super) rules: Vec<Rule>,
    /// Of the rules, for speed: which of them need not be asked.
    pub(super) screen: Screen,
    pub(super) tests: Vec<Test>,
    pub(super) wanted_env: BTreeSet<String>,
}

impl Default for RuleSet {
    /// No file: one label, team; everything is unattributed.
    fn default() -> Self {
        Self {
            files: Vec::new(),
            labels: vec![TEAM.into()],
            idle_policy: IdlePolicy::default(),
            idle_watts: Vec::new(),
            owner_limit: 1000,
            trust: None,
            ignore: Vec::new(),
            tables: Vec::new(),
            rules: Vec::new(),
            screen: Screen::default(),
            tests: Vec::new(),
            wanted_env: BTreeSet::new(),
        }
    }
}

/// The text of one rules file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as shown in errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl RuleSet {
    /// Loads rules files, in the order their rules apply. `read_table` gives the text of a CSV table, by the
    /// name of the source that asks and the file it names, or why it cannot be read.
    ///
    /// # Errors
    /// Everything wrong with any of the files. A set is loaded whole or not at all.
    pub fn load(
        sources: &[Source],
        read_table: &mut dyn FnMut(&str, &str) -> Result<String, String>,
    ) -> Result<Self, Problems> {
        load::load(sources, read_table)
    }

    /// The labels every owner carries; the team is the first.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Who pays for idle energy.
    #[must_use]
    pub fn idle_policy(&self) -> IdlePolicy {
        self.idle_policy
    }

    /// The power of an idle GPU of this model, where the file says it: the first expression that matches.
    #[must_use]
    pub fn idle_watts(&self, model: &str) -> Option<Milliwatts> {
        self.idle_watts.iter().find(|(pattern, _)| pattern.is_match(model)).map(|(_, watts)| *watts)
    }

    /// How many owners may hold energy.
    #[must_use]
    pub fn owner_limit(&self) -> usize {
        self.owner_limit
    }

    /// The environment variables that a rule names, of the process or an ancestor: the only ones to read.
    #[must_use]
    pub fn wanted_env(&self) -> &BTreeSet<String> {
        &self.wanted_env
    }

    /// Whether a rule or `ignore` names a fact of ancestors: else none need be read.
    #[must_use]
    pub fn wants_ancestors(&self) -> bool {
        self.fields().any(Field::is_of_ancestors)
    }

    /// Whether a rule or `ignore` names this field: what nobody names need not be fetched.
    #[must_use]
    pub fn wants(&self, field: &Field) -> bool {
        self.fields().any(|named| named == field)
    }

    /// The names of the rules that name one of these fields, in their order.
    pub fn readers<'a>(&'a self, fields: &'a [Field]) -> impl Iterator<Item = &'a str> {
        let reads = |rule: &&Rule| rule.fields().any(|field| fields.contains(field));
        self.rules.iter().filter(reads).map(|rule| &*rule.name)
    }

    /// The pod labels that a rule or `ignore` names, as in `pod_label_<name>`; one may come twice.
    pub fn wanted_pod_labels(&self) -> impl Iterator<Item = &str> {
        self.fields().filter_map(|field| match field {
            Field::PodLabel(name) => Some(&**name),
            _ => None,
        })
    }

    /// Whether `ignore` names this process, so that it never holds a GPU. A pending fact names nothing yet.
    #[must_use]
    pub fn ignores(&self, facts: &Facts) -> bool {
        let process = self.hear(facts);
        self.ignore.iter().any(|(_, matcher)| process.holds(matcher) == Some(true))
    }

    /// The field that must come before it is known whether `ignore` names this process; `None` where it is known.
    #[must_use]
    pub fn ignore_waits_for(&self, facts: &Facts) -> Option<&Field> {
        let process = self.hear(facts);
        let is_pending = |(_, matcher): &&(Place, Matcher)| process.holds(matcher).is_none();
        let pending = self.ignore.iter().find(is_pending).map(|(_, matcher)| &matcher.field);
        pending.filter(|_| !self.ignores(facts))
    }

    /// The verdict of the first rule that matches.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> Decision {
        let process = self.hear(facts);
        for rule in self.screen.pass(process).iter().filter_map(|number| self.rules.get(number)) {
            match rule.judge(process) {
                Judgement::Matched(verdict) => return Decision::Verdict(verdict),
                Judgement::Pending(field) => return Decision::Pending(field),
                Judgement::Fails(_) | Judgement::NoKey(_) => {}
            }
        }
        Decision::Verdict(Verdict::unattributed(Refusal::NoRule))
    }

    /// What every rule says of a process and why, and the verdict.
    #[must_use]
    pub fn explain(&self, facts: &Facts) -> Explanation {
        Explanation::new(&self.rules, self.hear(facts), self.decide(facts))
    }

    /// Runs the files' own tests. Nothing comes back where all hold.
    #[must_use]
    pub fn check(&self) -> Vec<TestFailure> {
        self.tests.iter().flat_map(|test| test::run(test, self)).collect()
    }

    /// What is no error, and yet cannot be meant, in the order of files and lines: rules that never match, tables
    /// nobody asks, teams that anyone could claim, labels without bound. Compares every rule with all before it, so
    /// it is for people who write rules, not for a running exporter.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        lint::lint(self)
    }

    /// How many rules there are.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// How many tests the files carry.
    #[must_use]
    pub fn test_count(&self) -> usize {
        self.tests.len()
    }

    fn hear<'a>(&'a self, facts: &'a Facts) -> Testimony<'a> {
        Testimony::of(facts, self.trust.as_ref())
    }

    /// Collects the environment variables that rules and `ignore` name.
    pub(super) fn with_wanted_env(mut self) -> Self {
        let names = self.fields().filter_map(|field| match field {
            Field::Env(name) | Field::AncestorEnv(name) => Some(name.to_string()),
            _ => None,
        });
        self.wanted_env = names.collect();
        self
    }

    /// All fields that rules and `ignore` name.
    fn fields(&self) -> impl Iterator<Item = &Field> {
        let fields = self.rules.iter().flat_map(Rule::fields);
        fields.chain(self.ignore.iter().map(|(_, matcher)| &matcher.field))
    }
}
