//! One control-group path: the system manager's slices and unit, and what the managers say of the rest.

use super::managers;
use crate::facts::Field;

/// Facts that a manager states, in no order.
pub(super) type Names = Vec<(Field, String)>;

/// What one path says.
pub(super) struct Identity<'a> {
    /// The system manager's outermost slice; absent where the path does not begin with one.
    pub(super) slice: Option<&'a str>,
    /// The system manager's outermost unit that is no slice.
    pub(super) unit: Option<&'a str>,
    /// What the outermost manager below it states.
    pub(super) names: Names,
    is_root: bool,
}

impl Identity<'_> {
    /// How much the path says: a job or pod before a container or machine, that before a unit, that before a
    /// path that is not the root.
    pub(super) fn rank(&self) -> u8 {
        if self.names.iter().any(|(field, _)| *field == Field::Scheduler) {
            4
        } else if !self.names.is_empty() {
            3
        } else if self.unit.is_some() {
            2
        } else {
            u8::from(!self.is_root)
        }
    }
}

/// A path cut at the end of the system manager's slices. Either part may be empty.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) slices: &'a [&'a str],
    pub(super) rest: &'a [&'a str],
}

/// Reads one path.
///
/// Leading `..` (the reader sits in a cgroup namespace of its own) stand for an unknown part of a tree whose
/// names come from the managers that hold the reader too, so what follows is read as if it stood at the root.
/// The kernel's ` (deleted)` behind the path of a removed cgroup is not part of it.
pub(super) fn identify(path: &str) -> Identity<'_> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty()).skip_while(|part| *part == "..").collect();
    let slices = parts.iter().take_while(|part| is_slice(part)).count();
    let (slices, rest) = parts.split_at(slices);
    Identity {
        slice: slices.first().copied().filter(|name| is_outermost_slice(name)),
        unit: rest.first().copied().filter(|name| is_unit(name)),
        names: managers::identify(Place { slices, rest }).unwrap_or_default(),
        is_root: parts.is_empty(),
    }
}

fn is_slice(name: &str) -> bool {
    name.strip_suffix(".slice").is_some_and(|stem| !stem.is_empty())
}

/// A slice's name spells its parents, joined by dashes; so a first slice with a dash is not the outermost,
/// but where the reader's cgroup namespace cut the path.
fn is_outermost_slice(name: &str) -> bool {
    !name.contains('-')
}

fn is_unit(name: &str) -> bool {
    let known = |suffix: &&str| matches!(*suffix, "service" | "scope" | "socket" | "mount" | "swap");
    name.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && known(&suffix))
}
