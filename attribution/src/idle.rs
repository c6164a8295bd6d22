//! Tells idle energy from active energy, and learns what a GPU draws when nobody uses it.

use std::collections::VecDeque;

use crate::units::{Microseconds, Millijoules, Milliwatts};

const NANOJOULES_PER_MILLIJOULE: u128 = 1_000_000;

/// The energy of an interval, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What the GPU would have drawn anyway.
    pub idle: Millijoules,
    /// The rest.
    pub active: Millijoules,
}

/// Tells idle from active energy of one GPU. Idle energy owed grows by idle power × time; what the counter has not
/// yet paid is carried, at most one second's worth, so that the counter's jitter is not booked as work.
#[derive(Clone, Debug, Default)]
pub struct IdleMeter {
    /// Owed and not yet paid, in nanojoules.
    owed: u128,
}

impl IdleMeter {
    /// Tells the energy of an interval apart; without a known idle power all of it is active.
    pub fn divide(&mut self, energy: Millijoules, elapsed: Microseconds, power: Option<Milliwatts>) -> Parts {
        let Some(power) = power else {
            self.owed = 0;
            return Parts { idle: Millijoules::ZERO, active: energy };
        };
        self.owed += u128::from(power.0) * u128::from(elapsed.0);
        let payable = u64::try_from(self.owed / NANOJOULES_PER_MILLIJOULE).unwrap_or(u64::MAX);
        let idle = energy.min(Millijoules(payable));
        let unpaid = self.owed - u128::from(idle.0) * NANOJOULES_PER_MILLIJOULE;
        self.owed = unpaid.min(u128::from(power.0) * u128::from(Microseconds::SECOND.0));
        Parts { idle, active: energy - idle }
    }
}

/// How long a GPU must have been without a process before its idle power is learnt.
const LEARNING_TIME: Microseconds = Microseconds(60_000_000);

/// The readings kept to take the median of, and how many it takes at least.
const KEPT: usize = 600;
const ENOUGH: usize = 5;

/// Learns the idle power of one GPU: the median over at least 60 s without a process, in readings that follow each
/// other without a hole.
#[derive(Clone, Debug, Default)]
pub struct IdleLearner {
    learnt: Option<Milliwatts>,
    run: Option<Vacancy>,
}

/// A time without a process, read at a steady rhythm.
#[derive(Clone, Debug)]
struct Vacancy {
    since: Microseconds,
    last: Microseconds,
    step: Option<Microseconds>,
    seen: VecDeque<Milliwatts>,
}

impl Vacancy {
    fn begin(at: Microseconds, power: Milliwatts) -> Self {
        Self { since: at, last: at, step: None, seen: VecDeque::from([power]) }
    }

    /// Whether a reading at `at` follows the last as that followed the one before.
    fn goes_on(&self, at: Microseconds) -> bool {
        let step = at.saturating_sub(self.last);
        self.step
            .is_none_or(|before| step.0 <= before.0.saturating_mul(2) && before.0 <= step.0.saturating_mul(2))
    }

    fn read(&mut self, at: Microseconds, power: Milliwatts) {
        self.step = Some(at.saturating_sub(self.last));
        self.last = at;
        if self.seen.len() == KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(power);
    }

    fn median(&self) -> Option<Milliwatts> {
        if self.seen.len() < ENOUGH || self.last.saturating_sub(self.since) < LEARNING_TIME {
            return None;
        }
        let mut sorted: Vec<Milliwatts> = self.seen.iter().copied().collect();
        let middle = (sorted.len() - 1) / 2;
        Some(*sorted.select_nth_unstable(middle).1)
    }
}

impl IdleLearner {
    /// A learner that already knows, from an earlier run.
    #[must_use]
    pub fn knowing(learnt: Option<Milliwatts>) -> Self {
        Self { learnt, run: None }
    }

    /// The idle power learnt so far.
    #[must_use]
    pub fn learnt(&self) -> Option<Milliwatts> {
        self.learnt
    }

