//! Rules files: which process belongs to which owner.
//!
//! [`RuleSet::load`] makes a set of rules from texts; [`RuleSet::decide`] gives the verdict on a process's facts.
//! Everything here is pure: the caller reads the files. `docs/rules.md` is the reference of the format.

mod explain;
mod glob;
mod lint;
mod load;
mod matcher;
mod needles;
pub(crate) mod pattern;
mod place;
pub(crate) mod problem;
mod process;
mod rule;
mod rule_reader;
pub(crate) mod schema;
mod screen;
mod set;
mod settings;
mod table;
mod template;
mod test;
mod trust;
mod verdict;
pub(crate) mod yaml;

pub use explain::{Explanation, Found, Line, Outcome, Reason};
pub use problem::{Problem, Problems};
pub use process::process;
pub use set::{RuleSet, Source};
pub use test::TestFailure;
pub use verdict::{Decision, LONGEST_VALUE, Refusal, Verdict};
