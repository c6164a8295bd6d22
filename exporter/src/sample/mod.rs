//! The sample stage: one thread for each GPU asks the source at a fixed rhythm and sends what it said.
//!
//! A thread that hangs in the driver delays nobody else. Nothing here knows of processes' owners or of energy
//! accounts; the account stage reads these samples.

mod answers;
mod energy;
mod gpm;
mod keeper;
mod lists;
mod mig;
pub mod nvml;
mod raw;
pub mod session;
mod ticks;
mod utilization;

use std::sync::Arc;
use std::time::Duration;

pub use ticks::{Sampler, Ticks};
use wattribute::meter::Counter;
use wattribute::split::InstanceId;
use wattribute::units::{Microseconds, Milliwatts};

/// What identifies a GPU and does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// As the driver writes it, `GPU-…`.
    pub uuid: Arc<str>,
    /// The driver's index.
    pub index: u32,
    /// The product name.
    pub model: Arc<str>,
    /// Domain, bus and device.
    pub pci_bus_id: String,
    /// The driver's version.
    pub driver_version: String,
    /// The highest power limit that can be set.
    pub max_power: Option<Milliwatts>,
}

/// A process that the driver lists on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// In the exporter's PID namespace, which should be the host's.
    pub pid: u32,
    /// The MIG instance it is on; `None` without MIG. A process on two instances is listed twice.
    pub instance: Option<InstanceId>,
    /// GPU memory in bytes; `None` where the driver does not say.
    pub memory: Option<u64>,
}

/// A MIG instance at the time of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigInstance {
    /// As the lists of processes name it.
    pub id: InstanceId,
    /// As the driver writes it, `MIG-…`.
    pub uuid: Arc<str>,
    /// Compute slices.
    pub slices: u32,
    /// Its memory in bytes; `None` where the driver does not say.
    pub memory: Option<u64>,
    /// Since the last sample, of [`wattribute::split::Instance::FULLY_ACTIVE`]; `None` where the driver cannot say.
    pub activity: Option<u32>,
}

/// How MIG has divided a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mig {
    /// Compute slices of the whole GPU.
    pub slices: u32,
    /// The instances that exist.
    pub instances: Vec<MigInstance>,
}

/// A process's utilisation as the driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmSample {
    /// Whose.
    pub pid: u32,
    /// When it was taken, Unix time.
    pub at: Microseconds,
    /// What the driver was asked for: what is newer than this, Unix time. `None` where that is unknown.
    pub since: Option<Microseconds>,
    /// Of the streaming multiprocessors; over 100 is garbage.
    pub percent: u32,
}

/// The processes of a GPU at the time of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// All that have a context on the GPU, by pid; `None` where the driver has no list of them.
    pub running: Option<Vec<Running>>,
    /// Their utilisation since the last sample, and that of processes which have just left; `None` where it
    /// cannot be had.
    pub utilization: Option<Vec<SmSample>>,
    /// Whether the driver spoke of processes, but only of such as it does not list: it counts pids in another
    /// namespace.
    pub strangers_only: bool,
}

/// Readings shown as they are; each is absent where the driver has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// The power drawn at this moment; `None` where only the mean is known.
    pub power: Option<Milliwatts>,
    /// Of the GPU, 0 to 1.
    pub utilization: Option<f64>,
    /// Bytes.
    pub memory_used: Option<u64>,
    /// Bytes.
    pub memory_total: Option<u64>,
    /// The limit in force.
    pub power_limit: Option<Milliwatts>,
    /// Degrees.
    pub temperature_celsius: Option<u32>,
    /// Of the streaming multiprocessors.
    pub sm_clock_megahertz: Option<u32>,
    /// Of the memory.
    pub memory_clock_megahertz: Option<u32>,
}

/// A call to the driver, for the metrics about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function, as NVML names it.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What went wrong, if anything did.
    pub error: Option<&'static str>,
}

/// What a GPU said at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When, on the monotonic clock.
    pub at: Microseconds,
    /// When, on the driver's clock (Unix time).
    pub unix: Microseconds,
    /// The energy counter.
    pub counter: Counter,
    /// The power drawn: the mean of the last second where the driver has it.
    pub power: Option<Milliwatts>,
    /// Who is on the GPU; `None` where the driver failed to say.
    pub processes: Option<Processes>,
    /// How MIG has divided the GPU; `None` without MIG.
    pub mig: Option<Mig>,
    /// Readings shown as they are.
    pub gauges: Gauges,
    /// The calls it took.
    pub calls: Vec<Call>,
}

impl Sample {
    /// Whether the driver answered what the accounting needs.
    pub fn is_complete(&self) -> bool {
        let energy = match self.counter {
            Counter::Value(_) => true,
            Counter::Unsupported => self.power.is_some(),
            Counter::Failed => false,
        };
        energy && self.processes.is_some()
    }
}

/// What the sampling threads send.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A GPU was found.
    Opened(Card),
    /// A GPU was asked.
    Sampled {
        /// Which.
        uuid: Arc<str>,
        /// What it said.
        sample: Box<Sample>,
    },
    /// Processes came to a GPU since its last sample. They may have gone by the next.
    Arrived {
        /// Which.
        uuid: Arc<str>,
        /// Who.
        running: Vec<Running>,
    },
    /// Calls that belong to no sample, made while a GPU was being opened.
    Called(Vec<Call>),
    /// The driver was loaded anew: its energy counters began at zero.
    DriverRestarted,
}
