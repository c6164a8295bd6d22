//! What really happened: power and energy as closed forms of scenario and time. The driver answers from it, tests
//! compare with it. All in whole nanojoules: watts are whole, use is in whole percent, time in whole µs.

use std::collections::BTreeMap;

use crate::fault::{Effect, Fault};
use crate::scenario::{Gpu, Load, Scenario, Seconds, Use, Wave};

const NJ_PER_MJ: u64 = 1_000_000;

/// True energies of one GPU over a span, in nJ. `device_nj` is the sum of the others, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// All of it.
    pub device_nj: u64,
    /// What the GPU takes without any load.
    pub idle_nj: u64,
    /// What each pid's work took on top of that.
    pub active_nj: BTreeMap<u32, u64>,
}

impl Wave {
    fn high_us(&self) -> u64 {
        Seconds::from(f64::from(self.period_s) * self.duty).us()
    }

    /// How long it was high in the first `us` since its phase was zero.
    fn high_in(&self, us: u64) -> u64 {
        let (period, high) = (self.period_s.us(), self.high_us());
        us / period * high + (us % period).min(high)
    }
}

impl Use {
    /// The most it ever is, in %.
    pub(crate) fn peak(&self) -> u32 {
        match self {
            Self::Constant(percent) => *percent,
            Self::Wave(wave) => wave.percent,
        }
    }

    /// The integral over [from, to) since the load's start, in % × µs.
    fn integral(&self, from_us: u64, to_us: u64) -> u64 {
        match self {
            Self::Constant(percent) => u64::from(*percent) * (to_us - from_us),
            Self::Wave(wave) => {
                let phase = wave.phase_s.us();
                u64::from(wave.percent) * (wave.high_in(to_us + phase) - wave.high_in(from_us + phase))
            }
        }
    }
}

impl Load {
    /// How much of [from, to) it runs.
    fn overlap(&self, from_us: u64, to_us: u64) -> Option<(u64, u64)> {
        let until = self.until_s.map_or(u64::MAX, Seconds::us);
        let (from, to) = (from_us.max(self.from_s.us()), to_us.min(until));
        (from < to).then_some((from, to))
    }

    /// Whether it runs at a moment.
    pub(crate) fn runs_at(&self, t_us: u64) -> bool {
        self.overlap(t_us, t_us + 1).is_some()
    }

    /// How long it runs in [from, to), in µs.
    pub(crate) fn running_us(&self, from_us: u64, to_us: u64) -> u64 {
        self.overlap(from_us, to_us).map_or(0, |(from, to)| to - from)
    }

    /// SM use over [from, to), in % × µs.
    pub(crate) fn busy(&self, from_us: u64, to_us: u64) -> u64 {
        let start = self.from_s.us();
        self.overlap(from_us, to_us).map_or(0, |(from, to)| self.sm.integral(from - start, to - start))
    }
}

impl Gpu {
    /// Energy of SM use on top of idle. One watt for one µs is 1000 nJ, so one percent of it is 10.
    fn active_nj(&self, busy: u64) -> u64 {
        u64::from(self.max_watts - self.idle_watts) * 10 * busy
    }

    fn idle_nj(&self, us: u64) -> u64 {
        u64::from(self.idle_watts) * 1000 * us
    }
}

impl Scenario {
    /// The loads on a GPU.
    pub(crate) fn loads_on(&self, gpu: usize) -> impl Iterator<Item = &Load> {
        self.loads.iter().filter(move |load| load.gpus.contains(&gpu))
    }

    /// True energies of a GPU over [from, to), in scenario µs; nothing for a GPU the scenario does not have.
    #[must_use]
    pub fn truth(&self, gpu: usize, from_us: u64, to_us: u64) -> Truth {
        let (Some(card), true) = (self.gpus.get(gpu), from_us < to_us) else { return Truth::default() };
        let mut truth = Truth { idle_nj: card.idle_nj(to_us - from_us), ..Truth::default() };
        for load in self.loads_on(gpu) {
            if load.running_us(from_us, to_us) > 0 {
                *truth.active_nj.entry(load.pid).or_default() += card.active_nj(load.busy(from_us, to_us));
            }
        }
        truth.device_nj = truth.idle_nj + truth.active_nj.values().sum::<u64>();
        truth
    }

