//! Divides the energy and the time of one interval of one GPU among those who pay.
//!
//! Pure: an [`Interval`] in, a [`Split`] out. It does not know who an owner is made of nor what came before.
//! The parts sum to the whole, to the millijoule and the microsecond, whatever the order of the input.
//!
//! A worked interval stands in `docs/accounting.md` and in this module's golden test.

mod activity;
mod apportion;
mod holders;
mod partition;
#[cfg(test)]
mod partition_tests;
#[cfg(test)]
mod tests;

pub use apportion::apportion;
pub use partition::{Instance, InstanceId, Partition};

use std::collections::BTreeMap;

use crate::facts::ProcessKey;
use crate::owner::{Owner, Reserved};
use crate::units::{Microseconds, Millijoules};
use activity::Activity;
use holders::Holders;

/// Who pays for idle energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Those who hold the GPU.
    #[default]
    Holders,
    /// As the active energy goes, else the holders.
    Proportional,
    /// The reserved team `shared_idle`.
    Separate,
}

/// What active energy is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// SM busy time.
    Utilization,
    /// Activity of MIG instances × their slices: an estimate.
    Mig,
    /// Memory held × time seen: an estimate.
    Memory,
    /// Time seen: an estimate.
    Equal,
}

/// Whether the driver could say how busy each process kept the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utilizations {
    /// It could: [`Occupant::busy`] counts.
    Known,
    /// It could not: active energy goes by an estimate.
    Unavailable,
}

/// Whether being on a GPU makes a process hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does.
    Holder,
    /// The rules file's `ignore` names it (a display server, a monitoring agent): it never holds.
    Ignored,
}

/// A process on the GPU in the interval. One that is on two MIG instances is two of them.
#[derive(Clone, Copy, Debug)]
pub struct Occupant<'a> {
    /// Which process.
    pub process: ProcessKey,
    /// The MIG instance it is on; `None` without MIG, and where the driver does not say.
    pub instance: Option<InstanceId>,
    /// Who pays for it.
    pub owner: &'a Owner,
    /// Whether it can hold the GPU.
    pub role: Role,
    /// GPU memory it uses, in bytes; `None` where the driver does not say.
    pub memory: Option<u64>,
    /// SM busy time in the interval.
    pub busy: Microseconds,
    /// How much of the interval it was seen for.
    pub seen: Microseconds,
}

/// A scheduler's word that a GPU, or a replica or slice of it, belongs to a job or pod.
#[derive(Clone, Copy, Debug)]
pub struct Allocation<'a> {
    /// Who pays for it.
    pub owner: &'a Owner,
    /// The MIG instance; `None`: the whole GPU, without what others hold of it.
    pub instance: Option<InstanceId>,
    /// Replicas or slices held, at least one.
    pub weight: u64,
}

/// One interval of one GPU, ready to be divided.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// Its length.
    pub elapsed: Microseconds,
    /// Active energy.
    pub active: Millijoules,
    /// Idle energy.
    pub idle: Millijoules,
    /// Who pays for idle energy.
    pub policy: IdlePolicy,
    /// Whether busy times are known.
    pub utilizations: Utilizations,
    /// The processes.
    pub occupants: &'a [Occupant<'a>],
    /// The allocations; where there are any, they alone hold.
    pub allocations: &'a [Allocation<'a>],
    /// How MIG has divided the GPU; `None` without MIG.
    pub partition: Option<Partition<'a>>,
}

/// Where a part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payee {
    /// To the owner of this occupant, for its process.
    Occupant(usize),
    /// To the owner of this allocation, which has no process here.
    Allocation(usize),
    /// To a reserved team.
    Reserved(Reserved),
}

/// What falls to one payee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Active energy.
    pub active: Millijoules,
    /// Idle energy.
    pub idle: Millijoules,
    /// The part of both that an estimate divided.
    pub estimated: Millijoules,
    /// Time the GPU was held.
    pub held: Microseconds,
    /// SM busy time.
    pub busy: Microseconds,
}

impl std::ops::AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        self.active += other.active;
        self.idle += other.idle;
        self.estimated += other.estimated;
        self.held += other.held;
        self.busy += other.busy;
    }
}

/// An interval, divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The part of each occupant, to be booked to its owner.
    pub occupants: Vec<Amounts>,
    /// The part of each allocation whose owner has no process here.
    pub allocations: Vec<Amounts>,
    /// The parts of reserved teams.
    pub reserved: BTreeMap<Reserved, Amounts>,
    /// What the active energy went by.
    pub basis: Basis,
}

impl Split {
    fn of(&mut self, payee: Payee) -> &mut Amounts {
        match payee {
            Payee::Occupant(index) => &mut self.occupants[index],
            Payee::Allocation(index) => &mut self.allocations[index],
            Payee::Reserved(team) => self.reserved.entry(team).or_default(),
        }
    }
}

impl Interval<'_> {
    /// Divides the interval.
    #[must_use]
    pub fn split(&self) -> Split {
        match self.partition {
            Some(partition) => partition.split(self),
            None => self.divide(self.elapsed),
        }
    }

    /// Divides it as one domain, of which `held` was there to be held: all of the time, or a part's share of it.
    fn divide(&self, held: Microseconds) -> Split {
        let order = holders::by_key(self.occupants);
        let holders = Holders::of(self, &order);
        let activity = Activity::of(self, &order);
        let mut split = Split {
            occupants: vec![Amounts::default(); self.occupants.len()],
            allocations: vec![Amounts::default(); self.allocations.len()],
            reserved: BTreeMap::new(),
            basis: activity.basis,
        };
        for part in activity.divide(self.active.0).unwrap_or_else(|| holders.divide(self.active.0)) {
            let share = split.of(part.payee);
            share.active += Millijoules(part.amount);
            share.estimated += part.estimated();
        }
        for part in self.idle_parts(&holders, &activity) {
            let share = split.of(part.payee);
            share.idle += Millijoules(part.amount);
            share.estimated += part.estimated();
        }
        for part in holders.divide_with_vacancy(held.0) {
            split.of(part.payee).held += Microseconds(part.amount);
        }
        for (share, busy) in split.occupants.iter_mut().zip(activity.busy_within(self.elapsed)) {
            share.busy = busy;
        }
        split
    }

    fn idle_parts(&self, holders: &Holders, activity: &Activity<'_>) -> Vec<Part> {
        match self.policy {
            IdlePolicy::Holders => None,
            IdlePolicy::Proportional => activity.divide(self.idle.0),
            IdlePolicy::Separate => Some(holders.separate(self.idle.0)),
        }
        .unwrap_or_else(|| holders.divide_with_vacancy(self.idle.0))
    }
}

/// A part of a total.
struct Part {
    payee: Payee,
    amount: u64,
    by: Basis,
}

impl Part {
    fn exact(payee: Payee, amount: u64) -> Self {
        Self { payee, amount, by: Basis::Utilization }
    }

    fn estimated(&self) -> Millijoules {
        if self.by == Basis::Utilization { Millijoules::ZERO } else { Millijoules(self.amount) }
    }
}
