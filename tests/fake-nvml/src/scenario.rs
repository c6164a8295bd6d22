//! The scenario file: the machine, who uses it, and what goes wrong. Plain data; [`crate::truth`] computes with it,
//! tests build it.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::check::Invalid;
use crate::clock::monotonic_us;
use crate::fault::Fault;

/// A machine and what happens on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// CLOCK_MONOTONIC at scenario time 0, in µs. At most some months ago: energies are 64-bit nanojoules, enough for
    /// 300 days at 700 W.
    pub epoch_us: u64,
    /// What `nvmlSystemGetDriverVersion` says.
    #[serde(default = "default_driver_version")]
    pub driver_version: String,
    /// The GPUs, in index order.
    pub gpus: Vec<Gpu>,
    /// Processes that use them.
    #[serde(default)]
    pub loads: Vec<Load>,
    /// Many idle processes at once.
    #[serde(default)]
    pub crowds: Vec<Crowd>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// As NVML writes it, `GPU-…`.
    pub uuid: String,
    /// The product's name.
    pub model: String,
    /// `domain:bus:device.function`, the domain with eight digits.
    pub pci_bus_id: String,
    /// Power without any load, in W.
    pub idle_watts: u32,
    /// Power at 100 % load, in W; also the power limit.
    pub max_watts: u32,
    /// Memory in all, in MiB.
    pub memory_mib: u64,
    /// Whether it has an energy counter.
    #[serde(default = "yes")]
    pub counter: bool,
    /// Whether the driver keeps it open while nobody uses it.
    #[serde(default = "yes")]
    pub persistence: bool,
    /// What the counter held at the epoch, in mJ.
    #[serde(default)]
    pub counter_offset_mj: u64,
    /// How often the counter moves.
    #[serde(default = "default_refresh")]
    pub counter_refresh_s: Seconds,
    /// Over how long the power reading is averaged; zero: instantaneous.
    #[serde(default)]
    pub power_average_s: Seconds,
    /// How often utilisation is sampled.
    #[serde(default = "default_period")]
    pub utilization_period_s: Seconds,
    /// How long samples are kept.
    #[serde(default = "default_buffer")]
    pub utilization_buffer_s: Seconds,
    /// MIG instances; any: MIG mode is on, between the next two times.
    #[serde(default)]
    pub mig: Vec<MigInstance>,
    /// When MIG mode is switched on.
    #[serde(default)]
    pub mig_from_s: Seconds,
    /// When MIG mode is switched off; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_until_s: Option<Seconds>,
    /// Whether it can say how active its instances are.
    #[serde(default = "yes")]
    pub gpm: bool,
}

/// One MIG instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigInstance {
    /// As NVML writes it, `MIG-…`.
    pub uuid: String,
    /// The GPU instance's id.
    pub gpu_instance: u32,
    /// The compute instance's id.
    pub compute_instance: u32,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// How many of the GPU's seven slices it has.
    pub slices: u32,
    /// When it is created.
    #[serde(default)]
    pub from_s: Seconds,
    /// When it is destroyed; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<Seconds>,
}

/// A process on one GPU or several: on each of them the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The process, in the host's PID namespace.
    pub pid: u32,
    /// Positions of the GPUs in the scenario.
    pub gpus: Vec<usize>,
    /// Which list it stands in.
    #[serde(default)]
    pub kind: Kind,
    /// When it starts.
    #[serde(default)]
    pub from_s: Seconds,
    /// When it ends; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<Seconds>,
    /// Memory held, in MiB; `None`: the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// How it uses the SMs; in % of the whole GPU's, also on a MIG instance.
    pub sm: Use,
    /// Use of memory bandwidth while it runs, in %.
    #[serde(default)]
    pub mem: u32,
    /// Use of the encoder while it runs, in %.
    #[serde(default)]
    pub enc: u32,
    /// Use of the decoder while it runs, in %.
    #[serde(default)]
    pub dec: u32,
    /// Position of the MIG instance in the GPU's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<usize>,
}

/// Which of the driver's three lists a process stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A compute context.
    #[default]
    Compute,
    /// A graphics context.
    Graphics,
    /// A client of the multi-process service.
    Mps,
}

/// SM use over time, in %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Use {
    /// The same all the time.
    Constant(u32),
    /// On and off.
    Wave(Wave),
}

/// A square wave that begins, high, at the load's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// SM use while high, in %.
    pub percent: u32,
    /// From one rise to the next.
    pub period_s: Seconds,
    /// The part of a period that is high, 0 to 1.
    pub duty: f64,
    /// How far into the wave the load starts.
    #[serde(default)]
    pub phase_s: Seconds,
}

