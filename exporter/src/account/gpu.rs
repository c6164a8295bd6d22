//! One GPU's meters: turns its samples into intervals that are measured but not yet divided.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wattribute::busy::{BusyMeter, Tick, Utilization};
use wattribute::facts::ProcessKey;
use wattribute::idle::{IdleLearner, IdleMeter, Parts};
use wattribute::meter::{Counter, EnergyMeter, EnergySource, Metered, Reading};
use wattribute::split::InstanceId;
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use super::division;
use crate::clock::Now;
use crate::sample::{Card, Gauges, Mig, Sample};

/// The counter is compared with power over this time.
const COMPARED_TIME: Microseconds = Microseconds(120_000_000);

/// How long an interval goes on for want of a utilisation sample: longer than the driver's longest sample period.
const UTILIZATION_PATIENCE: Microseconds = Microseconds(1_500_000);

/// Where the idle power in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleBasis {
    Configured,
    Learnt,
    Unknown,
}

/// A process in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    pub process: ProcessKey,
    /// `None` without MIG.
    pub instance: Option<InstanceId>,
    /// GPU memory in bytes.
    pub memory: Option<u64>,
    pub busy: Microseconds,
    /// How much of the interval it was seen for.
    pub seen: Microseconds,
}

/// What a GPU drew in an interval, and who was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Somebody looked from beginning to end.
    Interval {
        metered: Metered,
        parts: Parts,
        presences: Vec<Presence>,
        utilization_known: bool,
        mig: Option<Mig>,
    },
    /// The exporter did not run.
    Gap(Metered),
}

/// A process, and the MIG instance it is on: one that is on two instances is two.
pub type Who = (ProcessKey, Option<InstanceId>);

/// A process that the driver lists now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub process: ProcessKey,
    /// `None` without MIG.
    pub instance: Option<InstanceId>,
    /// GPU memory in bytes.
    pub memory: Option<u64>,
    /// How long it has lived; `None` where that is unknown.
    pub age: Option<Microseconds>,
}

impl Listed {
    pub fn who(&self) -> Who {
        (self.process, self.instance)
    }
}

/// Who was there at the end of an interval, and until when those were who went.
pub struct Attendance<'a> {
    pub listed: &'a [Listed],
    pub ended: &'a dyn Fn(ProcessKey) -> Option<Microseconds>,
}

/// The meters of one GPU, and its latest readings.
#[derive(Debug)]
pub struct Gpu {
    pub card: Card,
    meter: EnergyMeter,
    gap: bool,
    comparison: Comparison,
    idle: IdleMeter,
    learner: IdleLearner,
    busy: BusyMeter,
    present: BTreeMap<Who, Option<u64>>,
    /// Of those present, who came after the last sample, and when, on the monotonic clock.
    arrived: BTreeMap<Who, Microseconds>,
    /// How MIG has divided it, by the last complete sample.
    mig: Option<Mig>,
    /// Share of the last interval in which each was busy; empty where that is unknown.
    utilization: BTreeMap<ProcessKey, f64>,
    /// From the last complete sample.
    pub latest: Option<Latest>,
}

/// The readings of a GPU that are shown as they are.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    pub unix: Microseconds,
    pub power: Option<Milliwatts>,
    pub gauges: Gauges,
    pub source: Option<EnergySource>,
    pub idle_basis: IdleBasis,
    pub idle_power: Option<Milliwatts>,
    pub disagreement: Option<f64>,
}

impl Gpu {
    /// The meters of a card that was found.
    pub fn new(card: Card) -> Self {
        let meter = EnergyMeter::new(card.max_power);
        Self {
            card,
            meter,
            gap: false,
            comparison: Comparison::default(),
            idle: IdleMeter::default(),
            learner: IdleLearner::default(),
            busy: BusyMeter::default(),
            present: BTreeMap::new(),
            arrived: BTreeMap::new(),
            mig: None,
            utilization: BTreeMap::new(),
            latest: None,
        }
    }

    /// Continues after an earlier run: the first interval is the gap.
    pub fn resume(&mut self, last: Option<Reading>, learnt: Option<Milliwatts>) {
        self.learner = IdleLearner::knowing(learnt);
        if let Some(last) = last {
            self.meter.resume(last);
            self.gap = true;
        }
    }

    /// The driver was opened again: the meters go on, with what it says of the card now.
    pub fn reopen(&mut self, card: Card) {
        if let Some(limit) = card.max_power {
            self.meter.set_limit(limit);
        }
        self.card = card;
    }

    /// The driver was loaded anew: whatever the counter shows next, it has gained since then.
    pub fn restart_counter(&mut self) {
        self.meter.restart();
    }

    /// What the next run needs to continue.
    pub fn progress(&self) -> (Option<Reading>, Option<Milliwatts>) {
        (self.meter.last(), self.learner.learnt())
    }

