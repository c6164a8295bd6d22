//! Turns utilisation samples into SM busy time. One [`BusyMeter`] for each GPU.
//!
//! The driver answers with a percentage per process and the moment of its last use, which differs between processes. The
//! percentage is a mean over all that the answer is about: the time since the newest sample told before, until the
//! newest that this answer tells of anybody. So a process that no answer names was idle. Where one answer has many
//! samples of a process, or nobody knows since when it speaks, each sample is about the time since that process's
//! previous one, or since it was first seen.

use std::collections::BTreeMap;

use crate::facts::ProcessKey;
use crate::units::Microseconds;

/// How busy a process kept the GPU's streaming multiprocessors, as the driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utilization {
    /// Whose.
    pub process: ProcessKey,
    /// When the sample was taken, on the driver's clock (Unix time).
    pub at: Microseconds,
    /// The newest sample of any process that the driver had told before it told this one: what it says is of the time
    /// since. `None` where that is unknown.
    pub since: Option<Microseconds>,
    /// 0 to 100.
    pub sm_percent: u8,
}

/// A tick of one GPU, on the driver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When the interval began.
    pub from: Microseconds,
    /// When it ended.
    pub to: Microseconds,
}

/// Remembers until when each process's busy time has been counted.
#[derive(Clone, Debug, Default)]
pub struct BusyMeter {
    counted_until: BTreeMap<ProcessKey, Microseconds>,
}

impl BusyMeter {
    /// A process came into sight: what it does counts from `at`.
    pub fn enter(&mut self, process: ProcessKey, at: Microseconds) {
        self.counted_until.entry(process).or_insert(at);
    }

    /// A process went.
    pub fn leave(&mut self, process: ProcessKey) {
        self.counted_until.remove(&process);
    }

