//! Who holds a GPU, and what falls to each: first among owners, then among an owner's processes.

use std::collections::BTreeMap;

use super::{Interval, Occupant, Part, Payee, Role, apportion};
use crate::owner::{Owner, Reserved};
use crate::units::Microseconds;

/// The holders of one interval.
pub(super) struct Holders {
    shares: Vec<Holding>,
    /// How much of the interval anyone held the GPU.
    covered: Microseconds,
    /// The length of the interval.
    elapsed: Microseconds,
}

/// One owner's hold.
struct Holding {
    weight: u128,
    /// The owner's processes, or its allocation, with the weights between them.
    within: Vec<(Payee, u128)>,
}

impl Holders {
    /// The holders: allocations where there are any, else the owners of processes by memory × time.
    pub(super) fn of(interval: &Interval<'_>, order: &[usize]) -> Self {
        let processes = by_processes(interval.occupants, order);
        let (shares, covered) = if interval.allocations.is_empty() {
            (processes, time_seen(interval.occupants))
        } else {
            (by_allocations(interval, &processes), interval.elapsed)
        };
        Self { shares, covered: covered.min(interval.elapsed), elapsed: interval.elapsed }
    }

    /// All of `total` to the holders; to `unattributed` where nobody holds.
    pub(super) fn divide(&self, total: u64) -> Vec<Part> {
        let weights: Vec<u128> = self.shares.iter().map(|holding| holding.weight).collect();
        let Some(parts) = apportion(total, &weights) else {
            return vec![reserved(Reserved::Unattributed, total)];
        };
        let within = self.shares.iter().zip(parts).flat_map(|(holding, part)| {
            let weights: Vec<u128> = holding.within.iter().map(|(_, weight)| *weight).collect();
            let parts = apportion(part, &weights).unwrap_or_default();
            holding.within.iter().zip(parts).map(|(&(payee, _), part)| Part::exact(payee, part))
        });
        within.collect()
    }

    /// `total` to the holders for the time anyone held the GPU, the rest to `unallocated`.
    pub(super) fn divide_with_vacancy(&self, total: u64) -> Vec<Part> {
        let [held, vacant] = self.vacancy(total);
        let mut parts = if held > 0 { self.divide(held) } else { Vec::new() };
        parts.push(reserved(Reserved::Unallocated, vacant));
        parts
    }

    /// `total` to `shared_idle` for the time anyone held the GPU, the rest to `unallocated`.
    pub(super) fn separate(&self, total: u64) -> Vec<Part> {
        let [held, vacant] = self.vacancy(total);
        vec![reserved(Reserved::SharedIdle, held), reserved(Reserved::Unallocated, vacant)]
    }

    fn vacancy(&self, total: u64) -> [u64; 2] {
        let covered = if self.shares.is_empty() { Microseconds::ZERO } else { self.covered };
        let weights = [u128::from(covered.0), u128::from((self.elapsed - covered).0)];
        apportion(total, &weights).map_or([0, total], |parts| [parts[0], parts[1]])
    }
}

fn reserved(team: Reserved, amount: u64) -> Part {
    Part::exact(Payee::Reserved(team), amount)
}

/// Owners of processes: by memory × time; by time alone where any holder's memory is unknown or none is held.
fn by_processes(occupants: &[Occupant<'_>], order: &[usize]) -> Vec<Holding> {
    let holds = |one: &Occupant<'_>| one.role == Role::Holder && one.seen > Microseconds::ZERO;
    let memory = memory_time(occupants, holds);
    let mut holdings: Vec<(&Owner, Holding)> = Vec::new();
    for &index in order.iter().filter(|&&index| holds(&occupants[index])) {
        let occupant = &occupants[index];
        let weight = memory.as_ref().map_or(u128::from(occupant.seen.0), |weights| weights[index]);
        if holdings.last().is_none_or(|(owner, _)| *owner != occupant.owner) {
            holdings.push((occupant.owner, Holding { weight: 0, within: Vec::new() }));
        }
        if let Some((_, holding)) = holdings.last_mut() {
            // By memory an owner weighs what its processes do together; equal owners weigh the same.
            holding.weight =
                if memory.is_some() { holding.weight + weight } else { holding.weight.max(weight) };
            holding.within.push((Payee::Occupant(index), weight));
        }
    }
    holdings.into_iter().map(|(_, holding)| holding).collect()
}

/// Owners of allocations, each by its weight; inside an owner its processes, where it has any here, else its allocations.
fn by_allocations(interval: &Interval<'_>, processes: &[Holding]) -> Vec<Holding> {
    let mut order: Vec<usize> = (0..interval.allocations.len()).collect();
    order.sort_by_key(|&index| (interval.allocations[index].owner, index));
    let mut holdings: Vec<(&Owner, Holding)> = Vec::new();
    for index in order {
        let allocation = &interval.allocations[index];
        let weight = u128::from(allocation.weight.max(1));
        match holdings.last_mut().filter(|(owner, _)| *owner == allocation.owner) {
            Some((_, holding)) => {
                holding.weight += weight;
                if matches!(holding.within[..], [(Payee::Allocation(_), _), ..]) {
                    holding.within.push((Payee::Allocation(index), weight));
                }
            }
            None => {
                let within = processes_of(interval.occupants, processes, allocation.owner);
                let within = within.unwrap_or_else(|| vec![(Payee::Allocation(index), weight)]);
                holdings.push((allocation.owner, Holding { weight, within }));
            }
        }
    }
    holdings.into_iter().map(|(_, holding)| holding).collect()
}

fn processes_of(
    occupants: &[Occupant<'_>],
    holdings: &[Holding],
    owner: &Owner,
) -> Option<Vec<(Payee, u128)>> {
    let owned = |holding: &&Holding| match holding.within.first() {
        Some((Payee::Occupant(index), _)) => occupants[*index].owner == owner,
        _ => false,
    };
    let holding = holdings.iter().find(owned)?;
    holding.within.iter().any(|(_, weight)| *weight > 0).then(|| holding.within.clone())
}

/// Memory × time of the occupants that `counts` picks, zero for the others; `None` where the memory of any of
/// them is unknown, or none of them holds any.
pub(super) fn memory_time(
    occupants: &[Occupant<'_>],
    counts: impl Fn(&Occupant<'_>) -> bool,
) -> Option<Vec<u128>> {
    let weigh = |one: &Occupant<'_>| {
        let memory = if counts(one) { one.memory? } else { 0 };
        Some(u128::from(memory) * u128::from(one.seen.0))
    };
    let weights: Vec<u128> = occupants.iter().map(weigh).collect::<Option<_>>()?;
    weights.iter().any(|weight| *weight > 0).then_some(weights)
}

/// How long the holders were there together, which can be more than the interval: owners that were there for a part
/// of it followed each other, as at a hand-over; of one owner's processes, which begin and end together, the longest counts.
fn time_seen(occupants: &[Occupant<'_>]) -> Microseconds {
    let mut longest: BTreeMap<&Owner, Microseconds> = BTreeMap::new();
    for one in occupants.iter().filter(|one| one.role == Role::Holder) {
        let seen = longest.entry(one.owner).or_default();
        *seen = one.seen.max(*seen);
    }
    longest.into_values().sum()
}

/// The occupants' indices in an order that does not depend on how they came: by owner, then process.
pub(super) fn by_key(occupants: &[Occupant<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..occupants.len()).collect();
    order.sort_by_key(|&index| (occupants[index].owner, occupants[index].process, index));
    order
}
