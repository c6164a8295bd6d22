//! The ledger: for every GPU its energy, and for every owner what of it and of the GPU's time was theirs.
//!
//! Ledgers add and subtract, so that a single interval, what is not yet visible, and the whole history are all
//! the same thing. They keep no time and forget nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::meter::Metered;
use crate::owner::{Owner, Reserved};
use crate::split::{Amounts, Interval, Split};
use crate::units::Millijoules;

/// The account of one GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuAccount {
    /// The energy believed and accounted.
    pub energy: Millijoules,
    /// How often the hardware counter went backwards.
    pub resets: u64,
    /// What the hardware counter claimed and was not believed.
    pub disbelieved: Millijoules,
    /// What fell to each owner.
    pub owners: BTreeMap<Owner, Amounts>,
}

impl GpuAccount {
    /// Energy without an owner, in millijoules; negative where owners have more than there was. Always 0.
    #[must_use]
    pub fn residual(&self) -> i128 {
        let owned: u128 =
            self.owners.values().map(|one| u128::from(one.active.0) + u128::from(one.idle.0)).sum();
        i128::from(self.energy.0) - i128::try_from(owned).unwrap_or(i128::MAX)
    }

    fn combine(&mut self, other: &Self, combine: impl Fn(u64, u64) -> u64) {
        self.energy.0 = combine(self.energy.0, other.energy.0);
        self.resets = combine(self.resets, other.resets);
        self.disbelieved.0 = combine(self.disbelieved.0, other.disbelieved.0);
        for (owner, theirs) in &other.owners {
            let ours = self.owners.entry(owner.clone()).or_default();
            ours.active.0 = combine(ours.active.0, theirs.active.0);
            ours.idle.0 = combine(ours.idle.0, theirs.idle.0);
            ours.estimated.0 = combine(ours.estimated.0, theirs.estimated.0);
            ours.held.0 = combine(ours.held.0, theirs.held.0);
            ours.busy.0 = combine(ours.busy.0, theirs.busy.0);
        }
    }
}

/// A split whose parts are not the interval's energy: it was not booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// The interval's energy.
    pub energy: Millijoules,
    /// What the parts add up to.
    pub parts: Millijoules,
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parts of an interval of {} add up to {}", self.energy, self.parts)
    }
}

impl std::error::Error for Imbalance {}

/// Accounts by GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    gpus: BTreeMap<Arc<str>, GpuAccount>,
}

impl Ledger {
    /// The accounts, by GPU UUID.
    pub fn gpus(&self) -> impl Iterator<Item = (&Arc<str>, &GpuAccount)> {
        self.gpus.iter()
    }

    /// The account of a GPU, opened at zero where there is none.
    pub fn gpu(&mut self, uuid: &Arc<str>) -> &mut GpuAccount {
        self.gpus.entry(Arc::clone(uuid)).or_default()
    }

    /// Books an interval as it was split.
    ///
    /// # Errors
    /// [`Imbalance`] where the split is of another interval; nothing is booked then.
    pub fn book(&mut self, uuid: &Arc<str>, interval: &Interval<'_>, split: &Split) -> Result<(), Imbalance> {
        let energy = interval.active + interval.idle;
        let parts = split.occupants.iter().chain(&split.allocations).chain(split.reserved.values());
        let parts: Millijoules = parts.map(|one| one.active + one.idle).sum();
        if parts != energy {
            return Err(Imbalance { energy, parts });
        }
        let account = self.gpu(uuid);
        account.energy += energy;
        let processes = interval.occupants.iter().map(|one| one.owner.clone()).zip(&split.occupants);
        let allocations = interval.allocations.iter().map(|one| one.owner.clone()).zip(&split.allocations);
        let reserved = split.reserved.iter().map(|(team, amounts)| (Owner::from(*team), amounts));
        for (owner, amounts) in processes.chain(allocations).chain(reserved) {
            *account.owners.entry(owner).or_default() += *amounts;
        }
        Ok(())
    }

    /// Books energy that cannot be divided, such as that of a gap in which nobody looked, to a reserved team.
    pub fn book_whole(&mut self, uuid: &Arc<str>, energy: Millijoules, team: Reserved) {
        let account = self.gpu(uuid);
        account.energy += energy;
        account.owners.entry(team.into()).or_default().active += energy;
    }

    /// Notes what an interval's reading said of the hardware counter.
    pub fn note(&mut self, uuid: &Arc<str>, metered: &Metered) {
        let account = self.gpu(uuid);
        account.resets += u64::from(metered.reset);
        account.disbelieved += metered.disbelieved;
    }

