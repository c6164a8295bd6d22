//! The demo source: simulated GPUs and processes for machines without a GPU. Everything behind it is the real thing.
//!
//! All of it is a function of the time since the start: [`cast`] says who does what when, [`DemoSampler`] reads it
//! as a driver would, [`DemoProcesses`] as /proc would.

mod cast;

use std::collections::BTreeSet;

use wattribute::facts::{Facts, ProcessKey};
use wattribute::meter::Counter;
use wattribute::procfs::{ReadError, Reading};
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use crate::clock;
use crate::identify::{Ends, Processes, Wanted};
use crate::sample::{self, Card, Event, Gauges, Running, Sample, Sampler, SmSample, Ticks};
use cast::{Actor, Model};

/// The rules of the demo, unless others are given.
pub const RULES: &str = include_str!("../../../rules/attribution/demo.yaml");

/// The step in which power is summed to energy.
const STEP: Microseconds = Microseconds(10_000);

/// The simulation, which began when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    began: Microseconds,
    began_boot: Microseconds,
}

impl Demo {
    /// Begins now.
    pub fn begin() -> Self {
        Self { began: clock::monotonic(), began_boot: clock::boot() }
    }

    /// How many GPUs there are.
    pub fn count(self) -> u32 {
        u32::try_from(cast::GPUS.len()).unwrap_or_default()
    }

    /// The body of the sampling thread of one GPU.
    pub fn drive<E: From<Event>>(self, index: u32, ticks: &Ticks<E>) {
        let Some(model) = cast::GPUS.get(index as usize) else { return };
        let counted = clock::monotonic();
        let mut sampler = DemoSampler { demo: self, index, model, energy: 0, counted, looked: counted };
        // The simulation does not go away.
        let _ = ticks.drive(card(index, model), &mut sampler);
    }

    /// The process that has this pid now.
    pub fn key(self, pid: u32) -> Option<ProcessKey> {
        let now = self.seconds(clock::monotonic());
        let appearance =
            cast::CAST.iter().filter_map(|actor| actor.appearance(now)).find(|one| one.pid == pid)?;
        let started = self.began_boot + Microseconds(to_micros(appearance.since));
        Some(ProcessKey { pid, start: started.0 * rustix::param::clock_ticks_per_second() / 1_000_000 })
    }

    fn seconds(self, at: Microseconds) -> f64 {
        at.saturating_sub(self.began).as_seconds()
    }

    /// Who is on a GPU at a moment, with the pid of this appearance.
    fn on_gpu(self, index: u32, at: Microseconds) -> impl Iterator<Item = (u32, &'static Actor)> {
        let now = self.seconds(at);
        let here = cast::CAST.iter().filter(move |actor| actor.gpus.contains(&index));
        here.filter_map(move |actor| Some((actor.appearance(now)?.pid, actor)))
    }

    /// The power of a GPU at a moment, in milliwatts: idle power, and more with the multiprocessors' use.
    fn power(self, index: u32, model: &Model, at: Microseconds) -> u64 {
        let now = self.seconds(at);
        let used: f64 = self.on_gpu(index, at).map(|(_, actor)| actor.percent(now)).sum();
        let watts = model.idle_watts + (model.limit_watts - model.idle_watts) * used.min(100.0) / 100.0;
        to_micros(watts) / 1000
    }
}

fn card(index: u32, model: &Model) -> Card {
    Card {
        uuid: format!("GPU-demo0000-0000-0000-0000-{index:012}").into(),
        index,
        model: model.name.into(),
        pci_bus_id: format!("00000000:{:02X}:00.0", 0x18 + index * 8),
        driver_version: "simulated".into(),
        max_power: Some(Milliwatts(to_micros(model.limit_watts) / 1000)),
    }
}

/// Reads the simulation as a driver would.
struct DemoSampler {
    demo: Demo,
    index: u32,
    model: &'static Model,
    /// In nanojoules.
    energy: u128,
    /// Until when energy has been summed.
    counted: Microseconds,
    /// When the last sample was taken.
    looked: Microseconds,
}