    /// Mean power over the last `average_us`, in mW; instantaneous for zero.
    pub(crate) fn power_mw(&self, gpu: usize, t_us: u64, average_us: u64) -> u64 {
        let from = t_us.saturating_sub(average_us);
        if from == t_us {
            return self.truth(gpu, t_us, t_us + 1).device_nj;
        }
        self.truth(gpu, from, t_us).device_nj / (t_us - from)
    }

    /// What the energy counter shows at a scenario time, in mJ; `None` where the GPU has none.
    #[must_use]
    pub fn counter(&self, gpu: usize, t_us: u64) -> Option<u64> {
        let card = self.gpus.get(gpu).filter(|card| card.counter)?;
        let shown_us = self.refreshed_us(gpu, t_us);
        let past = || self.faults.iter().filter(|fault| fault.concerns(gpu) && fault.from_s.us() <= t_us);
        let reset = |fault: &Fault| match fault.effect {
            Effect::CounterReset => Some(fault.from_s.us()),
            Effect::Unloaded => fault.until_s.map(Seconds::us).filter(|until| *until <= t_us),
            _ => None,
        };
        let reset = past().filter_map(reset).max();
        let jump = |fault: &Fault| match fault.effect {
            Effect::CounterJump { mj } if fault.from_s.us() >= reset.unwrap_or(0) => mj,
            _ => 0,
        };
        let base = if reset.is_some() { 0 } else { card.counter_offset_mj };
        let gained = self.truth(gpu, reset.unwrap_or(0), shown_us).device_nj / NJ_PER_MJ;
        Some((base + gained).saturating_add_signed(past().map(jump).sum()))
    }