    /// Busy time by process in this tick. A sample counts once, and for at most two intervals; samples of unknown
    /// processes, over 100 % or not newer than the process's last are not accepted.
    pub fn busy(&mut self, tick: Tick, samples: &[Utilization]) -> BTreeMap<ProcessKey, Microseconds> {
        let mut busy = BTreeMap::new();
        let longest = Microseconds(tick.to.saturating_sub(tick.from).0 * 2);
        for until in self.counted_until.values_mut() {
            if *until > tick.to {
                *until = tick.from; // the driver's clock was set back
            }
        }
        let is_known = |sample: &&Utilization| self.counted_until.contains_key(&sample.process);
        let mut samples: Vec<&Utilization> =
            samples.iter().filter(|sample| sample.sm_percent <= 100).filter(is_known).collect();
        samples.sort_by_key(|sample| (sample.since, sample.process, sample.at));
        for answer in samples.chunk_by(|one, next| one.since == next.since) {
            let end = answer.iter().map(|sample| sample.at).max().unwrap_or_default();
            for own in answer.chunk_by(|one, next| one.process == next.process) {
                for sample in own {
                    let until = self.counted_until.get_mut(&sample.process);
                    let Some(until) = until.filter(|until| **until < sample.at) else { continue };
                    let span = match sample.since {
                        Some(since) if own.len() == 1 => end.saturating_sub(since),
                        since => sample.at.saturating_sub(since.unwrap_or_default().max(*until)),
                    };
                    *until = sample.at;
                    *busy.entry(sample.process).or_default() +=
                        Microseconds(span.min(longest).0 * u64::from(sample.sm_percent) / 100);
                }
            }
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn process(pid: u32) -> ProcessKey {
        ProcessKey { pid, start: 1 }
    }

    /// Busy ms of pid 1, seen since second 0, in ticks of one second with samples (at ms, percent).
    #[track_caller]
    fn check(ticks: &[&[(u64, u8)]], want: &[u64]) {
        let mut meter = BusyMeter::default();
        meter.enter(process(1), Microseconds::ZERO);
        let mut got = Vec::new();
        for (index, samples) in ticks.iter().enumerate() {
            let from = Microseconds(index as u64 * SECOND);
            let samples: Vec<Utilization> = samples
                .iter()
                .map(|&(at, sm_percent)| Utilization {
                    process: process(1),
                    at: Microseconds(at * 1000),
                    since: None,
                    sm_percent,
                })
                .collect();
            let busy = meter.busy(Tick { from, to: from + Microseconds::SECOND }, &samples);
            got.push(busy.values().map(|time| time.0 / 1000).sum::<u64>());
        }
        assert_eq!(got, want);
    }

    #[test]
    fn a_sample_speaks_for_the_time_since_the_last() {
        check(&[&[(900, 50)], &[(1900, 20)]], &[450, 200]);
        check(&[&[(200, 50), (900, 100)]], &[800]);
    }

    #[test]
    fn one_sample_counts_once() {
        check(&[&[(900, 50)], &[(900, 50)], &[(800, 50)]], &[450, 0, 0]);
    }

    #[test]
    fn a_sample_speaks_for_two_intervals_at_most() {
        check(&[&[], &[], &[], &[], &[(4900, 100)]], &[0, 0, 0, 0, 2000]);
    }

    /// Busy ms of pid 1 by samples (pid, since ms, at ms) of 50 % in one tick; pids 1 and 2 are seen since its begin.
    #[track_caller]
    fn check_answers(samples: &[(u32, u64, u64)], want: u64) {
        let mut meter = BusyMeter::default();
        for pid in [1, 2] {
            meter.enter(process(pid), Microseconds::ZERO);
        }
        let to_sample = |&(pid, since, at): &(u32, u64, u64)| Utilization {
            process: process(pid),
            at: Microseconds(at * 1000),
            since: Some(Microseconds(since * 1000)),
            sm_percent: 50,
        };
        let samples: Vec<Utilization> = samples.iter().map(to_sample).collect();
        let busy = meter.busy(Tick { from: Microseconds::ZERO, to: Microseconds::SECOND }, &samples);
        assert_eq!(busy[&process(1)], Microseconds(want * 1000));
    }

    #[test]
    fn who_is_silent_in_an_answer_was_idle_until_then() {
        check_answers(&[(1, 0, 200), (2, 200, 500), (1, 500, 700)], 200);
        check_answers(&[(2, 0, 500), (1, 500, 700)], 100);
    }

    #[test]
    fn a_mean_is_of_the_whole_answer_also_of_what_the_process_was_idle_in() {
        check_answers(&[(1, 0, 200), (2, 0, 500), (1, 500, 700)], 350);
        check_answers(&[(1, 0, 200), (2, 0, 800)], 400);
    }

    #[test]
    fn many_samples_in_one_answer_follow_one_another() {
        check_answers(&[(1, 0, 200), (1, 0, 400), (1, 0, 900), (2, 0, 1000)], 450);
        check_answers(&[(2, 0, 500), (1, 500, 600), (1, 500, 800)], 150);
    }

    #[test]
    fn what_the_driver_forgets_to_leave_out_is_not_counted_again() {
        check_answers(&[(1, 0, 700), (2, 0, 700), (1, 700, 700), (2, 700, 900)], 350);
    }

    #[test]
    fn garbage_is_not_accepted() {
        check(&[&[(900, 101), (950, 255)]], &[0]);
        let mut meter = BusyMeter::default();
        let stranger = Utilization { process: process(9), at: Microseconds(5), since: None, sm_percent: 50 };
        assert!(meter.busy(Tick { from: Microseconds(0), to: Microseconds(10) }, &[stranger]).is_empty());
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut meter = BusyMeter::default();
        meter.enter(process(1), Microseconds(3600 * SECOND));
        let sample =
            Utilization { process: process(1), at: Microseconds(SECOND), since: None, sm_percent: 100 };
        let busy = meter.busy(Tick { from: Microseconds(0), to: Microseconds(SECOND) }, &[sample]);
        assert_eq!(busy[&process(1)], Microseconds(SECOND));
    }
}