    /// Adds all of another ledger.
    pub fn add(&mut self, other: &Self) {
        for (uuid, account) in &other.gpus {
            self.gpu(uuid).combine(account, |ours, theirs| ours + theirs);
        }
    }

    /// Opens every account of another ledger, at zero where there is none.
    pub fn open(&mut self, other: &Self) {
        for (uuid, account) in &other.gpus {
            self.gpu(uuid).combine(account, |ours, _| ours);
        }
    }

    /// Takes away an earlier state of this ledger; what is left is what came since.
    pub fn subtract(&mut self, earlier: &Self) {
        for (uuid, account) in &earlier.gpus {
            self.gpu(uuid).combine(account, u64::saturating_sub);
        }
    }
}

/// The owners that may hold energy: sticky, and bounded, so that no rules file can make series without end.
#[derive(Clone, Debug, Default)]
pub struct Payers {
    admitted: BTreeSet<Owner>,
}

impl Payers {
    /// The owner itself if it is known or there is room for it below `limit`, else `overflow`. Reserved teams are
    /// always admitted and take no room. Equal owners that are admitted share their labels.
    pub fn admit(&mut self, owner: &Owner, limit: usize) -> Owner {
        if let Some(known) = self.admitted.get(owner) {
            return known.clone();
        }
        if owner.reserved().is_some() {
            return owner.clone();
        }
        if self.admitted.len() >= limit {
            return Reserved::Overflow.into();
        }
        self.admitted.insert(owner.clone());
        owner.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::ProcessKey;
    use crate::owner::TEAM;
    use crate::split::{IdlePolicy, Occupant, Role, Utilizations};
    use crate::units::Microseconds;

    fn team(name: &str) -> Owner {
        Owner::new([(TEAM, name)])
    }

    fn interval<'a>(active: u64, idle: u64, occupants: &'a [Occupant<'a>]) -> Interval<'a> {
        Interval {
            elapsed: Microseconds::SECOND,
            active: Millijoules(active),
            idle: Millijoules(idle),
            policy: IdlePolicy::Holders,
            utilizations: Utilizations::Known,
            occupants,
            allocations: &[],
            partition: None,
        }
    }

    fn occupant(pid: u32, owner: &Owner) -> Occupant<'_> {
        let (memory, busy, seen) = (Some(1), Microseconds(1), Microseconds::SECOND);
        let (process, instance, role) = (ProcessKey { pid, start: 1 }, None, Role::Holder);
        Occupant { process, instance, owner, role, memory, busy, seen }
    }

    #[test]
    fn a_million_intervals_leave_no_residual() {
        let owners: Vec<Owner> = ["a", "b", "c"].map(team).into();
        let occupants: Vec<Occupant<'_>> =
            (0..).zip(&owners).map(|(pid, owner)| occupant(pid, owner)).collect();
        let interval = interval(1000, 100, &occupants);
        let split = interval.split();
        let (uuid, mut ledger) = (Arc::from("GPU-0"), Ledger::default());
        for _ in 0..100_000 {
            ledger.book(&uuid, &interval, &split).unwrap();
        }
        assert_eq!(ledger.gpu(&uuid).residual(), 0);
        assert_eq!(ledger.gpu(&uuid).energy, Millijoules(110_000_000));
    }

    #[test]
    fn a_split_of_another_interval_is_refused_whole() {
        let (uuid, mut ledger) = (Arc::from("GPU-0"), Ledger::default());
        let split = interval(5, 0, &[]).split();
        let refused = ledger.book(&uuid, &interval(6, 0, &[]), &split);
        assert_eq!(refused, Err(Imbalance { energy: Millijoules(6), parts: Millijoules(5) }));
        assert_eq!(ledger, Ledger::default());
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let uuid = Arc::from("GPU-0");
        let mut ledger = Ledger::default();
        ledger.book_whole(&uuid, Millijoules(7), Reserved::Unobserved);
        let earlier = ledger.clone();
        ledger.book_whole(&uuid, Millijoules(5), Reserved::Unobserved);
        let mut since = ledger.clone();
        since.subtract(&earlier);
        assert_eq!(since.gpu(&uuid).energy, Millijoules(5));
        let mut again = earlier;
        again.add(&since);
        assert_eq!(again, ledger);
    }

    #[test]
    fn owners_beyond_the_limit_overflow_and_those_within_stay() {
        let mut payers = Payers::default();
        assert_eq!(payers.admit(&team("a"), 1), team("a"));
        assert_eq!(payers.admit(&team("b"), 1), Reserved::Overflow.into());
        assert_eq!(payers.admit(&team("a"), 0), team("a"));
        assert_eq!(payers.admit(&Reserved::Unallocated.into(), 1), Reserved::Unallocated.into());
    }
}
