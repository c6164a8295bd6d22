//! Who energy is booked to: a set of label values, of which the team is the first.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label every owner has.
pub const TEAM: &str = "team";

/// Teams that no rule may assign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reserved {
    /// Processes no rule matched, or whose facts never came.
    Unattributed,
    /// Nobody held the GPU.
    Unallocated,
    /// Idle energy under the policy `separate`.
    SharedIdle,
    /// The counter's gain while the exporter did not run.
    Unobserved,
    /// Owners beyond the configured limit.
    Overflow,
}

impl Reserved {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unattributed, Self::Unallocated, Self::SharedIdle, Self::Unobserved, Self::Overflow];

    /// The team's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unattributed => "unattributed",
            Self::Unallocated => "unallocated",
            Self::SharedIdle => "shared_idle",
            Self::Unobserved => "unobserved",
            Self::Overflow => "overflow",
        }
    }

    /// The reserved team of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|team| team.name() == name)
    }
}

/// A set of label values. Empty values are dropped, as Prometheus does, so that two owners are equal exactly
/// when their series would be. Cheap to clone; ordered by its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(Arc<[(Arc<str>, Arc<str>)]>);

impl Owner {
    /// An owner of these labels and values; kept with the team first, then by name, whatever order they come in.
    #[must_use]
    pub fn new<L: Into<Arc<str>>, V: Into<Arc<str>>>(labels: impl IntoIterator<Item = (L, V)>) -> Self {
        let pairs = labels.into_iter().map(|(label, value)| (label.into(), value.into()));
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = pairs.filter(|(_, value)| !value.is_empty()).collect();
        pairs.sort_by(|(a, _), (b, _)| (&**a != TEAM, a).cmp(&(&**b != TEAM, b)));
        Self(pairs.into())
    }

    /// The team; empty only for an owner that was built without one.
    #[must_use]
    pub fn team(&self) -> &str {
        self.label(TEAM)
    }

    /// The value of a label, empty where the owner has none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.0.iter().find(|(label, _)| &**label == name).map_or("", |(_, value)| value)
    }

    /// Labels and values, none empty.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(label, value)| (&**label, &**value))
    }

    /// Which reserved team this is, if it is one.
    #[must_use]
    pub fn reserved(&self) -> Option<Reserved> {
        Reserved::parse(self.team())
    }
}

/// Accounts are found by owner all the time, mostly by a clone of the very owner they were opened for.
impl Ord for Owner {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Owner {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Reserved> for Owner {
    fn from(team: Reserved) -> Self {
        Self::new([(TEAM, team.name())])
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (label, value)) in self.labels().enumerate() {
            write!(f, "{}{label}={value:?}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_label_is_no_label() {
        assert_eq!(Owner::new([(TEAM, "a"), ("project", "")]), Owner::new([(TEAM, "a")]));
    }

    #[test]
    fn the_order_of_labels_does_not_matter() {
        let (one, other) = ([("b", "2"), (TEAM, "t"), ("a", "1")], [(TEAM, "t"), ("a", "1"), ("b", "2")]);
        assert_eq!(Owner::new(one), Owner::new(other));
        assert_eq!(Owner::new(one).to_string(), r#"team="t", a="1", b="2""#);
    }

    #[test]
    fn reserved_teams_are_recognised() {
        for team in Reserved::ALL {
            assert_eq!(Owner::from(team).reserved(), Some(team));
        }
        assert_eq!(Owner::new([(TEAM, "physics")]).reserved(), None);
    }
}
