//! A GPU that MIG has divided: each instance is a domain of its own inside the energy of the whole.
//!
//! The driver counts no energy per instance, so every share here is an estimate. Active energy goes to instances by
//! activity × slices, idle energy and time by slices alone; inside an instance it goes as on a GPU without utilisation:
//! by memory, else equally. A process has no part in any instance but its own.

use std::collections::BTreeMap;

use super::{Allocation, Amounts, Basis, Interval, Occupant, Role, Split, Utilizations, apportion, holders};
use crate::units::{Microseconds, Millijoules};

/// Activity of an instance that was busy all the time.
const ALL: u64 = Instance::FULLY_ACTIVE as u64;

/// Names a MIG instance on its GPU, as the driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The GPU instance.
    pub gpu: u32,
    /// The compute instance in it.
    pub compute: u32,
}

/// A MIG instance in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Which.
    pub id: InstanceId,
    /// How many of the GPU's compute slices it has.
    pub slices: u32,
    /// Its memory in bytes; `None` where the driver does not say.
    pub memory: Option<u64>,
    /// How busy its own multiprocessors were, of [`Instance::FULLY_ACTIVE`]; `None` where the driver cannot say.
    pub activity: Option<u32>,
}

impl Instance {
    /// The activity of an instance that was busy all the time.
    pub const FULLY_ACTIVE: u32 = 100_000;
}

/// How MIG has divided a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition<'a> {
    /// The compute slices of the whole GPU; where instances have more together, as many as they have.
    pub slices: u32,
    /// The instances, each once, in any order.
    pub instances: &'a [Instance],
}

/// An instance, or what no instance has of the GPU, and who was there.
struct Domain {
    slices: u64,
    /// Of [`ALL`].
    activity: u64,
    occupants: Vec<usize>,
    allocations: Vec<usize>,
    is_held: bool,
}

/// What falls to a domain.
#[derive(Clone, Copy)]
struct Due {
    active: Millijoules,
    idle: Millijoules,
    held: Microseconds,
}

impl Partition<'_> {
    pub(super) fn split(&self, interval: &Interval<'_>) -> Split {
        let domains = self.domains(interval);
        let slices: Vec<u128> = domains.iter().map(|domain| domain.slices.into()).collect();
        let active = divide_active(interval.active.0, &domains);
        let idle = by_slices(interval.idle.0, &slices);
        let held = by_slices(interval.elapsed.0, &slices);
        let mut split = Split {
            occupants: vec![Amounts::default(); interval.occupants.len()],
            allocations: vec![Amounts::default(); interval.allocations.len()],
            reserved: BTreeMap::new(),
            basis: Basis::Mig,
        };
        for (index, domain) in domains.iter().enumerate() {
            let due = Due {
                active: Millijoules(active[index]),
                idle: Millijoules(idle[index]),
                held: Microseconds(held[index]),
            };
            domain.book(interval, due, &mut split);
        }
        split
    }

    /// The instances by id, and last what none of them has.
    fn domains(&self, interval: &Interval<'_>) -> Vec<Domain> {
        let mut instances: Vec<&Instance> = self.instances.iter().collect();
        instances.sort_by_key(|instance| instance.id);
        instances.dedup_by_key(|instance| instance.id);
        let taken: u64 = instances.iter().map(|instance| u64::from(instance.slices)).sum();
        let known = |id: &InstanceId| instances.binary_search_by_key(id, |instance| instance.id).is_ok();
        let elsewhere = |one: &Occupant<'_>| !one.instance.as_ref().is_some_and(known);
        let rest = Domain::new(interval, u64::from(self.slices).saturating_sub(taken), elsewhere, |_| false);
        let own = instances.iter().map(|instance| Domain::of(instance, interval));
        own.chain([rest]).collect()
    }
}

impl Domain {
    fn of(instance: &Instance, interval: &Interval<'_>) -> Self {
        let id = Some(instance.id);
        let domain =
            Self::new(interval, instance.slices.into(), |one| one.instance == id, |one| one.instance == id);
        let estimate = || domain.activity_by_memory(instance, interval);
        let activity = instance.activity.map_or_else(estimate, |activity| u64::from(activity).min(ALL));
        Self { activity, ..domain }
    }