impl DemoSampler {
    fn count_energy(&mut self, now: Microseconds) -> Millijoules {
        while self.counted < now {
            let step = STEP.min(now - self.counted);
            self.energy +=
                u128::from(self.demo.power(self.index, self.model, self.counted)) * u128::from(step.0);
            self.counted += step;
        }
        Millijoules(u64::try_from(self.energy / 1_000_000).unwrap_or(u64::MAX))
    }

    /// The mean use of an actor since the last sample.
    fn mean_percent(&self, actor: &Actor, now: Microseconds) -> u32 {
        let (from, to) = (self.demo.seconds(self.looked), self.demo.seconds(now));
        let moments = (0..20).map(|step| from + (to - from) * f64::from(step) / 20.0);
        whole(moments.map(|moment| actor.percent(moment)).sum::<f64>() / 20.0)
    }
}

impl Sampler for DemoSampler {
    fn sample(&mut self) -> Sample {
        let (now, unix) = (clock::monotonic(), clock::unix());
        let counter = Counter::Value(self.count_energy(now));
        let here: Vec<(u32, &Actor)> = self.demo.on_gpu(self.index, now).collect();
        let memory = |actor: &Actor| actor.memory_gib << 30;
        let running = here
            .iter()
            .map(|(pid, actor)| Running { pid: *pid, instance: None, memory: Some(memory(actor)) })
            .collect();
        let busy = here.iter().map(|(pid, actor)| (*pid, self.mean_percent(actor, now)));
        let busy: Vec<SmSample> = busy
            .filter(|(_, percent)| *percent > 0)
            .map(|(pid, percent)| SmSample { pid, at: unix, since: None, percent })
            .collect();
        let used: u32 = busy.iter().map(|sample| sample.percent).sum();
        let gauges = Gauges {
            power: None,
            utilization: Some(f64::from(used.min(100)) / 100.0),
            memory_used: Some(here.iter().map(|(_, actor)| memory(actor)).sum::<u64>() + (1 << 29)),
            memory_total: Some(80 << 30),
            power_limit: Some(Milliwatts(to_micros(self.model.limit_watts) / 1000)),
            temperature_celsius: Some(31 + used.min(100) * 2 / 5),
            sm_clock_megahertz: Some(if used > 0 { self.model.boost_megahertz } else { 345 }),
            memory_clock_megahertz: Some(self.model.memory_megahertz),
        };
        self.looked = now;
        let power = Some(Milliwatts(self.demo.power(self.index, self.model, now)));
        let processes =
            sample::Processes { running: Some(running), utilization: Some(busy), strangers_only: false };
        Sample {
            at: now,
            unix,
            counter,
            power,
            processes: Some(processes),
            mig: None,
            gauges,
            calls: Vec::new(),
        }
    }
}

/// Says of the simulated processes what /proc would.
pub struct DemoProcesses(pub Demo);

impl Processes for DemoProcesses {
    fn facts(&mut self, process: ProcessKey, _wanted: &Wanted) -> Result<Reading, ReadError> {
        if self.0.key(process.pid) != Some(process) {
            return Err(ReadError::Vanished);
        }
        let now = self.0.seconds(clock::monotonic());
        let plays = |actor: &&Actor| actor.appearance(now).is_some_and(|one| one.pid == process.pid);
        let actor = cast::CAST.iter().find(plays).ok_or(ReadError::Vanished)?;
        let mut facts = Facts::default();
        wattribute::cgroup::derive(actor.cgroup, &mut facts);
        actor.facts().for_each(|(field, value)| facts.set(field, value));
        Ok(Reading { facts, unread: BTreeSet::new(), ending: false })
    }

    fn ends(&self) -> Ends {
        Ends::ByReading
    }

    fn forget(&mut self) {}
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "simulated values are small and positive"
)]
fn to_micros(value: f64) -> u64 {
    (value * 1e6) as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "percentages")]
fn whole(percent: f64) -> u32 {
    percent.round() as u32
}
