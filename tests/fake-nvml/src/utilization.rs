//! The driver's utilisation samples: what it remembers of each process, and what it answers.

use std::collections::BTreeMap;

use crate::scenario::{Load, Scenario};

/// What the driver says of one process: means in %, and when they were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The process.
    pub pid: u32,
    /// The end of its newest period with any use, in scenario µs.
    pub at_us: u64,
    /// Streaming multiprocessors.
    pub sm: u32,
    /// Memory bandwidth.
    pub mem: u32,
    /// Encoder.
    pub enc: u32,
    /// Decoder.
    pub dec: u32,
}

/// Use in the order sm, mem, enc, dec.
type Uses = [u64; 4];

impl Load {
    /// Use over [from, to), in % × µs.
    fn uses(&self, from_us: u64, to_us: u64) -> Uses {
        let running = self.running_us(from_us, to_us);
        let constant = |percent: u32| u64::from(percent) * running;
        [self.busy(from_us, to_us), constant(self.mem), constant(self.enc), constant(self.dec)]
    }
}

impl Scenario {
    /// The samples a call at `now_us` finds that are newer than `after_us`, by pid; both in scenario µs.
    #[must_use]
    pub fn utilization(&self, gpu: usize, after_us: u64, now_us: u64) -> Vec<Sample> {
        let Some(card) = self.gpus.get(gpu) else { return vec![] };
        let period = card.utilization_period_s.us();
        let after = after_us.max(now_us.saturating_sub(card.utilization_buffer_s.us()));
        let ends: Vec<u64> = (after / period + 1..=now_us / period).map(|index| index * period).collect();
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return vec![] };

        let mut processes: BTreeMap<u32, Vec<&Load>> = BTreeMap::new();
        for load in self.loads_on(gpu).filter(|load| load.running_us(first - period, *last) > 0) {
            processes.entry(load.pid).or_default().push(load);
        }
        processes.into_iter().filter_map(|(pid, loads)| sample(pid, &loads, (&ends, period))).collect()
    }

    /// Use of a whole GPU in its last full period: SM and memory bandwidth, in %.
    pub(crate) fn rates(&self, gpu: usize, now_us: u64) -> (u32, u32) {
        let period = self.gpus.get(gpu).map_or(1, |card| card.utilization_period_s.us());
        let end = now_us - now_us % period;
        let uses =
            self.loads_on(gpu).map(|load| load.uses(end.saturating_sub(period), end)).fold([0; 4], add);
        let [sm, mem, ..] = uses.map(|sum| percent(rounded(sum, period)));
        (sm, mem)
    }
}

/// One process's mean over all the periods, or nothing where each of them rounds to zero.
fn sample(pid: u32, loads: &[&Load], (ends, period): (&[u64], u64)) -> Option<Sample> {
    let mut total = [0; 4];
    let mut at_us = None;
    for &end in ends {
        let uses = loads.iter().map(|load| load.uses(end - period, end)).fold([0; 4], add);
        let kept = uses.map(|sum| rounded(sum, period));
        if kept != [0; 4] {
            at_us = Some(end);
        }
        total = add(total, kept);
    }
    let [sm, mem, enc, dec] = total.map(|sum| percent(rounded(sum, ends.len() as u64)));
    Some(Sample { pid, at_us: at_us?, sm, mem, enc, dec })
}

fn add(one: Uses, other: Uses) -> Uses {
    std::array::from_fn(|index| one[index] + other[index])
}

fn rounded(sum: u64, count: u64) -> u64 {
    (sum + count / 2) / count.max(1)
}

fn percent(value: u64) -> u32 {
    u32::try_from(value.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Gpu, Use, Wave};

    fn scenario(loads: Vec<Load>) -> Scenario {
        let gpu =
            Gpu { utilization_period_s: 0.2.into(), utilization_buffer_s: 2.0.into(), ..Gpu::numbered(0) };
        Scenario { loads, ..Scenario::starting_now(vec![gpu]) }
    }

    /// `want`: pid, end of the newest period in ms, sm.
    #[track_caller]
    fn check(loads: Vec<Load>, (after_ms, now_ms): (u64, u64), want: &[(u32, u64, u32)]) {
        let got = scenario(loads).utilization(0, after_ms * 1000, now_ms * 1000);
        let got: Vec<_> = got.iter().map(|sample| (sample.pid, sample.at_us / 1000, sample.sm)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_constant_load_is_what_it_is() {
        check(vec![Load::constant(7, 0, 37)], (0, 1100), &[(7, 1000, 37)]);
    }

    #[test]
    fn a_period_counts_once() {
        check(vec![Load::constant(7, 0, 37)], (1000, 1199), &[]);
        check(vec![Load::constant(7, 0, 37)], (1000, 1200), &[(7, 1200, 37)]);
    }

    #[test]
    fn a_process_that_ended_lowers_the_mean_and_keeps_its_time() {
        check(vec![Load::constant(7, 0, 80).between(0.0, 0.5)], (0, 1000), &[(7, 600, 40)]);
    }

    #[test]
    fn a_process_without_use_has_no_sample() {
        check(vec![Load::constant(7, 0, 0), Load::constant(8, 0, 1)], (0, 1000), &[(8, 1000, 1)]);
    }

    #[test]
    fn the_buffer_forgets() {
        check(vec![Load::constant(7, 0, 80).between(0.0, 1.0)], (0, 3100), &[]);
    }

    #[test]
    fn a_wave_is_averaged() {
        let wave = Wave { percent: 90, period_s: 1.0.into(), duty: 0.5, phase_s: 0.0.into() };
        check(vec![Load { sm: Use::Wave(wave), ..Load::constant(7, 0, 0) }], (0, 2000), &[(7, 1600, 45)]);
    }

    #[test]
    fn two_contexts_of_a_process_are_one_sample() {
        check(vec![Load::constant(7, 0, 20), Load::constant(7, 0, 30)], (0, 1000), &[(7, 1000, 50)]);
    }

    #[test]
    fn rates_are_of_the_last_full_period() {
        let ended = Load { mem: 10, ..Load::constant(7, 0, 60).between(0.0, 1.1) };
        assert_eq!(scenario(vec![ended]).rates(0, 1_399_000), (30, 5));
    }
}