    /// The GPU has processes (or may have): what was seen so far without one is dropped, what was learnt stays.
    pub fn busy(&mut self) {
        self.run = None;
    }

    /// The GPU has no process and draws `power` at `at`.
    pub fn vacant(&mut self, at: Microseconds, power: Milliwatts) {
        let run = match self.run.take().filter(|run| run.goes_on(at)) {
            Some(mut run) => {
                run.read(at, power);
                run
            }
            None => Vacancy::begin(at, power),
        };
        self.learnt = run.median().or(self.learnt);
        self.run = Some(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Milliwatts = Milliwatts(80_000);

    /// Idle energy booked for intervals of (elapsed ms, counter gain mJ).
    #[track_caller]
    fn check(intervals: &[(u64, u64)], want: &[u64]) {
        let mut meter = IdleMeter::default();
        let idle: Vec<u64> = intervals
            .iter()
            .map(|&(elapsed, energy)| {
                meter.divide(Millijoules(energy), Microseconds(elapsed * 1000), Some(IDLE))
            })
            .map(|parts| parts.idle.0)
            .collect();
        assert_eq!(idle, want);
    }

    #[test]
    fn idle_is_what_was_owed_and_never_more_than_was_drawn() {
        check(&[(1000, 650_000)], &[80_000]);
        check(&[(1000, 30_000)], &[30_000]);
    }

    #[test]
    fn the_jitter_of_the_counter_is_not_booked_as_work() {
        check(&[(100, 0), (100, 16_000), (100, 0), (100, 16_000)], &[0, 16_000, 0, 16_000]);
    }

    #[test]
    fn at_most_one_second_is_carried() {
        check(&[(10_000, 0), (1000, 900_000)], &[0, 160_000]);
    }

    #[test]
    fn without_an_idle_power_everything_is_active() {
        let parts = IdleMeter::default().divide(Millijoules(7), Microseconds::SECOND, None);
        assert_eq!(parts, Parts { idle: Millijoules::ZERO, active: Millijoules(7) });
    }

    fn learn(seconds: u64, power: impl Fn(u64) -> u64) -> Option<Milliwatts> {
        let mut learner = IdleLearner::default();
        for second in 0..=seconds {
            learner.vacant(Microseconds(second * 1_000_000), Milliwatts(power(second)));
        }
        learner.learnt()
    }

    #[test]
    fn idle_power_is_the_median_over_a_minute() {
        assert_eq!(learn(59, |_| 70_000), None);
        assert_eq!(learn(60, |second| if second < 5 { 300_000 } else { 70_000 }), Some(Milliwatts(70_000)));
    }

    #[test]
    fn a_hole_between_readings_is_no_vacancy() {
        let mut learner = IdleLearner::default();
        let at = |second: u64| Microseconds(second * 1_000_000);
        (0..3).chain(100..140).for_each(|second| learner.vacant(at(second), Milliwatts(500_000)));
        assert_eq!(learner.learnt(), None);
        (140..170).for_each(|second| learner.vacant(at(second), Milliwatts(500_000)));
        assert_eq!(learner.learnt(), Some(Milliwatts(500_000)));
    }

    #[test]
    fn two_readings_a_minute_apart_are_not_enough() {
        let mut learner = IdleLearner::default();
        let powers = [500_000, 70_000, 70_000, 70_000, 70_000];
        for (minute, power) in (0..).zip(powers) {
            assert_eq!(learner.learnt(), None);
            learner.vacant(Microseconds(minute * 60_000_000), Milliwatts(power));
        }
        assert_eq!(learner.learnt(), Some(Milliwatts(70_000)));
    }

    #[test]
    fn a_process_starts_the_minute_anew_and_unlearns_nothing() {
        let mut learner = IdleLearner::knowing(Some(IDLE));
        learner.vacant(Microseconds::ZERO, Milliwatts(1));
        learner.busy();
        learner.vacant(Microseconds(60_000_000), Milliwatts(1));
        assert_eq!(learner.learnt(), Some(IDLE));
    }
}
