//! Whether a scenario makes sense. Every way into one ([`Scenario::load`], [`Scenario::save`], parsing) calls this.

use std::collections::BTreeSet;
use std::fmt;

use crate::fault::Effect;
use crate::scenario::{Gpu, Load, MigInstance, Scenario, Seconds, Use};

/// A year: more would overflow nanojoules, and is a mistake.
const LONGEST: Seconds = Seconds::from_us(366 * 86_400 * 1_000_000);

/// Why a scenario cannot be used: where, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

fn require(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid(complaint())) }
}

impl Scenario {
    /// Whether it can be simulated exactly.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), Invalid> {
        for (index, gpu) in self.gpus.iter().enumerate() {
            check_gpu(index, gpu)?;
            self.check_sum(index)?;
        }
        self.loads.iter().try_for_each(|load| self.check_load(load))?;
        for crowd in &self.crowds {
            require(crowd.gpu < self.gpus.len(), || format!("crowd: there is no gpu {}", crowd.gpu))?;
        }
        for fault in &self.faults {
            let at_once = matches!(fault.effect, Effect::CounterReset | Effect::CounterJump { .. });
            require(!at_once || fault.until_s.is_none(), || {
                "fault: resets and jumps have no until_s".into()
            })?;
            require(fault.gpu.is_none_or(|gpu| gpu < self.gpus.len()), || "fault: no such gpu".into())?;
            let of_driver = matches!(fault.effect, Effect::Unloaded | Effect::Upgraded);
            require(!of_driver || fault.gpu.is_none(), || "fault: the driver is that of all gpus".into())?;
        }
        Ok(())
    }

    fn check_load(&self, load: &Load) -> Result<(), Invalid> {
        let pid = load.pid;
        let named: BTreeSet<usize> = load.gpus.iter().copied().collect();
        require(named.len() == load.gpus.len(), || format!("load {pid}: a gpu twice"))?;
        for &gpu in &load.gpus {
            let card =
                self.gpus.get(gpu).ok_or_else(|| Invalid(format!("load {pid}: there is no gpu {gpu}")))?;
            let exists = load.mig.is_none_or(|mig| card.mig.get(mig).is_some_and(|own| outlives(own, load)));
            require(exists, || format!("load {pid}: gpu {gpu} has no such MIG instance in its time"))?;
        }
        let within = load.from_s < LONGEST && load.until_s.is_none_or(|until| until <= LONGEST);
        require(within, || format!("load {pid}: times beyond a year"))?;
        if let Use::Wave(wave) = &load.sm {
            let sound = wave.period_s.us() > 0 && wave.period_s < LONGEST && (0.0..=1.0).contains(&wave.duty);
            require(sound, || format!("load {pid}: the wave needs a period, and a duty from 0 to 1"))?;
        }
        let others = load.mem.max(load.enc).max(load.dec);
        require(others <= 100 && load.sm.peak() <= 100, || format!("load {pid}: more than 100 %"))
    }

    /// Whether the loads on a GPU stay within 100 %. They can exceed it first when one of them rises.
    fn check_sum(&self, gpu: usize) -> Result<(), Invalid> {
        for load in self.loads_on(gpu) {
            let start = load.from_s.us();
            let together: Vec<&Load> = self.loads_on(gpu).filter(|other| other.runs_at(start)).collect();
            if together.iter().map(|load| load.sm.peak()).sum::<u32>() <= 100 {
                continue;
            }
            let moments = rises_after(start, &together).ok_or_else(|| {
                Invalid(format!("gpu {gpu}: peaks above 100 % need square waves of one period"))
            })?;
            for moment in moments {
                let sum: u64 = together.iter().map(|load| load.busy(moment, moment + 1)).sum();
                require(sum <= 100, || format!("gpu {gpu}: {sum} % of 100 % at {moment} µs"))?;
            }
        }
        Ok(())
    }
}

