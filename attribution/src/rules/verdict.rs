//! What the rules say of a process: its owner, by which rule, on what evidence, or why none.

use std::fmt;
use std::sync::Arc;

use super::problem::{Fault, quote};
use crate::facts::{Evidence, Field};
use crate::owner::{Owner, Reserved, TEAM};

/// The longest value of an owner label, in bytes.
pub const LONGEST_VALUE: usize = 128;

/// A verdict, or the pending fact it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rules decided.
    Verdict(Verdict),
    /// The rules must read this field to decide, and it is still being fetched.
    Pending(Field),
}

/// The owner a process got, by which rule, on what evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who pays; `unattributed` where refused.
    pub owner: Owner,
    /// The rule that matched.
    pub rule: Option<Arc<str>>,
    /// The weakest evidence among the fields that rule used; absent where no rule matched.
    pub evidence: Option<Evidence>,
    /// Why the owner is `unattributed`.
    pub refusal: Option<Refusal>,
}

impl Verdict {
    /// `unattributed`, by no rule.
    #[must_use]
    pub fn unattributed(refusal: Refusal) -> Self {
        let owner = Owner::from(Reserved::Unattributed);
        Self { owner, rule: None, evidence: None, refusal: Some(refusal) }
    }
}

/// Why a process is `unattributed`. Displayed as the value of a metric's label, which is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No rule matched.
    NoRule,
    /// The rule's template gave an empty team.
    EmptyTeam,
    /// The rule's template gave the name of a reserved team.
    ReservedTeam,
    /// The rule's template gave a value over [`LONGEST_VALUE`].
    ValueTooLong,
    /// A pending fact did not come in time. Said by the caller, who knows the time.
    FactsNeverCame,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NoRule, Self::EmptyTeam, Self::ReservedTeam, Self::ValueTooLong, Self::FactsNeverCame];

    /// The name, in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::EmptyTeam => "empty_team",
            Self::ReservedTeam => "reserved_team",
            Self::ValueTooLong => "value_too_long",
            Self::FactsNeverCame => "facts_never_came",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why this value may not stand in this owner label, if so.
pub(super) fn refuse(label: &str, value: &str) -> Option<Refusal> {
    let is_team = label == TEAM;
    if is_team && value.is_empty() {
        return Some(Refusal::EmptyTeam);
    }
    if is_team && Reserved::parse(value).is_some() {
        return Some(Refusal::ReservedTeam);
    }
    (value.len() > LONGEST_VALUE).then_some(Refusal::ValueTooLong)
}

/// The same, for a value that a file writes out.
pub(super) fn check_value(label: &str, value: &str) -> Result<(), Fault> {
    match refuse(label, value) {
        None => Ok(()),
        Some(Refusal::EmptyTeam) => Err(Fault::new("the team is empty")),
        Some(Refusal::ReservedTeam) => {
            let reserved = Reserved::ALL.map(Reserved::name).join(", ");
            Err(Fault::new(format!("{} is a reserved team", quote(value)))
                .help(format!("reserved: {reserved}")))
        }
        Some(_) => {
            Err(Fault::new(format!("the value has {} bytes, over the limit of {LONGEST_VALUE}", value.len())))
        }
    }
}
