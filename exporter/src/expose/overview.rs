//! What the page for people says, as plain values that the running exporter fills in.

use wattribute::owner::Owner;

/// What the page says.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Where the readings come from, as in the metric `source_info`: anything but `nvml` is marked as not real.
    pub source: String,
    /// The version of this exporter.
    pub version: String,
    /// Which rules are in force.
    pub rules: Rules,
    /// The GPUs by index.
    pub gpus: Vec<Gpu>,
    /// The owners, in the order they are to be shown.
    pub teams: Vec<Team>,
    /// The processes; `None` where single processes are not shown.
    pub processes: Option<Processes>,
}

/// The processes on all GPUs, as many as fit on a page.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// Those that are busiest first.
    pub rows: Vec<Process>,
    /// How many there are.
    pub all: usize,
}

/// A process on a GPU. What is not known is empty or `None`.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The driver's index of the GPU.
    pub gpu: u32,
    pub pid: u32,
    pub comm: String,
    pub user: String,
    pub workload: String,
    /// Who pays; `None` while that is being found out.
    pub owner: Option<Owner>,
    /// The rule, or why there is none.
    pub rule: String,
    /// `kernel`, `scheduler` or `declared`.
    pub evidence: String,
    /// GPU memory, in bytes.
    pub memory_bytes: Option<f64>,
    /// Share of the last interval in which it was busy.
    pub utilization_ratio: Option<f64>,
}

/// The state of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// No file was given: everything is unattributed.
    #[default]
    None,
    /// All files given are in force.
    InForce {
        /// How many rules they hold.
        rules: usize,
    },
    /// The last attempt to load them failed; the last good rules are in force.
    Refused {
        /// Every error, one to a line.
        errors: String,
    },
}

/// A GPU, live. What could not be read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Gpu {
    /// The driver's index.
    pub index: u32,
    /// The model, as the driver names it.
    pub model: String,
    /// The UUID.
    pub uuid: String,
    /// Whether the last reading succeeded.
    pub is_up: bool,
    /// Power drawn, in watts.
    pub power_watts: Option<f64>,
    /// Power limit in force, in watts.
    pub power_limit_watts: Option<f64>,
    /// Share of time in which a kernel ran, 0 to 1.
    pub utilization_ratio: Option<f64>,
    /// Temperature, in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_used_bytes: Option<f64>,
    /// Memory there is, in bytes.
    pub memory_total_bytes: Option<f64>,
}

/// An owner, over all GPUs.
#[derive(Clone, Debug)]
pub struct Team {
    /// Its labels.
    pub owner: Owner,
    /// Its share of the power drawn now, in watts.
    pub watts: Option<f64>,
    /// The energy booked to it since accounting began, in joules.
    pub joules: f64,
    /// Its processes on GPUs.
    pub processes: usize,
}

/// Whether the first complete sample is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// It is.
    Ready,
}
