//! The NVML source: opens the driver's library and samples its GPUs by it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use wattribute::meter::Counter;
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use super::errors::{error_name, is_permanent, none_is_idle};
use super::raw::{self, Kind};
use super::ticks::{self, Ending};
use super::{Call, Card, Event, Gauges, Processes, Running, Sample, Sampler, SmSample, Ticks};
use crate::clock;

/// Readings that change slowly are asked for once in so many ticks.
const SLOW_TICKS: u64 = 10;

/// How long until a GPU that could not be opened is tried again.
const REOPEN: Duration = Duration::from_secs(10);

/// The driver's library, opened.
#[derive(Clone)]
pub struct Driver(Arc<Nvml>);

impl Driver {
    /// Loads the library and initialises it: the one at `library`, else the driver's own.
    pub fn open(library: Option<&Path>) -> Result<Self, NvmlError> {
        let mut builder = Nvml::builder();
        if let Some(path) = library {
            return Ok(Self(Arc::new(builder.lib_path(path.as_os_str()).init()?)));
        }
        // The unversioned name comes with development packages only; drivers bring this one.
        Ok(Self(Arc::new(builder.lib_path(OsStr::new("libnvidia-ml.so.1")).init()?)))
    }

    /// How many GPUs there are.
    pub fn count(&self) -> Result<u32, NvmlError> {
        self.0.device_count()
    }

    /// The uuid of the GPU that has this index now.
    pub fn uuid(&self, index: u32) -> Result<String, NvmlError> {
        self.0.device_by_index(index)?.uuid()
    }

    /// The body of the sampling thread of one GPU, which had this index when it was found. One that cannot be opened is
    /// tried again until it can.
    pub fn drive<E: From<Event>>(&self, (index, uuid): (u32, &str), ticks: &Ticks<E>) -> Ending {
        let mut log = Log::default();
        let mut attempts = 0;
        loop {
            let opened = log.call("nvmlDeviceGetHandleByUUID", || self.0.device_by_uuid(uuid));
            let card = opened.value().and_then(|device| Some((card(&device, index, &mut log)?, device)));
            let calls = log.take();
            let gone = ticks::gone(&calls);
            ticks.send(Event::Called(calls));
            if let Some((card, device)) = card {
                return ticks.drive(card, &mut NvmlSampler::new(&device, log));
            }
            if let Some(why) = gone {
                return Ending::DriverGone(why);
            }
            if attempts == 0 {
                tracing::error!(gpu = index, "this gpu cannot be opened and is not accounted: trying again");
            }
            attempts += 1;
            log = Log::default();
            if ticks.is_stopped_within(REOPEN) {
                return Ending::Stopped;
            }
        }
    }
}

/// What identifies a GPU; `None` where it does not even give its UUID.
fn card(device: &Device<'_>, index: u32, log: &mut Log) -> Option<Card> {
    let limits = log
        .call("nvmlDeviceGetPowerManagementLimitConstraints", || device.power_management_limit_constraints());
    let enforced = || device.enforced_power_limit().ok().map(|limit| Milliwatts(limit.into()));
    Some(Card {
        uuid: log.call("nvmlDeviceGetUUID", || device.uuid()).value()?.into(),
        index,
        model: log.call("nvmlDeviceGetName", || device.name()).value().unwrap_or_default().into(),
        pci_bus_id: log
            .call("nvmlDeviceGetPciInfo_v3", || device.pci_info())
            .value()
            .map_or_else(String::new, |pci| pci.bus_id),
        driver_version: log
            .call("nvmlSystemGetDriverVersion", || device.nvml().sys_driver_version())
            .value()
            .unwrap_or_default(),
        max_power: limits.value().map(|limits| Milliwatts(limits.max_limit.into())).or_else(enforced),
    })
}

/// An answer of the driver.
enum Answer<T> {
    Value(T),
    /// Never, for this GPU.
    Unsupported,
    /// Not this time.
    Failed,
}

impl<T> Answer<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unsupported | Self::Failed => None,
        }
    }
}

/// Makes calls, times them, and remembers what the GPU does not support so that it is not asked again.
#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    unsupported: BTreeSet<&'static str>,
}