fn check_gpu(index: usize, gpu: &Gpu) -> Result<(), Invalid> {
    require(gpu.idle_watts <= gpu.max_watts, || format!("gpu {index}: idle_watts above max_watts"))?;
    let periods = [gpu.counter_refresh_s, gpu.utilization_period_s];
    require(periods.iter().all(|period| period.us() > 0), || format!("gpu {index}: a period of zero"))
}

/// Whether an instance is there as long as a load.
fn outlives(instance: &MigInstance, load: &Load) -> bool {
    let end = |until: Option<Seconds>| until.map_or(u64::MAX, Seconds::us);
    instance.from_s <= load.from_s && end(load.until_s) <= end(instance.until_s)
}

/// Start, and the first rise of each wave from then on; `None` where the waves have more than one period.
fn rises_after(start: u64, loads: &[&Load]) -> Option<Vec<u64>> {
    let mut moments = vec![start];
    let mut periods = BTreeSet::new();
    for load in loads {
        if let Use::Wave(wave) = &load.sm {
            let period = wave.period_s.us().max(1);
            let into = (start - load.from_s.us() + wave.phase_s.us()) % period;
            moments.push(start + period - into);
            periods.insert(period);
        }
    }
    (periods.len() <= 1).then_some(moments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Wave;

    #[track_caller]
    fn check(loads: Vec<Load>, want: Result<(), &str>) {
        let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
        scenario.loads = loads;
        match (scenario.check(), want) {
            (Ok(()), Ok(())) => {}
            (Err(Invalid(got)), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    fn wave(pid: u32, phase_s: f64, duty: f64) -> Load {
        let wave = Wave { percent: 80, period_s: 2.0.into(), duty, phase_s: phase_s.into() };
        Load { sm: Use::Wave(wave), ..Load::constant(pid, 0, 0) }
    }

    #[test]
    fn loads_share_at_most_one_gpu() {
        check(vec![Load::constant(1, 0, 60), Load::constant(2, 0, 40)], Ok(()));
        check(vec![Load::constant(1, 0, 60), Load::constant(2, 0, 41)], Err("100 %"));
        check(
            vec![Load::constant(1, 0, 60).between(0.0, 5.0), Load::constant(2, 0, 60).between(5.0, 9.0)],
            Ok(()),
        );
    }

    #[test]
    fn waves_in_antiphase_share_a_gpu() {
        check(vec![wave(1, 0.0, 0.5), wave(2, 1.0, 0.5)], Ok(()));
        check(vec![wave(1, 0.0, 0.5), wave(2, 0.9, 0.5)], Err("160 % of 100 %"));
        check(vec![wave(1, 0.0, 0.5), wave(2, 1.0, 0.6)], Err("160 % of 100 %"));
    }

    #[test]
    fn what_a_load_names_exists() {
        check(vec![Load::constant(1, 1, 60)], Err("no gpu 1"));
        check(vec![Load { mig: Some(0), ..Load::constant(1, 0, 60) }], Err("no such MIG"));
        check(vec![Load::constant(1, 0, 101)], Err("100 %"));
    }

    #[test]
    fn the_example_is_sound_and_survives_a_round_trip() {
        let example: Scenario = include_str!("../example.yaml").parse().expect("sound");
        let again = serde_yaml::to_string(&example).expect("text").parse::<Scenario>();
        assert_eq!(again.as_ref(), Ok(&example));
        assert_eq!(example.gpus[1].mig.first().map(|mig| mig.slices), Some(1));
        assert_eq!(example.faults[4].effect, Effect::Error { calls: vec![], code: crate::Code(26) });
    }

    #[test]
    fn an_unknown_key_is_refused() {
        for (key, more) in [
            ("duty: 0.25", "dutty: 1"),
            ("by: 20", "buy: 20"),
            ("slices: 1", "slice: 1"),
            ("count: 10000", "n: 1"),
        ] {
            let example = include_str!("../example.yaml");
            let text = example.replace(key, &format!("{key}, {more}"));
            assert!(text != example && text.parse::<Scenario>().is_err(), "{more}");
        }
    }
}
