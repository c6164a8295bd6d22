//! Measures the energy of an interval: the hardware counter's gain where there is a counter, else the trapezoid
//! of power. Decides what to believe. One [`EnergyMeter`] for each GPU; the caller brings readings in time order.

use crate::units::{Microseconds, Millijoules, Milliwatts};

const NANOJOULES_PER_MILLIJOULE: u128 = 1_000_000;
/// A counter that moves does so many times in a second: one that has stood still for longer than this is stuck, ...
const STUCK_TIME: Microseconds = Microseconds(10_000_000);
/// ... if power says that at least this much was drawn.
const STUCK_ENERGY: Millijoules = Millijoules(50_000);
/// No GPU draws more, where its own limit is unknown.
const CEILING: Milliwatts = Milliwatts(2_000_000);

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
    /// The last reading is an earlier run's: of the gap since then power says nothing.
    resumed: bool,
    /// What power × time left below a whole millijoule, in nanojoules.
    rest: u128,
    /// The counter stands still.
    still: Option<Still>,
    /// Power × time that was booked for a counter which then caught up with less: what it gains next is paid already.
    ahead: Millijoules,
}

/// A counter that shows the same value again and again.
#[derive(Clone, Copy, Debug)]
struct Still {
    /// When it was first seen to.
    since: Microseconds,
    /// What power says was drawn since, in nanojoules.
    drawn: u128,
    /// How much of that has been booked.
    booked: Millijoules,
}

impl Still {
    /// What power says was drawn and has not been booked.
    fn unbooked(self) -> Millijoules {
        let drawn = u64::try_from(self.drawn / NANOJOULES_PER_MILLIJOULE).unwrap_or(u64::MAX);
        Millijoules(drawn).saturating_sub(self.booked)
    }
}