    /// The moment whose energy the counter shows: its last refresh, or when it froze.
    fn refreshed_us(&self, gpu: usize, t_us: u64) -> u64 {
        let frozen = |fault: &&Fault| fault.effect == Effect::CounterFrozen && fault.covers(t_us);
        let frozen = self.faults.iter().filter(|fault| fault.concerns(gpu)).filter(frozen);
        let seen_us = frozen.map(|fault| fault.from_s.us()).fold(t_us, u64::min);
        let refresh = self.gpus.get(gpu).map_or(1, |card| card.counter_refresh_s.us());
        seen_us - seen_us % refresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(loads: Vec<Load>, faults: Vec<Fault>) -> Scenario {
        let gpu = Gpu { idle_watts: 100, max_watts: 400, counter_offset_mj: 7_000, ..Gpu::numbered(0) };
        Scenario { loads, faults, ..Scenario::starting_now(vec![gpu]) }
    }

    fn wave(pid: u32, period_us: u64, duty: f64, phase_us: u64) -> Load {
        let (period_s, phase_s) = (Seconds::from_us(period_us), Seconds::from_us(phase_us));
        Load { sm: Use::Wave(Wave { percent: 50, period_s, duty, phase_s }), ..Load::constant(pid, 0, 0) }
    }

    /// The integral of a load, microsecond by microsecond from the definition of the wave.
    fn brute_force(load: &Load, from_us: u64, to_us: u64) -> u64 {
        let Use::Wave(wave) = &load.sm else { return 0 };
        let runs = |t: u64| t >= load.from_s.us() && load.until_s.is_none_or(|until| t < until.us());
        let high = |t: u64| (t - load.from_s.us() + wave.phase_s.us()) % wave.period_s.us() < wave.high_us();
        let count = (from_us..to_us).filter(|t| runs(*t) && high(*t)).count();
        u64::from(wave.percent) * count as u64
    }

    #[test]
    fn a_wave_integrates_as_if_counted_out() {
        let shapes = [(100, 0.5, 0), (97, 0.33, 41), (10, 0.0, 3), (10, 1.0, 3), (250, 0.9, 249)];
        for (period, duty, phase) in shapes {
            let load = Load {
                from_s: Seconds::from_us(130),
                until_s: Some(Seconds::from_us(1234)),
                ..wave(1, period, duty, phase)
            };
            for (from, to) in [(0, 2000), (131, 132), (300, 811), (129, 1300), (5, 100), (1300, 1400)] {
                assert_eq!(load.busy(from, to), brute_force(&load, from, to), "{load:?} {from}..{to}");
            }
        }
    }

    #[test]
    fn the_parts_are_the_whole() {
        let loads = vec![Load::constant(1, 0, 30), wave(2, 1_000_000, 0.25, 0), Load::constant(2, 0, 10)];
        let truth = scenario(loads, vec![]).truth(0, 0, 2_000_000);
        assert_eq!(truth.idle_nj, 200_000_000_000);
        let want = BTreeMap::from([(1, 180_000_000_000), (2, 75_000_000_000 + 60_000_000_000)]);
        assert_eq!(truth.active_nj, want);
        assert_eq!(truth.device_nj, 515_000_000_000);
    }

    #[test]
    fn truth_adds_up_over_time() {
        let scenario = scenario(vec![wave(2, 1_000_003, 0.37, 11)], vec![]);
        let part = |from, to| scenario.truth(0, from, to).device_nj;
        assert_eq!(part(0, 3_333_333) + part(3_333_333, 9_999_999), part(0, 9_999_999));
    }

    #[test]
    fn power_is_momentary_or_a_mean() {
        let scenario = scenario(vec![wave(2, 1_000_000, 0.5, 0)], vec![]);
        assert_eq!(scenario.power_mw(0, 400_000, 0), 250_000);
        assert_eq!(scenario.power_mw(0, 600_000, 0), 100_000);
        assert_eq!(scenario.power_mw(0, 5_600_000, 1_000_000), 175_000);
    }

    /// An idle GPU of 100 W whose counter was at 7 J: what the counter shows at these times in ms.
    #[track_caller]
    fn check_counter(faults: Vec<Fault>, want: &[(u64, u64)]) {
        let scenario = scenario(vec![], faults);
        for (t_ms, mj) in want {
            assert_eq!(scenario.counter(0, t_ms * 1000), Some(*mj), "at {t_ms} ms");
        }
    }

    #[test]
    fn the_counter_moves_with_its_refresh() {
        check_counter(vec![], &[(0, 7_000), (49, 7_000), (50, 12_000), (99, 12_000), (1000, 107_000)]);
    }

    #[test]
    fn a_reset_counts_from_zero() {
        let reset = Fault::new(0, 1.01, Effect::CounterReset);
        check_counter(vec![reset], &[(1009, 107_000), (1010, 0), (1049, 0), (1050, 4_000), (2010, 99_000)]);
    }

    #[test]
    fn a_jump_lasts_until_a_reset() {
        let jump = Fault::new(0, 1.0, Effect::CounterJump { mj: 500 });
        let reset = Fault::new(0, 2.0, Effect::CounterReset);
        check_counter(vec![jump, reset], &[(999, 102_000), (1000, 107_500), (1999, 202_500), (2000, 0)]);
        let fall = Fault::new(0, 1.0, Effect::CounterJump { mj: -1_000_000 });
        check_counter(vec![fall], &[(999, 102_000), (1000, 0)]);
    }

    #[test]
    fn a_frozen_counter_catches_up() {
        let frozen = Fault::new(0, 1.0, Effect::CounterFrozen).until(2.0);
        check_counter(vec![frozen], &[(999, 102_000), (1000, 107_000), (1999, 107_000), (2000, 207_000)]);
    }

    #[test]
    fn a_gpu_without_a_counter_shows_none() {
        let mut scenario = scenario(vec![], vec![]);
        scenario.gpus[0].counter = false;
        assert_eq!(scenario.counter(0, 0), None);
        assert_eq!(scenario.counter(1, 0), None);
    }
}
