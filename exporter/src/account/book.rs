//! A book: the ledger, and beside it the same energy by rule, by process and by workload.
//!
//! Books add and subtract like ledgers. One interval is a small book; so is everything visible, everything so far,
//! and what lies between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use wattribute::facts::Evidence;
use wattribute::ledger::Ledger;
use wattribute::split::Amounts;
use wattribute::units::{Microseconds, Millijoules};

use super::series::SeriesId;

/// What decided: a rule and its evidence, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleKey {
    /// The rule's name; empty where no rule decided.
    pub rule: Arc<str>,
    /// The weakest class among the facts it used.
    pub evidence: Option<Evidence>,
}

/// What a process or workload series holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesAmounts {
    /// Active and idle energy.
    pub energy: Millijoules,
    /// Time the GPU was held.
    pub held: Microseconds,
}

impl From<Amounts> for SeriesAmounts {
    fn from(amounts: Amounts) -> Self {
        Self { energy: amounts.active + amounts.idle, held: amounts.held }
    }
}

impl std::ops::AddAssign for SeriesAmounts {
    fn add_assign(&mut self, other: Self) {
        self.combine(other, &|ours, theirs| ours + theirs);
    }
}

impl SeriesAmounts {
    fn combine(&mut self, other: Self, combine: &impl Fn(u64, u64) -> u64) {
        self.energy.0 = combine(self.energy.0, other.energy.0);
        self.held.0 = combine(self.held.0, other.held.0);
    }
}

/// Energy by GPU and owner, by rule, by process and by workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    pub ledger: Ledger,
    pub rules: BTreeMap<RuleKey, Millijoules>,
    /// Process and workload series; their labels are in [`super::series`].
    pub series: BTreeMap<SeriesId, SeriesAmounts>,
}

impl Book {
    /// Adds all of another book.
    pub fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        self.combine(other, |ours, theirs| ours + theirs);
    }

    /// Takes away an earlier state of this book.
    pub fn subtract(&mut self, earlier: &Self) {
        self.ledger.subtract(&earlier.ledger);
        self.combine(earlier, u64::saturating_sub);
    }

    /// Opens every account that the other book has, at zero where there is none: a series must be seen at zero
    /// before its first energy, or Prometheus takes that for its beginning.
    pub fn open(&mut self, other: &Self) {
        self.ledger.open(&other.ledger);
        self.combine(other, |ours, _| ours);
    }

    fn combine(&mut self, other: &Self, combine: impl Fn(u64, u64) -> u64) {
        for (key, energy) in &other.rules {
            let ours = self.rules.entry(key.clone()).or_default();
            ours.0 = combine(ours.0, energy.0);
        }
        for (id, amounts) in &other.series {
            self.series.entry(*id).or_default().combine(*amounts, &combine);
        }
    }
}