/// Many idle processes with consecutive pids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// Position of the GPU in the scenario.
    pub gpu: usize,
    /// The first pid.
    pub pids_from: u32,
    /// How many.
    pub count: u32,
    /// Memory held by each, in MiB; `None`: the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// When they start.
    #[serde(default)]
    pub from_s: Seconds,
    /// When they end; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<Seconds>,
}

/// A time or a length of time: seconds in the file, whole microseconds in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Seconds(u64);

impl Seconds {
    /// Of whole microseconds.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// In whole microseconds.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.0
    }
}

impl From<f64> for Seconds {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which check refuses"
    )]
    fn from(seconds: f64) -> Self {
        Self((seconds * 1e6).round() as u64)
    }
}

impl From<Seconds> for f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for three centuries")]
    fn from(seconds: Seconds) -> Self {
        seconds.0 as f64 / 1e6
    }
}

fn default_driver_version() -> String {
    "550.54.15".into()
}

fn yes() -> bool {
    true
}

fn default_refresh() -> Seconds {
    Seconds(50_000)
}

fn default_period() -> Seconds {
    Seconds(166_667)
}

fn default_buffer() -> Seconds {
    Seconds(20_000_000)
}

impl Scenario {
    /// A scenario that begins now.
    #[must_use]
    pub fn starting_now(gpus: Vec<Gpu>) -> Self {
        let (epoch_us, driver_version) = (monotonic_us(), default_driver_version());
        Self { epoch_us, driver_version, gpus, loads: vec![], crowds: vec![], faults: vec![] }
    }

    /// Scenario time now, in µs; zero before the epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        monotonic_us().saturating_sub(self.epoch_us)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Where it cannot be read, is not a scenario, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self, Invalid> {
        let text =
            fs::read_to_string(path).map_err(|error| Invalid(format!("{}: {error}", path.display())))?;
        text.parse().map_err(|Invalid(why)| Invalid(format!("{}: {why}", path.display())))
    }

    /// Checks and writes a file, in one step for those who read it.
    ///
    /// # Errors
    /// Where it contradicts itself or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Invalid> {
        self.check()?;
        let text = serde_yaml::to_string(self).map_err(|error| Invalid(error.to_string()))?;
        let next = path.with_extension("next");
        let written = fs::File::create(&next).and_then(|mut file| file.write_all(text.as_bytes()));
        let placed = written.and_then(|()| fs::rename(&next, path));
        placed.map_err(|error| Invalid(format!("{}: {error}", path.display())))
    }
}

impl std::str::FromStr for Scenario {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let scenario: Self = serde_yaml::from_str(text).map_err(|error| Invalid(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }
}

impl Gpu {
    /// An H100 with this number in its uuid and bus id.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        Self {
            uuid: format!("GPU-00000000-0000-0000-0000-{number:012}"),
            model: "NVIDIA H100 80GB HBM3".into(),
            pci_bus_id: format!("00000000:{:02x}:00.0", 0x18 + number),
            idle_watts: 70,
            max_watts: 700,
            memory_mib: 81_559,
            counter: true,
            persistence: true,
            counter_offset_mj: 0,
            counter_refresh_s: default_refresh(),
            power_average_s: Seconds::default(),
            utilization_period_s: default_period(),
            utilization_buffer_s: default_buffer(),
            mig: vec![],
            mig_from_s: Seconds::default(),
            mig_until_s: None,
            gpm: true,
        }
    }
}

impl Load {
    /// A compute process with 1 GiB that runs from the epoch on, at `percent` of the SMs.
    #[must_use]
    pub fn constant(pid: u32, gpu: usize, percent: u32) -> Self {
        Self {
            pid,
            gpus: vec![gpu],
            kind: Kind::Compute,
            from_s: Seconds::default(),
            until_s: None,
            memory_mib: Some(1024),
            sm: Use::Constant(percent),
            mem: 0,
            enc: 0,
            dec: 0,
            mig: None,
        }
    }

    /// The same load, between two times in s.
    #[must_use]
    pub fn between(mut self, from_s: f64, until_s: f64) -> Self {
        (self.from_s, self.until_s) = (from_s.into(), Some(until_s.into()));
        self
    }
}

impl Crowd {
    /// Whether it is on this GPU at this moment.
    pub(crate) fn is_at(&self, gpu: usize, t_us: u64) -> bool {
        self.gpu == gpu && self.from_s.us() <= t_us && self.until_s.is_none_or(|until| t_us < until.us())
    }
}
