//! What stands in a capture: its lines as data, and how they become samples again. Version 1.
//!
//! Times are whole microseconds. `at_us` and `read_us` count from the beginning of the capture on the monotonic clock;
//! `unix_us` is Unix time. Start times of processes are clock ticks since boot, as /proc has them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wattribute::facts::{Facts, Field, ProcessKey};
use wattribute::meter::Counter;
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use super::gauges::GaugesLine;
use super::mig::{InstanceLine, MigLine};
use super::words::Words;
use crate::sample::{self, Card, Running, SmSample};

/// The version that is written, and the one that is read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub capture_version: u32,
    /// The version of the exporter that recorded it.
    pub recorded_by: String,
    /// What was read: `nvml` or `demo`.
    pub source: String,
    pub names: NamesAre,
    pub host: String,
    /// The time between two samples of a GPU.
    pub interval_us: u64,
    /// Unix time at the beginning.
    pub unix_us: u64,
    /// Time since boot at the beginning.
    pub boot_us: u64,
    /// How many clock ticks a second has.
    pub ticks_per_second: u64,
}

/// Whether names are those of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamesAre {
    Pseudonyms,
    Real,
}

/// Any other line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was heard.
    pub at_us: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A GPU was opened.
    Gpu(GpuLine),
    /// Calls to the driver that belong to no sample.
    Calls(Vec<CallLine>),
    /// The driver was loaded anew: counters began at zero.
    DriverRestarted {},
    /// A GPU was asked.
    Sample(Box<SampleLine>),
    /// Processes came to a GPU since its last sample.
    Arrived { uuid: String, running: Vec<RunningLine> },
    /// A process came into sight: its pid means this process from now on.
    Process(Key),
    /// Facts of a process: the first, or others than before.
    Facts(FactsLine),
    /// Nothing of a process could be read.
    Unreadable { pid: u32, start: u64, reason: String },
    /// A part of a process could not be read.
    Missing { pid: u32, start: u64, part: String },
    /// A process ended.
    Ended(Key),
    /// The recorder stopped; the last line of a capture that is complete.
    End { because: Ending },
}

/// Why a recorder stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The time asked for was over.
    Duration,
    /// Somebody told it to.
    Signal,
    /// The capture was as large as captures may be.
    Size,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub pid: u32,
    pub start: u64,
}

/// A [`Card`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuLine {
    pub uuid: String,
    pub index: u32,
    pub model: String,
    pub pci_bus_id: String,
    pub driver_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_power_mw: Option<u64>,
}

/// A [`sample::Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLine {
    pub name: String,
    pub took_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A [`sample::Sample`]; what is not there could not be had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleLine {
    pub uuid: String,
    pub read_us: u64,
    pub unix_us: u64,
    pub energy: Energy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<ProcessesLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<MigLine>,
    #[serde(default)]
    pub gauges: GaugesLine,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallLine>,
}

/// The energy counter: millijoules, or why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Energy {
    Millijoules(u64),
    None(NoEnergy),
}

/// Why there is no energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoEnergy {
    Unsupported,
    Failed,
}

/// [`sample::Processes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessesLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<RunningLine>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<Vec<UtilizationLine>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strangers_only: bool,
}

/// A [`Running`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningLine {
    pub pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceLine>,
}

/// An [`SmSample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UtilizationLine {
    pub pid: u32,
    pub unix_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_us: Option<u64>,
    pub percent: u32,
}

/// The facts of a process, by the names that matchers use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsLine {
    pub pid: u32,
    pub start: u64,
    pub fields: BTreeMap<String, String>,
    /// Nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<BTreeMap<String, String>>,
}

impl From<ProcessKey> for Key {
    fn from(key: ProcessKey) -> Self {
        Self { pid: key.pid, start: key.start }
    }
}

impl From<&sample::Call> for CallLine {
    fn from(call: &sample::Call) -> Self {
        let took_ns = u64::try_from(call.took.as_nanos()).unwrap_or(u64::MAX);
        Self { name: call.name.into(), took_ns, error: call.error.map(Into::into) }
    }
}

impl CallLine {
    fn call(&self, words: &mut Words) -> Result<sample::Call, String> {
        let error = self.error.as_deref().map(|error| words.keep(error)).transpose()?;
        Ok(sample::Call { name: words.keep(&self.name)?, took: Duration::from_nanos(self.took_ns), error })
    }
}

/// Calls as they were.
pub fn calls(lines: &[CallLine], words: &mut Words) -> Result<Vec<sample::Call>, String> {
    lines.iter().map(|line| line.call(words)).collect()
}

