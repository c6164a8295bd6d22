//! The NVML source: opens the driver's library and samples its GPUs by it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use wattribute::units::{Microseconds, Milliwatts};

use super::answers::Log;
use super::energy::{CounterSource, Energy};
use super::lists::{Listing, Lists};
use super::mig::Division;
use super::ticks::{self, Ending};
use super::utilization::Utilization;
use super::{Card, Event, Gauges, Mig, Processes, Running, Sample, Sampler, Ticks};
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

    /// Whether the driver keeps the GPU open while nobody uses it.
    pub fn is_persistent(&self, index: u32) -> Result<bool, NvmlError> {
        self.0.device_by_index(index)?.is_in_persistent_mode()
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
            let error = calls.iter().rev().find_map(|call| call.error).unwrap_or("unknown");
            ticks.send(Event::Called(calls));
            if let Some((card, device)) = card {
                return ticks.drive(card, &mut NvmlSampler::new(&device, log));
            }
            if let Some(why) = gone {
                return Ending::DriverGone(why);
            }
            if attempts == 0 {
                tracing::error!(
                    gpu = index,
                    error,
                    "this gpu cannot be opened and is not accounted: trying again; see dmesg for NVRM and Xid"
                );
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

/// Samples one GPU.
struct NvmlSampler<'a> {
    device: &'a Device<'a>,
    log: Log,
    ticks: u64,
    counter: CounterSource,
    lists: Lists,
    utilization: Utilization,
    division: Division<'a>,
    slow: Gauges,
}

impl<'a> NvmlSampler<'a> {
    fn new(device: &'a Device<'a>, log: Log) -> Self {
        Self {
            device,
            log,
            ticks: 0,
            counter: CounterSource::default(),
            lists: Lists::default(),
            utilization: Utilization::new(),
            division: Division::default(),
            slow: Gauges::default(),
        }
    }

    /// Who runs, and how busy each has been since the last accepted sample.
    fn processes(&mut self, now: Microseconds) -> Option<Processes> {
        let (device, log) = (self.device, &mut self.log);
        let mut running = match self.lists.read(device, log) {
            Listing::Known(running) => running,
            Listing::None => {
                self.utilization.forget();
                return Some(Processes { running: None, utilization: None, strangers_only: false });
            }
            Listing::Failed => return None,
        };
        let fresh = self.utilization.read(device, log, now);
        let has_strangers =
            fresh.as_ref().is_some_and(|fresh| self.utilization.has_strangers(fresh, &pids(&running)));
        if has_strangers && let Some(Listing::Known(all)) = self.lists.complete(device, log) {
            running = all;
        }
        let (utilization, strangers_only) = self.utilization.accept(fresh, pids(&running));
        Some(Processes { running: Some(running), utilization, strangers_only })
    }

    fn mig(&mut self, processes: Option<&Processes>, now: Microseconds) -> Option<Mig> {
        let running = processes.and_then(|processes| processes.running.as_deref()).unwrap_or_default();
        self.division.read(self.device, &mut self.log, (running, now))
    }

    fn slow_gauges(&mut self) -> Gauges {
        let (device, log) = (self.device, &mut self.log);
        let memory = log.call("nvmlDeviceGetMemoryInfo", || device.memory_info()).value();
        Gauges {
            power: None,
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

fn pids(running: &[Running]) -> BTreeSet<u32> {
    running.iter().map(|one| one.pid).collect()
}

impl Sampler for NvmlSampler<'_> {
    fn is_lively(&self) -> bool {
        self.utilization.is_lively()
    }

    fn glance(&mut self) -> Vec<Running> {
        let begin = Instant::now();
        if !self.utilization.glance(self.device, &mut self.log, clock::unix()) {
            return Vec::new();
        }
        let listing = self.lists.read(self.device, &mut self.log);
        self.utilization.rest(begin);
        match listing {
            Listing::Known(running) => self.utilization.admit(running),
            Listing::None | Listing::Failed => Vec::new(),
        }
    }

    fn sample(&mut self) -> Sample {
        self.division.glance(self.device, &mut self.log);
        let energy = Energy::read(self.device, &mut self.log, &mut self.counter);
        let (at, unix) = (clock::monotonic(), clock::unix());
        let processes = self.processes(unix);
        let mig = self.mig(processes.as_ref(), at);
        if self.ticks.is_multiple_of(SLOW_TICKS) {
            self.slow = self.slow_gauges();
        }
        self.ticks += 1;
        let rates =
            self.log.call("nvmlDeviceGetUtilizationRates", || self.device.utilization_rates()).value();
        let gauges = Gauges {
            power: energy.power_now,
            utilization: rates.map(|rates| f64::from(rates.gpu) / 100.0),
            ..self.slow
        };
        let Energy { counter, power, .. } = energy;
        Sample { at, unix, counter, power, processes, mig, gauges, calls: self.log.take() }
    }
}