    /// The domain of these occupants. Allocations of the whole GPU hold what has none of its own.
    fn new(
        interval: &Interval<'_>,
        slices: u64,
        is_here: impl Fn(&Occupant<'_>) -> bool,
        is_for_it: impl Fn(&Allocation<'_>) -> bool,
    ) -> Self {
        let occupants = places(interval.occupants, is_here);
        let mut allocations = places(interval.allocations, is_for_it);
        if allocations.is_empty() {
            allocations = places(interval.allocations, |one| one.instance.is_none());
        }
        let holds = |&index: &usize| {
            let one = &interval.occupants[index];
            one.role == Role::Holder && one.seen > Microseconds::ZERO
        };
        let is_held = !allocations.is_empty() || occupants.iter().any(holds);
        Self { slices, activity: 0, occupants, allocations, is_held }
    }

    /// How active it is taken to have been: as full as its memory was; all the time, where that is unknown.
    fn activity_by_memory(&self, instance: &Instance, interval: &Interval<'_>) -> u64 {
        let occupants: Vec<Occupant<'_>> =
            self.occupants.iter().map(|&index| interval.occupants[index]).collect();
        let counts = |one: &Occupant<'_>| one.role == Role::Holder;
        let room = instance.memory.filter(|memory| *memory > 0).map(u128::from);
        let elapsed = u128::from(interval.elapsed.0.max(1));
        match (holders::memory_time(&occupants, counts), room) {
            (Some(used), Some(room)) => {
                let used: u128 = used.iter().sum();
                let part = used / (room * elapsed / u128::from(ALL)).max(1);
                u64::try_from(part).unwrap_or(ALL).clamp(1, ALL)
            }
            _ => {
                let seen = occupants.iter().filter(|one| counts(one)).map(|one| one.seen.0).max();
                let seen = u128::from(seen.unwrap_or_default()).min(elapsed);
                u64::try_from(seen * u128::from(ALL) / elapsed).unwrap_or(ALL)
            }
        }
    }

    /// Divides what falls to the domain among those who are there.
    fn book(&self, whole: &Interval<'_>, due: Due, split: &mut Split) {
        let occupants: Vec<Occupant<'_>> =
            self.occupants.iter().map(|&index| whole.occupants[index]).collect();
        let allocations: Vec<Allocation<'_>> =
            self.allocations.iter().map(|&index| whole.allocations[index]).collect();
        let Due { active, idle, held } = due;
        let part = Interval {
            active,
            idle,
            utilizations: Utilizations::Unavailable,
            occupants: &occupants,
            allocations: &allocations,
            partition: None,
            ..*whole
        };
        let parts = part.divide(held);
        for (&index, amounts) in self.occupants.iter().zip(parts.occupants) {
            split.occupants[index] += estimated(amounts);
        }
        for (&index, amounts) in self.allocations.iter().zip(parts.allocations) {
            split.allocations[index] += estimated(amounts);
        }
        for (team, amounts) in parts.reserved {
            *split.reserved.entry(team).or_default() += estimated(amounts);
        }
    }
}

fn places<T>(all: &[T], counts: impl Fn(&T) -> bool) -> Vec<usize> {
    (0..all.len()).filter(|&index| counts(&all[index])).collect()
}

/// By activity × slices; where nobody was active to those slices that are held, else to what no instance has.
fn divide_active(total: u64, domains: &[Domain]) -> Vec<u64> {
    let by = |weight: &dyn Fn(&Domain) -> u64| {
        let weights: Vec<u128> = domains.iter().map(|domain| weight(domain).into()).collect();
        apportion(total, &weights)
    };
    by(&|domain| domain.activity * domain.slices)
        .or_else(|| by(&|domain| if domain.is_held { domain.slices } else { 0 }))
        .unwrap_or_else(|| all_to_the_last(total, domains.len()))
}

fn by_slices(total: u64, slices: &[u128]) -> Vec<u64> {
    apportion(total, slices).unwrap_or_else(|| all_to_the_last(total, slices.len()))
}

fn all_to_the_last(total: u64, count: usize) -> Vec<u64> {
    (1..=count).map(|number| if number == count { total } else { 0 }).collect()
}

fn estimated(amounts: Amounts) -> Amounts {
    Amounts { estimated: amounts.active + amounts.idle, busy: Microseconds::ZERO, ..amounts }
}
