//! Measures the energy of an interval: the hardware counter's gain where there is a counter, else the trapezoid
//! of power. Decides what to believe. One [`EnergyMeter`] for each GPU; the caller brings readings in time order.

use crate::units::{Microseconds, Millijoules, Milliwatts};

const NANOJOULES_PER_MILLIJOULE: u128 = 1_000_000;

/// What the driver answered when it was asked for the energy counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Its value, since the driver was loaded.
    Value(Millijoules),
    /// This GPU has none.
    Unsupported,
    /// The question failed this time; the next answer covers the time in between.
    Failed,
}

/// One reading of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When, on the monotonic clock.
    pub at: Microseconds,
    /// The energy counter.
    pub counter: Counter,
    /// The power drawn, where known.
    pub power: Option<Milliwatts>,
}

/// Where an interval's energy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergySource {
    /// The hardware counter.
    Counter,
    /// Power × time.
    Power,
}

/// The energy of one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metered {
    /// How long the interval was.
    pub elapsed: Microseconds,
    /// The energy believed.
    pub energy: Millijoules,
    /// Where it came from.
    pub source: EnergySource,
    /// Whether the counter had gone backwards.
    pub reset: bool,
    /// What the counter claimed and was not believed.
    pub disbelieved: Millijoules,
}

/// Turns the readings of one GPU into the energy of intervals.
#[derive(Clone, Debug, Default)]
pub struct EnergyMeter {
    limit: Option<Milliwatts>,
    last: Option<Reading>,
    /// What power × time left below a whole millijoule, in nanojoules.
    rest: u128,
}

