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
mod tests;
