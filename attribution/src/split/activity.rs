//! Who was active on a GPU: by SM busy time, else by an estimate.

use super::{Basis, Interval, Occupant, Part, Payee, Role, Utilizations, apportion, holders};
use crate::units::Microseconds;

/// The weights of an interval's occupants.
pub(super) struct Activity<'a> {
    pub(super) basis: Basis,
    occupants: &'a [Occupant<'a>],
    order: &'a [usize],
    /// By position in `order`.
    weights: Vec<u128>,
}

impl<'a> Activity<'a> {
    /// By busy time where it is known; else by memory × time, else by time, without those that never hold.
    pub(super) fn of(interval: &Interval<'a>, order: &'a [usize]) -> Self {
        let occupants = interval.occupants;
        let holder = |one: &Occupant<'_>| one.role == Role::Holder;
        let ordered = |weight: &dyn Fn(usize) -> u128| order.iter().map(|&index| weight(index)).collect();
        let (basis, weights) = if interval.utilizations == Utilizations::Known {
            (Basis::Utilization, ordered(&|index| occupants[index].busy.0.into()))
        } else if let Some(weights) = holders::memory_time(occupants, holder) {
            (Basis::Memory, ordered(&|index| weights[index]))
        } else {
            let time =
                |index: usize| if holder(&occupants[index]) { occupants[index].seen.0.into() } else { 0 };
            (Basis::Equal, ordered(&time))
        };
        Self { basis, occupants, order, weights }
    }

    /// The parts of `total`; `None` where nobody was active.
    pub(super) fn divide(&self, total: u64) -> Option<Vec<Part>> {
        let parts = apportion(total, &self.weights)?;
        let to_part = |(&index, amount)| Part { payee: Payee::Occupant(index), amount, by: self.basis };
        Some(self.order.iter().zip(parts).map(to_part).collect())
    }

    /// Busy times by occupant; where they add up to more than the interval, scaled down to it.
    pub(super) fn busy_within(&self, elapsed: Microseconds) -> Vec<Microseconds> {
        let mut busy: Vec<Microseconds> = self.occupants.iter().map(|one| one.busy).collect();
        if busy.iter().map(|time| u128::from(time.0)).sum::<u128>() > u128::from(elapsed.0) {
            let weights: Vec<u128> = self.order.iter().map(|&index| busy[index].0.into()).collect();
            for (&index, part) in self.order.iter().zip(apportion(elapsed.0, &weights).unwrap_or_default()) {
                busy[index] = Microseconds(part);
            }
        }
        busy
    }
}