    /// A process came to the GPU after its last sample, of which it is now that time.
    pub fn arrive(&mut self, one: &Listed, now: Now) {
        let Some(latest) = self.latest else { return };
        let since = one.age.map_or(Microseconds::ZERO, |age| now.unix.saturating_sub(age)).max(latest.unix);
        self.busy.enter(one.process, since);
        let ago = now.unix.saturating_sub(since);
        self.arrived.insert(one.who(), now.monotonic.saturating_sub(ago));
        self.present.insert(one.who(), one.memory);
    }

    /// The processes of the last complete sample, and those that have come since.
    pub fn present(&self) -> impl Iterator<Item = Who> {
        self.present.keys().copied()
    }

    /// The process of the last complete sample that had this pid, if it was a known one.
    pub fn present_with(&self, pid: u32) -> Option<ProcessKey> {
        let from = (ProcessKey { pid, start: 1 }, None);
        let next = self.present.range(from..).next().map(|((key, _), _)| *key);
        next.filter(|key| key.pid == pid)
    }

    /// Whether a process was in the last complete sample.
    pub fn is_present(&self, who: Who) -> bool {
        self.present.contains_key(&who)
    }

    /// How MIG has divided it, by the last complete sample.
    pub fn mig(&self) -> Option<&Mig> {
        self.mig.as_ref()
    }

    /// What the driver calls a MIG instance that exists.
    pub fn mig_uuid(&self, instance: Option<InstanceId>) -> Option<Arc<str>> {
        let own = self.mig.as_ref()?.instances.iter().find(|own| Some(own.id) == instance)?;
        Some(Arc::clone(&own.uuid))
    }

    /// The processes of the last complete sample, with their GPU memory in bytes and the share of the last interval
    /// in which they were busy.
    pub fn occupancy(&self) -> impl Iterator<Item = (Who, Option<u64>, Option<f64>)> {
        self.present.iter().map(|(who, memory)| (*who, *memory, self.utilization.get(&who.0).copied()))
    }

    /// Takes a complete sample; gives the interval that it ends, if it ends one.
    pub fn measure(
        &mut self,
        sample: &Sample,
        attendance: &Attendance<'_>,
        configured: Option<Milliwatts>,
    ) -> Option<Measured> {
        if self.awaits_utilization(sample) {
            return None;
        }
        let reading = Reading { at: sample.at, counter: sample.counter, power: sample.power };
        let metered = self.meter.read(reading);
        let disagreement = self.comparison.compare(reading, metered);
        match (attendance.listed.is_empty() && !works(sample), sample.power) {
            (true, Some(power)) => self.learner.vacant(sample.at, power),
            _ => self.learner.busy(),
        }
        let (idle_power, idle_basis) = match (configured, self.learner.learnt()) {
            (Some(power), _) => (Some(power), IdleBasis::Configured),
            (None, Some(power)) => (Some(power), IdleBasis::Learnt),
            (None, None) => (None, IdleBasis::Unknown),
        };
        let source = metered.map(|one| one.source).or(self.latest.and_then(|latest| latest.source));
        let (unix, power, gauges) = (sample.unix, sample.power, sample.gauges);
        self.latest = Some(Latest { unix, power, gauges, source, idle_basis, idle_power, disagreement });
        let presences =
            self.presences(sample, attendance, metered.map_or(Microseconds::ZERO, |one| one.elapsed));
        let before = std::mem::replace(&mut self.mig, sample.mig.clone());
        let mig = division::joined(before.as_ref(), self.mig.as_ref());
        let metered = metered?;
        if std::mem::take(&mut self.gap) {
            return Some(Measured::Gap(metered));
        }
        let parts = self.idle.divide(metered.energy, metered.elapsed, idle_power);
        let utilization_known =
            sample.processes.as_ref().is_some_and(|processes| processes.utilization.is_some());
        let ratio = |one: &Presence| (one.process, one.busy.as_seconds() / metered.elapsed.as_seconds());
        let known = presences.iter().filter(|_| utilization_known);
        self.utilization = known.map(ratio).collect();
        Some(Measured::Interval { metered, parts, presences, utilization_known, mig })
    }

    /// Whether the GPU works for somebody, and the driver has yet to say for whom: it samples utilisation up to once a
    /// second, and what it has not sampled yet must not be taken for idleness. The interval goes on for so long.
    fn awaits_utilization(&self, sample: &Sample) -> bool {
        let Some(last) = self.meter.last().filter(|_| !self.gap) else { return false };
        let is_silent = sample.processes.as_ref().is_some_and(|processes| {
            processes.utilization.as_ref().is_some_and(Vec::is_empty)
                && processes.running.as_ref().is_some_and(|running| !running.is_empty())
        });
        let works = sample.gauges.utilization != Some(0.0);
        is_silent && works && sample.at.saturating_sub(last.at) < UTILIZATION_PATIENCE
    }

