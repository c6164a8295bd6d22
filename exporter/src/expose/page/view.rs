//! What the page says, as plain values: [`super::gather`] finds them, the files beside it write them.

use jiff::Zoned;
use wattribute::owner::{Owner, Reserved};

use super::history::Chart;
use crate::expose::overview::Rules;

/// What the page says. What could not be read is `None` or empty.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The machine's name.
    pub host: String,
    /// The version of this exporter.
    pub version: String,
    /// When the snapshot was taken, by the machine's clock and zone.
    pub now: Zoned,
    /// Whether the first complete sample is in.
    pub is_ready: bool,
    pub state: State,
    /// By index.
    pub gpus: Vec<Gpu>,
    pub teams: Teams,
    pub chart: Chart,
    /// `None` where single processes are not shown.
    pub processes: Option<Processes>,
}

/// The state of the exporter itself.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// As in the metric `source_info`: anything but `nvml` is marked as not real.
    pub source: String,
    /// The versions of the driver, mostly one.
    pub drivers: Vec<String>,
    /// Calls to the driver that failed, since the start.
    pub failed_calls: u64,
    pub rules: Rules,
    /// How many rules are in force.
    pub rule_count: usize,
    /// Since when they are.
    pub rules_since: Zoned,
    /// What the teams were given more or less than the GPUs drew, over all GPUs.
    pub residual_joules: f64,
    /// How far the counters are behind this page.
    pub delay_seconds: f64,
    /// Whether the ledger could not be written; `None` without a state directory.
    pub state_write_failed: Option<bool>,
    /// Whether the driver speaks of processes that this machine does not have.
    pub pid_namespace_mismatch: bool,
}

/// A GPU, live.
#[derive(Clone, Debug, Default)]
pub struct Gpu {
    /// The driver's index.
    pub index: u32,
    pub model: String,
    pub uuid: String,
    /// Whether it answers.
    pub is_up: bool,
    /// When it last answered.
    pub heard: Option<Zoned>,
    pub power_watts: Option<f64>,
    /// The limit in force.
    pub power_limit_watts: Option<f64>,
    /// Share of time in which a kernel ran, 0 to 1.
    pub utilization_ratio: Option<f64>,
    pub temperature_celsius: Option<f64>,
    pub memory_used_bytes: Option<f64>,
    pub memory_total_bytes: Option<f64>,
    /// Who draws its power, those that draw most first.
    pub users: Vec<User>,
    /// What its power is divided by, where that is an estimate.
    pub estimated_by: Option<&'static str>,
}

/// An owner on one GPU.
#[derive(Clone, Debug)]
pub struct User {
    pub owner: Owner,
    pub colour: Colour,
    /// Its part of what the GPU drew in the last interval.
    pub watts: Option<f64>,
    /// Its processes there.
    pub processes: usize,
}

/// The owners, over all GPUs.
#[derive(Clone, Debug, Default)]
pub struct Teams {
    /// Since when their energy is counted here.
    pub since: Zoned,
    pub because: Because,
    /// As many as fit on a page, in the order they are to be shown.
    pub rows: Vec<Team>,
    /// How many do not fit.
    pub left: usize,
    /// All of them together, those that do not fit too.
    pub sum: Team,
}

/// Why the energy is counted from when it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Because {
    /// It was midnight.
    Midnight,
    /// The exporter began.
    #[default]
    Start,
    /// The clock was set.
    Clock,
}

/// An owner, over all GPUs.
#[derive(Clone, Debug)]
pub struct Team {
    pub owner: Owner,
    pub colour: Colour,
    /// Its part of the power drawn now.
    pub watts: Option<f64>,
    /// What it drew since [`Teams::since`].
    pub joules: f64,
    /// On how many GPUs it draws power or has processes.
    pub gpus: usize,
    /// Its processes on GPUs.
    pub processes: usize,
}

impl Default for Team {
    fn default() -> Self {
        let owner = Owner::new::<&str, &str>([]);
        Self { owner, colour: Colour::Others, watts: None, joules: 0.0, gpus: 0, processes: 0 }
    }
}

/// The colour of a team, the same in the chart, on the GPUs and in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// One of the eight that draw most.
    Slot(u8),
    /// One of the rest.
    Others,
    /// No team of a rule.
    Reserved(Reserved),
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
