//! Which rules can match a process at all, found by reading each of its facts once, however many rules there are.
//!
//! A rule that is left out has a matcher that does not hold: to ask it would change nothing. Of those that remain
//! [`super::rule`] decides, which knows nothing of this. Built when rules are loaded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::matcher::{Demand, Matcher};
use super::rule::Rule;
use super::trust::Testimony;
use crate::facts::{Fact, Field};

/// The rules of a set, each behind one of its matchers.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    /// Rules of which no matcher demands anything certain.
    open: Marks,
    gates: BTreeMap<Field, Gate>,
}

/// The rules behind the matchers on one field.
#[derive(Clone, Debug, Default)]
struct Gate {
    /// All of them.
    behind: Marks,
    /// By the value that the field must have.
    by_value: HashMap<String, Vec<usize>>,
    /// Finds the needles of which it must hold one.
    finder: Option<AhoCorasick>,
    /// By needle.
    by_needle: Vec<Vec<usize>>,
}

impl Screen {
    /// Each rule stands behind the matcher that fewest rules share, so that fewest pass with it.
    pub fn of(rules: &[Rule]) -> Self {
        let mut screen = Self { open: Marks::none(rules.len()), gates: BTreeMap::new() };
        let crowd = Crowd::of(rules);
        let mut needles: BTreeMap<&Field, BTreeMap<&[u8], Vec<usize>>> = BTreeMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let Some((matcher, demand)) = crowd.rarest(rule) else {
                screen.open.add(number);
                continue;
            };
            let gate = screen.gates.entry(matcher.field.clone()).or_insert_with(|| Gate::before(rules.len()));
            gate.behind.add(number);
            match demand {
                Demand::Value(value) => gate.by_value.entry(value.to_owned()).or_default().push(number),
                Demand::Needles(texts) => {
                    let of_field = needles.entry(&matcher.field).or_default();
                    texts.iter().for_each(|text| of_field.entry(text).or_default().push(number));
                }
            }
        }
        for (field, needles) in needles {
            let Some(gate) = screen.gates.get_mut(field) else { continue };
            if gate.look_for(needles).is_none() {
                screen.open.add_all(&gate.behind);
            }
        }
        screen
    }

    /// The numbers of the rules that can match, in their order.
    pub fn pass(&self, process: Testimony<'_>) -> Marks {
        let mut marks = self.open.clone();
        for (field, gate) in &self.gates {
            if process.discounts(field) {
                continue;
            }
            if process.facts.get(field) == Fact::Pending {
                marks.add_all(&gate.behind);
            } else if field.is_of_ancestors() {
                process.facts.of_ancestors(field).for_each(|value| gate.open(value, &mut marks));
            } else {
                gate.open(process.facts.text(field), &mut marks);
            }
        }
        marks
    }
}

impl Gate {
    fn before(rules: usize) -> Self {
        Self { behind: Marks::none(rules), ..Self::default() }
    }

    /// Makes the finder; nothing where the needles are more than it can take.
    fn look_for(&mut self, needles: BTreeMap<&[u8], Vec<usize>>) -> Option<()> {
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::ContiguousNFA));
        self.finder = Some(builder.build(needles.keys()).ok()?);
        self.by_needle = needles.into_values().collect();
        Some(())
    }

    /// Marks the rules whose demand this value meets. Each needle counts once, so that time is linear.
    fn open(&self, value: &str, marks: &mut Marks) {
        self.by_value.get(value).into_iter().flatten().for_each(|rule| marks.add(*rule));
        let mut found = Marks::none(self.by_needle.len());
        for hit in self.finder.iter().flat_map(|finder| finder.find_overlapping_iter(value)) {
            let needle = hit.pattern().as_usize();
            if !found.has(needle) {
                found.add(needle);
                self.by_needle[needle].iter().for_each(|rule| marks.add(*rule));
            }
        }
    }
}

/// How many rules make a demand.
struct Crowd<'r>(HashMap<(&'r Field, &'r [u8]), usize>);

impl<'r> Crowd<'r> {
    fn of(rules: &'r [Rule]) -> Self {
        let mut counts = HashMap::new();
        for matcher in rules.iter().flat_map(|rule| &rule.matchers) {
            for text in matcher.demand().iter().flat_map(Demand::texts) {
                *counts.entry((&matcher.field, text)).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// The matcher of a rule whose demand the fewest rules share, and of these the longest; nothing where none demands.
    fn rarest(&self, rule: &'r Rule) -> Option<(&'r Matcher, Demand<'r>)> {
        let demands = rule.matchers.iter().filter_map(|matcher| Some((matcher, matcher.demand()?)));
        demands.min_by_key(|(matcher, demand)| {
            let sharing: usize = demand.texts().filter_map(|text| self.0.get(&(&matcher.field, text))).sum();
            (sharing, Reverse(demand.texts().map(<[u8]>::len).min()))
        })
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn add(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] & 1 << (number % 64) != 0
    }

    /// Its numbers, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, bits)| **bits != 0);
        words.flat_map(|(word, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        })
    }
}