impl GpuLine {
    /// Of a card, under this uuid.
    pub fn of(card: &Card, uuid: String) -> Self {
        Self {
            uuid,
            index: card.index,
            model: card.model.as_ref().into(),
            pci_bus_id: card.pci_bus_id.clone(),
            driver_version: card.driver_version.clone(),
            max_power_mw: card.max_power.map(|power| power.0),
        }
    }

    /// The card.
    pub fn card(self) -> Card {
        Card {
            uuid: self.uuid.into(),
            index: self.index,
            model: self.model.into(),
            pci_bus_id: self.pci_bus_id,
            driver_version: self.driver_version,
            max_power: self.max_power_mw.map(Milliwatts),
        }
    }
}

impl From<Counter> for Energy {
    fn from(counter: Counter) -> Self {
        match counter {
            Counter::Value(value) => Self::Millijoules(value.0),
            Counter::Unsupported => Self::None(NoEnergy::Unsupported),
            Counter::Failed => Self::None(NoEnergy::Failed),
        }
    }
}

impl From<Energy> for Counter {
    fn from(energy: Energy) -> Self {
        match energy {
            Energy::Millijoules(value) => Self::Value(Millijoules(value)),
            Energy::None(NoEnergy::Unsupported) => Self::Unsupported,
            Energy::None(NoEnergy::Failed) => Self::Failed,
        }
    }
}

impl From<&Running> for RunningLine {
    fn from(one: &Running) -> Self {
        Self { pid: one.pid, memory_bytes: one.memory, instance: one.instance.map(Into::into) }
    }
}

impl From<RunningLine> for Running {
    fn from(line: RunningLine) -> Self {
        Self { pid: line.pid, instance: line.instance.map(Into::into), memory: line.memory_bytes }
    }
}

impl From<&sample::Processes> for ProcessesLine {
    fn from(processes: &sample::Processes) -> Self {
        let used = |one: &SmSample| UtilizationLine {
            pid: one.pid,
            unix_us: one.at.0,
            since_unix_us: one.since.map(|since| since.0),
            percent: one.percent,
        };
        Self {
            running: processes.running.as_ref().map(|all| all.iter().map(RunningLine::from).collect()),
            utilization: processes.utilization.as_ref().map(|all| all.iter().map(used).collect()),
            strangers_only: processes.strangers_only,
        }
    }
}

impl ProcessesLine {
    fn processes(self, unix: impl Fn(u64) -> Microseconds) -> sample::Processes {
        let used = |one: UtilizationLine| SmSample {
            pid: one.pid,
            at: unix(one.unix_us),
            since: one.since_unix_us.map(&unix),
            percent: one.percent,
        };
        sample::Processes {
            running: self.running.map(|all| all.into_iter().map(Running::from).collect()),
            utilization: self.utilization.map(|all| all.into_iter().map(used).collect()),
            strangers_only: self.strangers_only,
        }
    }
}

impl SampleLine {
    /// Of a sample of the GPU with this uuid, in a capture that began then; without MIG, whose names are to be hidden.
    pub fn of(sample: &sample::Sample, uuid: String, began: Microseconds) -> Self {
        Self {
            uuid,
            read_us: sample.at.saturating_sub(began).0,
            unix_us: sample.unix.0,
            energy: sample.counter.into(),
            power_mw: sample.power.map(|power| power.0),
            processes: sample.processes.as_ref().map(ProcessesLine::from),
            mig: None,
            gauges: sample.gauges.into(),
            calls: sample.calls.iter().map(CallLine::from).collect(),
        }
    }

    /// The sample, in a replay that began then and in which Unix times are these.
    pub fn sample(
        self,
        began: Microseconds,
        unix: impl Fn(u64) -> Microseconds,
        words: &mut Words,
    ) -> Result<sample::Sample, String> {
        Ok(sample::Sample {
            at: began + Microseconds(self.read_us),
            unix: unix(self.unix_us),
            counter: self.energy.into(),
            power: self.power_mw.map(Milliwatts),
            processes: self.processes.map(|processes| processes.processes(unix)),
            mig: self.mig.map(MigLine::mig),
            gauges: self.gauges.into(),
            calls: calls(&self.calls, words)?,
        })
    }
}

impl FactsLine {
    /// The facts.
    pub fn facts(&self) -> Result<Facts, String> {
        let field = |name: &String| Field::parse(name).ok_or_else(|| format!("unknown field {name:?}"));
        let mut facts = Facts::default();
        for (name, value) in &self.fields {
            facts.set(field(name)?, value.as_str());
        }
        for ancestor in &self.ancestors {
            let fields = ancestor.iter().map(|(name, value)| Ok((field(name)?, value.clone())));
            facts.push_ancestor(fields.collect::<Result<_, String>>()?);
        }
        Ok(facts)
    }
}