    /// Who was there in the interval that ends with this sample; remembers who is there now.
    fn presences(
        &mut self,
        sample: &Sample,
        attendance: &Attendance<'_>,
        elapsed: Microseconds,
    ) -> Vec<Presence> {
        let tick = Tick { from: sample.unix.saturating_sub(elapsed), to: sample.unix };
        for one in attendance.listed {
            let born = one.age.map_or(tick.from, |age| sample.unix.saturating_sub(age));
            self.busy.enter(one.process, born.max(tick.from));
        }
        let now: BTreeMap<Who, &Listed> = attendance.listed.iter().map(|one| (one.who(), one)).collect();
        let busy = self.busy.busy(tick, &self.utilizations(sample, &now));
        let busy_of = |key| busy.get(&key).copied().unwrap_or_default();
        let stayed = |one: &Listed| {
            let was_there = self.present.contains_key(&one.who()) && !self.arrived.contains_key(&one.who());
            let seen = match (was_there, one.age) {
                (false, Some(age)) => age.min(elapsed),
                _ => elapsed,
            };
            let (process, instance) = one.who();
            Presence { process, instance, memory: one.memory, busy: busy_of(process), seen }
        };
        let left = |(&(process, instance), &memory): (&Who, &Option<u64>)| {
            let began = sample.at.saturating_sub(elapsed);
            let began = self.arrived.get(&(process, instance)).map_or(began, |since| began.max(*since));
            // Without a known end (it only closed its context, say) it left, on the average, in the middle.
            let middle = Microseconds(sample.at.saturating_sub(began).0 / 2);
            let seen = (attendance.ended)(process).map_or(middle, |ended| ended.saturating_sub(began));
            Presence { process, instance, memory, busy: busy_of(process), seen: seen.min(elapsed) }
        };
        let leavers = self.present.iter().filter(|(key, _)| !now.contains_key(key));
        let gone: Vec<Presence> = leavers.map(left).collect();
        let presences = now.values().map(|one| stayed(one)).chain(gone.iter().copied()).collect();
        let stays = |process| now.keys().any(|(key, _)| *key == process);
        gone.iter().filter(|one| !stays(one.process)).for_each(|one| self.busy.leave(one.process));
        self.present = attendance.listed.iter().map(|one| (one.who(), one.memory)).collect();
        self.arrived.clear();
        presences
    }

    /// The driver's samples, by process: of those listed now, else of those that have just left.
    fn utilizations(&self, sample: &Sample, now: &BTreeMap<Who, &Listed>) -> Vec<Utilization> {
        let by_pid: BTreeMap<u32, ProcessKey> =
            self.present.keys().chain(now.keys()).map(|(key, _)| (key.pid, *key)).collect();
        let samples = sample.processes.iter().flat_map(|processes| processes.utilization.iter().flatten());
        let to_utilization = |one: &crate::sample::SmSample| {
            let sm_percent = u8::try_from(one.percent).ok()?;
            Some(Utilization { process: *by_pid.get(&one.pid)?, at: one.at, since: one.since, sm_percent })
        };
        samples.filter_map(to_utilization).collect()
    }
}

/// Whether the GPU works, though the driver may list nobody: a list can fail, or be empty for want of rights.
fn works(sample: &Sample) -> bool {
    let mut instances = sample.mig.iter().flat_map(|mig| &mig.instances);
    sample.gauges.utilization.is_some_and(|share| share > 0.0)
        || instances.any(|instance| instance.activity.is_some_and(|activity| activity > 0))
}

/// Compares the counter with power × time.
#[derive(Debug, Default)]
struct Comparison {
    by_power: EnergyMeter,
    /// When, by the counter, by power.
    window: VecDeque<(Microseconds, Millijoules, Millijoules)>,
}

impl Comparison {
    /// How far the counter was from power × time over the last two minutes: 0.01 is 1 % more.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
    fn compare(&mut self, reading: Reading, metered: Option<Metered>) -> Option<f64> {
        let by_power = self.by_power.read(Reading { counter: Counter::Unsupported, ..reading });
        let counted = metered.filter(|one| one.source == EnergySource::Counter);
        if let (Some(counted), Some(by_power)) = (counted, by_power) {
            self.window.push_back((reading.at, counted.energy, by_power.energy));
        }
        while self.window.front().is_some_and(|(at, ..)| reading.at.saturating_sub(*at) > COMPARED_TIME) {
            self.window.pop_front();
        }
        let by_counter: Millijoules = self.window.iter().map(|(_, energy, _)| *energy).sum();
        let by_power: Millijoules = self.window.iter().map(|(.., energy)| *energy).sum();
        (by_power > Millijoules::ZERO).then(|| by_counter.0 as f64 / by_power.0 as f64 - 1.0)
    }
}