impl Log {
    /// Makes the call of this name. What tells uses of one function apart stands behind a slash.
    fn call<T>(&mut self, name: &'static str, call: impl FnOnce() -> Result<T, NvmlError>) -> Answer<T> {
        if self.unsupported.contains(name) {
            return Answer::Unsupported;
        }
        let start = Instant::now();
        let result = call();
        let took = start.elapsed();
        let (answer, error) = match result {
            Ok(value) => (Answer::Value(value), None),
            Err(error) => {
                let label = error_name(&error);
                if is_permanent(&error) {
                    self.unsupported.insert(name);
                    (Answer::Unsupported, Some(label))
                } else {
                    (Answer::Failed, Some(label))
                }
            }
        };
        let name = name.split_once('/').map_or(name, |(function, _)| function);
        self.calls.push(Call { name, took, error });
        answer
    }

    fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}

/// The lists of processes.
const LISTS: [(&str, Kind); 3] = [
    ("nvmlDeviceGetComputeRunningProcesses_v3", Kind::Compute),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", Kind::Graphics),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", Kind::Mps),
];
/// After so many failures in a row a list is done without, so that the others still count.
const FAILURES: u32 = 5;

/// Who is on a GPU.
enum Listing {
    Known(Vec<Running>),
    /// The driver has no list at all.
    None,
    /// A list could not be had this time.
    Failed,
}

/// The two calls that tell the utilisation of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UtilizationCall {
    Classic,
    /// Since driver 550.
    Newer,
}

impl UtilizationCall {
    fn other(self) -> Self {
        match self {
            Self::Classic => Self::Newer,
            Self::Newer => Self::Classic,
        }
    }
}

/// Samples one GPU.
struct NvmlSampler<'a> {
    device: &'a Device<'a>,
    log: Log,
    ticks: u64,
    /// The newest utilisation sample accepted, Unix time.
    last_seen: Microseconds,
    /// The pids of the last sample.
    listed: BTreeSet<u32>,
    /// How often each of [`LISTS`] has failed in a row.
    failures: [u32; LISTS.len()],
    /// How many processes to make room for.
    room: usize,
    /// How many utilisation samples to make room for.
    sample_room: usize,
    /// The call for utilisation that answered best so far.
    preferred: UtilizationCall,
    slow: Gauges,
}

impl<'a> NvmlSampler<'a> {
    fn new(device: &'a Device<'a>, log: Log) -> Self {
        let last_seen = clock::unix();
        let listed = BTreeSet::new();
        let (slow, preferred, failures) = (Gauges::default(), UtilizationCall::Classic, [0; LISTS.len()]);
        Self { device, log, ticks: 0, last_seen, listed, failures, room: 0, sample_room: 0, preferred, slow }
    }

    fn counter(&mut self) -> Counter {
        match self.log.call("nvmlDeviceGetTotalEnergyConsumption", || self.device.total_energy_consumption())
        {
            Answer::Value(value) => Counter::Value(Millijoules(value)),
            Answer::Unsupported => Counter::Unsupported,
            Answer::Failed => Counter::Failed,
        }
    }

    /// The processes of all kinds, each once.
    fn running(&mut self) -> Listing {
        let mut all: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        let mut has_list = false;
        for (index, (name, kind)) in LISTS.into_iter().enumerate() {
            let list = match self.log.call(name, || raw::running(self.device, kind, self.room)) {
                Answer::Value(list) => list,
                Answer::Unsupported => continue,
                Answer::Failed if self.failures[index] >= FAILURES => continue,
                Answer::Failed => {
                    self.failures[index] += 1;
                    return Listing::Failed;
                }
            };
            has_list = true;
            self.failures[index] = 0;
            self.room = self.room.max(list.len());
            for process in list {
                // In several lists at once, a process has the same memory in each.
                let memory = all.entry(process.pid).or_default();
                *memory = (*memory).max(process.memory);
            }
        }
        if !has_list {
            return Listing::None;
        }
        Listing::Known(all.into_iter().map(|(pid, memory)| Running { pid, memory }).collect())
    }