impl EnergyMeter {
    /// A meter for a GPU whose power limit can be set to at most `limit`; without one, to 2 kW.
    #[must_use]
    pub fn new(limit: Option<Milliwatts>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Continues after an earlier reading, so that the first reading to come closes the gap.
    pub fn resume(&mut self, last: Reading) {
        (self.last, self.resumed) = (Some(last), true);
    }

    /// The power limit can now be set to at most `limit`.
    pub fn set_limit(&mut self, limit: Milliwatts) {
        self.limit = Some(limit);
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
        if std::mem::take(&mut self.resumed) && !has_moved(last.counter, now.counter) {
            return Some(unknown_gap(elapsed, now.counter));
        }
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
        if value == before {
            return Some(self.stand_still(last, now));
        }
        let still = self.still.take();
        let reset = value < before;
        let gain = if reset { value } else { value - before };
        let metered = Metered {
            elapsed,
            energy: Millijoules::ZERO,
            source: EnergySource::Counter,
            reset,
            disbelieved: Millijoules::ZERO,
        };
        if self.is_possible(gain, now.at - still.map_or(last.at, |still| still.since)) {
            return Some(Metered { energy: self.unpaid(gain, still.filter(|_| !reset)), ..metered });
        }
        let energy = self.power_times_time(last, now) + still.map_or(Millijoules::ZERO, Still::unbooked);
        Some(Metered { energy, source: EnergySource::Power, disbelieved: gain, ..metered })
    }

    /// The counter shows what it showed before: nothing was drawn, or it is stuck and power × time counts.
    fn stand_still(&mut self, last: Reading, now: Reading) -> Metered {
        let began = Still { since: last.at, drawn: 0, booked: Millijoules::ZERO };
        let mut still = self.still.unwrap_or(began);
        still.drawn += nanojoules(last, now);
        let is_stuck = now.at - still.since > STUCK_TIME && still.unbooked() + still.booked >= STUCK_ENERGY;
        let energy = if is_stuck { still.unbooked() } else { Millijoules::ZERO };
        still.booked += energy;
        self.still = Some(still);
        let source = if is_stuck { EnergySource::Power } else { EnergySource::Counter };
        let elapsed = now.at - last.at;
        Metered { elapsed, energy, source, reset: false, disbelieved: Millijoules::ZERO }
    }

    /// What of a gain has not been booked by power × time while the counter stood still. Where it catches up, the gain
    /// is for all that time; where it only goes on from where it stood, it is for this interval alone.
    fn unpaid(&mut self, gain: Millijoules, still: Option<Still>) -> Millijoules {
        let booked = still.map_or(Millijoules::ZERO, |still| still.booked);
        if gain.0 >= booked.0 / 2 {
            self.ahead += booked;
        }
        let paid = gain.min(self.ahead);
        self.ahead = self.ahead - paid;
        gain - paid
    }

    /// Whether 1.5 × the maximum power limit for one second more than elapsed could have given this much.
    fn is_possible(&self, gain: Millijoules, elapsed: Microseconds) -> bool {
        let limit = self.limit.unwrap_or(CEILING);
        let time = u128::from(elapsed.0) + u128::from(Microseconds::SECOND.0);
        u128::from(gain.0) * NANOJOULES_PER_MILLIJOULE * 2 <= u128::from(limit.0) * time * 3
    }

    /// The trapezoid between two readings; zero where power is unknown at both ends: nothing is invented.
    fn power_times_time(&mut self, last: Reading, now: Reading) -> Millijoules {
        let nanojoules = nanojoules(last, now) + self.rest;
        self.rest = nanojoules % NANOJOULES_PER_MILLIJOULE;
        Millijoules(u64::try_from(nanojoules / NANOJOULES_PER_MILLIJOULE).unwrap_or(u64::MAX))
    }
}

/// Whether both are values of a counter, and differ.
fn has_moved(before: Counter, now: Counter) -> bool {
    matches!((before, now), (Counter::Value(before), Counter::Value(value)) if before != value)
}

/// A time in which nobody looked and no counter counted: what was drawn is not known, and nothing is invented.
fn unknown_gap(elapsed: Microseconds, counter: Counter) -> Metered {
    let is_counted = matches!(counter, Counter::Value(_));
    let source = if is_counted { EnergySource::Counter } else { EnergySource::Power };
    Metered { elapsed, energy: Millijoules::ZERO, source, reset: false, disbelieved: Millijoules::ZERO }
}

/// The trapezoid between two readings, in nanojoules.
fn nanojoules(last: Reading, now: Reading) -> u128 {
    let (Some(from), Some(to)) = (last.power.or(now.power), now.power.or(last.power)) else { return 0 };
    // mW × µs are nanojoules; the mean of two powers halves them.
    (u128::from(from.0) + u128::from(to.0)) * u128::from(now.at.0 - last.at.0) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    /// The energy of a gap of a day, and of a minute of seconds after it.
    #[track_caller]
    fn check_gap(before: u64, after: Counter, want: (u64, u64)) {
        let mut meter = EnergyMeter::new(Some(LIMIT));
        meter.resume(Reading { power: None, ..counted(0, before, 0) });
        let mut read = |second| meter.read(Reading { counter: after, ..counted(second, 0, 300) });
        let gap = read(86_400).expect("the gap").energy;
        let minute: Millijoules = (86_401..=86_460).filter_map(read).map(|one| one.energy).sum();
        assert_eq!((gap.0, minute.0), want);
    }

    #[test]
    fn the_energy_of_a_gap_is_the_counters_gain_or_nothing() {
        let value = |value| Counter::Value(Millijoules(value));
        check_gap(5_000, value(9_000), (4_000, 60 * 300_000));
        check_gap(5_000, value(5_000), (0, 60 * 300_000));
        check_gap(0, value(0), (0, 60 * 300_000));
        check_gap(5_000, Counter::Unsupported, (0, 60 * 300_000));
    }

    #[test]
    fn a_limit_that_becomes_known_later_counts_and_without_one_there_is_a_ceiling() {
        let mut meter = EnergyMeter::new(None);
        let mut read = |second, counter| meter.read(counted(second, counter, 300)).map(|one| one.energy.0);
        assert_eq!(
            (read(0, 0), read(1, 6_000_000), read(2, 12_000_001)),
            (None, Some(6_000_000), Some(300_000))
        );
        meter.set_limit(LIMIT);
        assert_eq!(meter.read(counted(3, 14_100_002, 300)).map(|one| one.energy.0), Some(300_000));
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

    /// A counter at 300 W that is read each second, and stands still from second 5 on until `moves` says (second, value).
    fn stuck_at_five(moves: &[(u64, u64)]) -> Vec<Reading> {
        let alive = (0..=5).map(|second| counted(second, second * 300_000, 300));
        let stuck = (6..moves[0].0).map(|second| counted(second, 1_500_000, 300));
        let moves = moves.iter().map(|&(second, value)| counted(second, value, 300));
        alive.chain(stuck).chain(moves).collect()
    }

    #[test]
    fn a_counter_that_stands_still_while_power_flows_gives_way_to_power() {
        check(&stuck_at_five(&[(15, 1_500_000)]), (1_500_000, 0, 0));
        check(&stuck_at_five(&[(16, 1_500_000)]), (1_500_000 + 11 * 300_000, 0, 0));
        check(&stuck_at_five(&[(60, 1_500_000)]), (60 * 300_000, 0, 0));
    }

    #[test]
    fn what_power_has_paid_is_not_counted_twice_when_the_counter_catches_up() {
        check(&stuck_at_five(&[(60, 60 * 300_000)]), (60 * 300_000, 0, 0));
        check(&stuck_at_five(&[(60, 60 * 300_000), (61, 61 * 300_000)]), (61 * 300_000, 0, 0));
        // Power says more than the counter in the end: the counter is right.
        check(&stuck_at_five(&[(60, 50 * 300_000), (61, 51 * 300_000)]), (59 * 300_000, 0, 0));
        check(&stuck_at_five(&[(60, 50 * 300_000), (80, 71 * 300_000)]), (71 * 300_000, 0, 0));
    }

    #[test]
    fn a_counter_that_goes_on_from_where_it_stood_has_lost_what_power_paid() {
        check(&stuck_at_five(&[(60, 6 * 300_000), (61, 7 * 300_000)]), (61 * 300_000, 0, 0));
    }

    #[test]
    fn a_counter_that_freezes_for_some_seconds_and_catches_up_is_believed() {
        let frozen = [counted(0, 0, 700), counted(5, 0, 700), counted(6, 4_200_000, 700)];
        check(&frozen, (4_200_000, 0, 0));
    }

    #[test]
    fn a_jump_that_is_not_believed_after_a_freeze_gives_way_to_power_for_all_of_it() {
        let jump = [counted(0, 0, 700), counted(5, 0, 700), counted(6, 900_000_000, 700)];
        check(&jump, (6 * 700_000, 0, 900_000_000));
    }

    #[test]
    fn a_counter_that_was_reset_while_it_stood_still_begins_anew() {
        check(&stuck_at_five(&[(60, 300_000), (61, 600_000)]), (61 * 300_000, 1, 0));
    }

    #[test]
    fn a_gpu_that_draws_next_to_nothing_is_not_stuck() {
        check(&(0..40).map(|second| counted(second, 7, 1)).collect::<Vec<_>>(), (0, 0, 0));
    }

    #[test]
    fn without_a_counter_the_trapezoid_of_power_counts() {
        check(&[powered(0, 100), powered(5, 200)], (750_000, 0, 0));
        check(&(0..=10).step_by(2).map(|second| powered(second, 100)).collect::<Vec<_>>(), (1_000_000, 0, 0));
        check(&(0..=10).map(|second| powered(second, 20 * second)).collect::<Vec<_>>(), (1_000_000, 0, 0));
    }

    proptest! {
        #[test]
        fn whatever_a_counter_stood_still_for_it_is_right_once_it_has_caught_up(
            steps in prop::collection::vec((1..30_u64, any::<bool>()), 1..30),
            percent in 90..=110_u64,
        ) {
            let (mut meter, mut booked, mut second, mut shown) = (EnergyMeter::new(Some(LIMIT)), 0, 0, 0);
            let mut read = |second: u64, shown: u64| {
                let reading = counted(second, shown, 3 * percent);
                meter.read(reading).map_or(0, |one| one.energy.0)
            };
            read(0, 0);
            for (seconds, moves) in steps {
                for _ in 0..seconds {
                    second += 1;
                    shown = if moves { second * 300_000 } else { shown };
                    booked += read(second, shown);
                }
            }
            // Long enough for what power has paid too much to be worked off.
            for _ in 0..1000 {
                second += 1;
                booked += read(second, second * 300_000);
            }
            prop_assert_eq!(booked, second * 300_000);
        }
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