impl EnergyMeter {
    /// A meter for a GPU whose power limit can be set to at most `limit`; without one, every increase is believed.
    #[must_use]
    pub fn new(limit: Option<Milliwatts>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Continues after an earlier reading, so that the first reading to come closes the gap.
    pub fn resume(&mut self, last: Reading) {
        self.last = Some(last);
    }

    /// The counter began at zero in the meantime, even if it should by now show more than before: its next value is a
    /// reset's.
    pub fn restart(&mut self) {
        if let Some(Reading { counter: Counter::Value(value), .. }) = &mut self.last {
            *value = Millijoules(u64::MAX);
        }
    }

    /// The last reading that an interval can start from.
    #[must_use]
    pub fn last(&self) -> Option<Reading> {
        self.last
    }

    /// The interval that this reading ends; `None` where it ends none: the first reading, a reading that failed,
    /// or one that is no later than the last.
    pub fn read(&mut self, now: Reading) -> Option<Metered> {
        if now.counter == Counter::Failed || (now.counter == Counter::Unsupported && now.power.is_none()) {
            return None;
        }
        let Some(last) = self.last else {
            self.last = Some(now);
            return None;
        };
        if now.at <= last.at {
            return None;
        }
        self.last = Some(now);
        let elapsed = now.at - last.at;
        let (Counter::Value(before), Counter::Value(value)) = (last.counter, now.counter) else {
            let energy = self.power_times_time(last, now);
            return Some(Metered {
                elapsed,
                energy,
                source: EnergySource::Power,
                reset: false,
                disbelieved: Millijoules::ZERO,
            });
        };
        let reset = value < before;
        let gain = if reset { value } else { value - before };
        let metered = Metered {
            elapsed,
            energy: gain,
            source: EnergySource::Counter,
            reset,
            disbelieved: Millijoules::ZERO,
        };
        if self.is_possible(gain, elapsed) {
            return Some(metered);
        }
        let energy = self.power_times_time(last, now);
        Some(Metered { energy, source: EnergySource::Power, disbelieved: gain, ..metered })
    }

    /// Whether 1.5 × the maximum power limit for one second more than elapsed could have given this much.
    fn is_possible(&self, gain: Millijoules, elapsed: Microseconds) -> bool {
        let Some(limit) = self.limit else { return true };
        let time = u128::from(elapsed.0) + u128::from(Microseconds::SECOND.0);
        u128::from(gain.0) * NANOJOULES_PER_MILLIJOULE * 2 <= u128::from(limit.0) * time * 3
    }

    /// The trapezoid between two readings; zero where power is unknown at both ends: nothing is invented.
    fn power_times_time(&mut self, last: Reading, now: Reading) -> Millijoules {
        let (Some(from), Some(to)) = (last.power.or(now.power), now.power.or(last.power)) else {
            return Millijoules::ZERO;
        };
        // mW × µs are nanojoules; the mean of two powers halves them.
        let doubled =
            (u128::from(from.0) + u128::from(to.0)) * u128::from(now.at.0 - last.at.0) + self.rest * 2;
        let nanojoules = doubled / 2;
        self.rest = nanojoules % NANOJOULES_PER_MILLIJOULE;
        Millijoules(u64::try_from(nanojoules / NANOJOULES_PER_MILLIJOULE).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Milliwatts = Milliwatts(700_000);

    fn counted(seconds: u64, counter: u64, watts: u64) -> Reading {
        let (at, power) = (Microseconds(seconds * 1_000_000), Some(Milliwatts(watts * 1000)));
        Reading { at, counter: Counter::Value(Millijoules(counter)), power }
    }

    fn powered(seconds: u64, watts: u64) -> Reading {
        Reading { counter: Counter::Unsupported, ..counted(seconds, 0, watts) }
    }

    /// Energy, resets and disbelieved energy that a series of readings adds up to.
    #[track_caller]
    fn check(readings: &[Reading], want: (u64, u64, u64)) {
        let mut meter = EnergyMeter::new(Some(LIMIT));
        let intervals: Vec<Metered> = readings.iter().filter_map(|&reading| meter.read(reading)).collect();
        let energy: Millijoules = intervals.iter().map(|one| one.energy).sum();
        let disbelieved: Millijoules = intervals.iter().map(|one| one.disbelieved).sum();
        let resets = intervals.iter().filter(|one| one.reset).count() as u64;
        assert_eq!((energy.0, resets, disbelieved.0), want);
    }

    #[test]
    fn the_first_reading_is_no_interval() {
        check(&[counted(0, 5_000_000, 200)], (0, 0, 0));
    }

    #[test]
    fn the_counter_decides_over_sampled_power() {
        check(&[counted(0, 0, 70), counted(5, 1_950_000, 70)], (1_950_000, 0, 0));
    }

    #[test]
    fn a_counter_that_fell_counts_from_zero() {
        check(&[counted(0, 9_000_000, 300), counted(1, 120_000, 300)], (120_000, 1, 0));
    }

    #[test]
    fn a_counter_that_is_known_to_have_begun_anew_counts_from_zero_though_it_shows_more() {
        let mut meter = EnergyMeter::new(Some(LIMIT));
        meter.read(counted(0, 100, 300));
        meter.restart();
        let metered = meter.read(counted(1, 120_000, 300)).expect("an interval");
        assert_eq!((metered.energy, metered.reset), (Millijoules(120_000), true));
    }

    #[test]
    fn an_impossible_increase_gives_way_to_power_times_time() {
        check(&[counted(0, 0, 300), counted(1, 900_000_000, 300)], (300_000, 0, 900_000_000));
        check(&[counted(0, 0, 300), counted(1, 2_100_000, 300)], (2_100_000, 0, 0));
        check(&[counted(0, 0, 300), counted(1, 2_100_001, 300)], (300_000, 0, 2_100_001));
    }

    #[test]
    fn a_small_step_back_is_not_paid_twice() {
        check(&[counted(0, 900_000_000, 300), counted(1, 899_999_995, 300)], (300_000, 1, 899_999_995));
    }

    #[test]
    fn after_a_disbelieved_jump_the_counter_is_believed_again() {
        check(
            &[counted(0, 0, 300), counted(1, 900_000_000, 300), counted(2, 900_300_000, 300)],
            (600_000, 0, 900_000_000),
        );
    }

    #[test]
    fn without_a_counter_the_trapezoid_of_power_counts() {
        check(&[powered(0, 100), powered(5, 200)], (750_000, 0, 0));
        check(&(0..=10).step_by(2).map(|second| powered(second, 100)).collect::<Vec<_>>(), (1_000_000, 0, 0));
        check(&(0..=10).map(|second| powered(second, 20 * second)).collect::<Vec<_>>(), (1_000_000, 0, 0));
    }

    #[test]
    fn a_failed_reading_is_covered_by_the_next() {
        let failed = Reading { counter: Counter::Failed, ..counted(1, 0, 300) };
        check(&[counted(0, 0, 300), failed, counted(2, 600_000, 300)], (600_000, 0, 0));
    }

    #[test]
    fn fractions_of_a_millijoule_are_kept() {
        let mut meter = EnergyMeter::new(None);
        let reading = |index: u64| Reading { at: Microseconds(index * 300), ..powered(0, 1) };
        let total: Millijoules =
            (0..=10_000).filter_map(|index| meter.read(reading(index))).map(|one| one.energy).sum();
        assert_eq!(total, Millijoules(3000));
    }
}