    /// Who runs, and how busy each has been since the last accepted sample.
    fn processes(&mut self, now: Microseconds) -> Option<Processes> {
        let running = match self.running() {
            Listing::Known(running) => running,
            Listing::None => {
                return Some(Processes { running: None, utilization: None, strangers_only: false });
            }
            Listing::Failed => return None,
        };
        let listed: BTreeSet<u32> = running.iter().map(|one| one.pid).collect();
        // A clock that was set back must not make every new sample look old.
        let since = self.last_seen.min(now);
        let samples = self.samples(since);
        let is_new = |one: &raw::ProcessSample| {
            one.timestamp > since.0 && one.timestamp <= now.0 + Microseconds::SECOND.0
        };
        let valid =
            samples.map(|samples| samples.into_iter().filter(|one| one.sm_percent <= 100 && is_new(one)));
        let valid: Option<Vec<raw::ProcessSample>> = valid.map(Iterator::collect);
        // Who has just left may have been busy until then.
        let known = |one: &&raw::ProcessSample| listed.contains(&one.pid) || self.listed.contains(&one.pid);
        let to_sample = |one: &raw::ProcessSample| SmSample {
            pid: one.pid,
            at: Microseconds(one.timestamp),
            percent: one.sm_percent,
        };
        let strangers_only =
            valid.as_ref().is_some_and(|valid| !valid.is_empty() && !valid.iter().any(|one| known(&one)));
        let utilization: Option<Vec<SmSample>> =
            valid.map(|valid| valid.iter().filter(known).map(to_sample).collect());
        let newest = utilization.iter().flatten().map(|sample| sample.at).max();
        self.last_seen = newest.unwrap_or(since);
        self.listed = listed;
        Some(Processes { running: Some(running), utilization, strangers_only })
    }

    /// What the driver says since then, by whichever call answers; empty where the GPU was idle. On some GPUs one of
    /// the two calls never has anything to say: now and then the other is heard too, and preferred if it knows more.
    fn samples(&mut self, since: Microseconds) -> Option<Vec<raw::ProcessSample>> {
        let first = self.ask_utilization(self.preferred, since);
        let is_silent = first.as_ref().is_some_and(Vec::is_empty);
        if first.is_some() && !(is_silent && self.ticks % SLOW_TICKS == 1) {
            return first;
        }
        let other = self.preferred.other();
        let second = self.ask_utilization(other, since);
        if second.as_ref().is_some_and(|samples| !samples.is_empty()) || first.is_none() {
            self.preferred = other;
            return second;
        }
        first
    }

    fn ask_utilization(
        &mut self,
        by: UtilizationCall,
        since: Microseconds,
    ) -> Option<Vec<raw::ProcessSample>> {
        let (device, room) = (self.device, self.sample_room);
        let answer = match by {
            UtilizationCall::Classic => self.log.call("nvmlDeviceGetProcessUtilization", || {
                none_is_idle(raw::utilization(device, since.0, room))
            }),
            UtilizationCall::Newer => self.log.call("nvmlDeviceGetProcessesUtilizationInfo", || {
                none_is_idle(raw::utilization_info(device, since.0, room))
            }),
        };
        let samples = answer.value()?;
        self.sample_room = room.max(samples.len());
        Some(samples)
    }

    fn slow_gauges(&mut self) -> Gauges {
        let (device, log) = (self.device, &mut self.log);
        let memory = log.call("nvmlDeviceGetMemoryInfo", || device.memory_info()).value();
        Gauges {
            utilization: None,
            memory_used: memory.as_ref().map(|memory| memory.used),
            memory_total: memory.as_ref().map(|memory| memory.total),
            power_limit: log
                .call("nvmlDeviceGetEnforcedPowerLimit", || device.enforced_power_limit())
                .value()
                .map(|limit| Milliwatts(limit.into())),
            temperature_celsius: log
                .call("nvmlDeviceGetTemperature", || device.temperature(TemperatureSensor::Gpu))
                .value(),
            sm_clock_megahertz: log.call("nvmlDeviceGetClockInfo", || device.clock_info(Clock::SM)).value(),
            memory_clock_megahertz: log
                .call("nvmlDeviceGetClockInfo/memory", || device.clock_info(Clock::Memory))
                .value(),
        }
    }
}

impl Sampler for NvmlSampler<'_> {
    fn sample(&mut self) -> Sample {
        let counter = self.counter();
        let (at, unix) = (clock::monotonic(), clock::unix());
        let power = self.log.call("nvmlDeviceGetPowerUsage", || self.device.power_usage()).value();
        let processes = self.processes(unix);
        if self.ticks.is_multiple_of(SLOW_TICKS) {
            self.slow = self.slow_gauges();
        }
        self.ticks += 1;
        let rates =
            self.log.call("nvmlDeviceGetUtilizationRates", || self.device.utilization_rates()).value();
        let gauges = Gauges { utilization: rates.map(|rates| f64::from(rates.gpu) / 100.0), ..self.slow };
        let power = power.map(|milliwatts| Milliwatts(milliwatts.into()));
        Sample { at, unix, counter, power, processes, gauges, calls: self.log.take() }
    }
}
