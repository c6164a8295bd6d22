//! The one table of metrics: name, type, unit, labels and help of everything this exporter exposes.
//!
//! It holds no values: those come from an [`Exposition`], the snapshot that the accounting publishes. Read by
//! [`super::encode`]; `docs/metrics.md` is checked against it by a test.

/// What every name starts with, apart from those of the exporter's own process.
const PREFIX: &str = "wattribute_";

/// Takes the series of a metric one by one: labels with their values, and the value of the series.
pub type Row<'a> = dyn FnMut(&[(&str, &str)], Value<'_>) + 'a;

/// A source of values: one immutable snapshot. A value that cannot be had has no row.
pub trait Exposition: Send + Sync {
    /// Calls `row` once for every series of `metric`, with its labels and its value, in a stable order.
    fn rows(&self, metric: Metric, row: &mut Row<'_>);
}

/// The value of one series, in the unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A value that goes up and down. One that is not finite is left out.
    Gauge(f64),
    /// A value that only grows. One that is not finite is left out.
    Counter(f64),
    /// How often a value was at most as large as a bound.
    Histogram {
        /// The sum of all values observed.
        sum: f64,
        /// How many were observed.
        count: u64,
        /// Rising upper bounds, each with the number of values above the bound before it. `+Inf` need not be there.
        buckets: &'a [(f64, u64)],
    },
}

/// The type of a metric, as in its TYPE line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Counts by upper bound; three names, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// The word of the TYPE line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A label of this name, always there.
    Named(&'static str),
    /// The labels that the rules file lists, the team first; those without a value are left out.
    Owner,
}

/// One metric: everything about it but its values.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Which one it is.
    pub metric: Metric,
    /// The name without prefix, unit and `_total`; see [`Definition::name`].
    pub stem: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit, which is also the end of the name; empty where there is none.
    pub unit: &'static str,
    /// The labels of every series.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold rows and documents to it"))]
    pub labels: &'static [Label],
    /// What it means, in one line without a final stop.
    pub help: &'static str,
}

impl Definition {
    /// The name of the family as OpenMetrics has it, without the unit: prefix and stem.
    #[must_use]
    pub fn base(&self) -> String {
        let prefix = if self.metric.is_of_own_process() { "process_" } else { PREFIX };
        format!("{prefix}{}", self.stem)
    }

    /// The name that queries use: prefix, stem, unit and, for a counter, `_total`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.base();
        if !self.unit.is_empty() {
            name.push('_');
            name.push_str(self.unit);
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

macro_rules! label {
    (owner) => {
        Label::Owner
    };
    ($name:ident) => {
        Label::Named(stringify!($name))
    };
}

macro_rules! metrics {
    ($($metric:ident $kind:ident $stem:literal $unit:literal [$($label:ident)*] $help:literal;)*) => {
        /// A metric of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        /// Every metric, in the order of exposition.
        pub const METRICS: &[Definition] = &[$(Definition {
            metric: Metric::$metric,
            stem: $stem,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$(label!($label)),*],
            help: $help,
        },)*];
    };
}

metrics! {
    GpuInfo Gauge "gpu_info" "" [uuid gpu model pci_bus_id driver_version]
        "Names of a GPU, to be joined by uuid; always 1";
    GpuUp Gauge "gpu_up" "" [uuid]
        "Whether the last reading of the GPU succeeded";
    GpuLastSample Gauge "gpu_last_sample_timestamp" "seconds" [uuid]
        "When the GPU was last read, in Unix time";
    GpuEnergy Counter "gpu_energy" "joules" [uuid]
        "Energy of the GPU that is accounted, from 0 at its first reading";
    GpuEnergyCounterResets Counter "gpu_energy_counter_resets" "" [uuid]
        "How often the energy counter of the hardware went backwards";
    GpuEnergyDisbelieved Counter "gpu_energy_disbelieved" "joules" [uuid]
        "Increases of the hardware counter that were physically impossible and replaced by power times time";
    GpuEnergySource Gauge "gpu_energy_source" "" [uuid source]
        "Whether the energy comes from the hardware counter or from power times time";
    GpuSplitBasis Gauge "gpu_split_basis" "" [uuid basis]
        "By what the active energy of the last interval was split";
    GpuIdleBasis Gauge "gpu_idle_basis" "" [uuid basis]
        "Where the idle power in force comes from";
    GpuEnergyDisagreement Gauge "gpu_energy_disagreement" "ratio" [uuid]
        "How far the energy counter is from power times time over the last minutes, as a share of the latter";
    GpuPower Gauge "gpu_power" "watts" [uuid]
        "Power drawn now";
    GpuPowerLimit Gauge "gpu_power_limit" "watts" [uuid]
        "Power limit in force";
    GpuIdlePower Gauge "gpu_idle_power" "watts" [uuid]
        "Idle power in force, configured or learnt";
    GpuUtilization Gauge "gpu_utilization" "ratio" [uuid]
        "Share of the last driver sample in which a kernel ran, from 0 to 1";
    GpuMemoryUsed Gauge "gpu_memory_used" "bytes" [uuid]
        "Memory in use";
    GpuMemoryTotal Gauge "gpu_memory_total" "bytes" [uuid]
        "Memory of the GPU";
    GpuTemperature Gauge "gpu_temperature" "celsius" [uuid]
        "Temperature of the GPU";
    GpuClock Gauge "gpu_clock" "hertz" [uuid clock]
        "Clock rate now";
    TeamEnergy Counter "team_energy" "joules" [uuid owner kind]
        "Energy booked to an owner; over all owners and kinds it is the energy of the GPU";
    TeamEnergyEstimated Counter "team_energy_estimated" "joules" [uuid owner]
        "The part of an owner's energy that was split by an estimate, not by measured use";
    TeamGpuHeld Counter "team_gpu_held" "seconds" [uuid owner]
        "Time an owner held the GPU, computing or not";
    TeamGpuBusy Counter "team_gpu_busy" "seconds" [uuid owner]
        "Time an owner kept the GPU busy";
    TeamMemoryUsed Gauge "team_memory_used" "bytes" [uuid owner]
        "GPU memory used by an owner's processes";
    TeamProcesses Gauge "team_processes" "" [uuid owner]
        "Processes of an owner on the GPU";
    AttributionResidual Gauge "attribution_residual" "joules" [uuid]
        "Energy of the GPU less the sum over its owners; anything but 0 is a bug";
    WorkloadEnergy Counter "workload_energy" "joules" [uuid workload owner]
        "Energy of a job, pod, container or unit";
    WorkloadGpuHeld Counter "workload_gpu_held" "seconds" [uuid workload owner]
        "Time a job, pod, container or unit held the GPU";
    ProcessEnergy Counter "process_energy" "joules" [uuid pid comm user workload owner]
        "Energy of a process on a GPU";
    ProcessSmUtilization Gauge "process_sm_utilization" "ratio" [uuid pid comm user workload owner]
        "Share of the GPU's multiprocessor time that a process used, from 0 to 1";
    ProcessMemoryUsed Gauge "process_memory_used" "bytes" [uuid pid comm user workload owner]
        "GPU memory used by a process";
    ProcessStartTime Gauge "process_start_time" "seconds" [uuid pid comm user workload owner]
        "When a process on a GPU started, in Unix time";
    RuleEnergy Counter "rule_energy" "joules" [rule evidence]
        "Energy that a rule assigned, by the weakest evidence it used";
    RulesLastReloadSuccessful Gauge "rules_last_reload_successful" "" []
        "Whether the last attempt to load the rules succeeded; if not, the last good rules are in force";
    RulesLastReloadSuccess Gauge "rules_last_reload_success_timestamp" "seconds" []
        "When the rules in force were loaded, in Unix time";
    IdentifyFailures Counter "identify_failures" "" [reason]
        "Processes that could not be identified or assigned";
    NvmlErrors Counter "nvml_errors" "" [call error]
        "Failed calls of the NVIDIA driver library";
    NvmlCallDuration Histogram "nvml_call_duration" "seconds" [call]
        "Duration of calls of the NVIDIA driver library";
    PidNamespaceMismatch Gauge "pid_namespace_mismatch" "" []
        "Whether the exporter cannot see the host's processes, so that energy cannot be attributed";
    SourceInfo Gauge "source_info" "" [source]
        "Where the readings come from; anything but nvml is not real; always 1";
    StateWriteFailed Gauge "state_write_failed" "" []
        "Whether the last attempt to write the state failed";
    BuildInfo Gauge "build_info" "" [version revision]
        "The build of this exporter; always 1";
    OwnCpu Counter "cpu" "seconds" []
        "User and system CPU time of the exporter";
    OwnResidentMemory Gauge "resident_memory" "bytes" []
        "Resident memory of the exporter";
    OwnVirtualMemory Gauge "virtual_memory" "bytes" []
        "Virtual memory of the exporter";
    OwnOpenFds Gauge "open_fds" "" []
        "Open file descriptors of the exporter";
    OwnMaxFds Gauge "max_fds" "" []
        "Limit of open file descriptors of the exporter";
    OwnStartTime Gauge "start_time" "seconds" []
        "When the exporter started, in Unix time";
}

impl Metric {
    /// Whether it speaks of the exporter's own process and so carries the name every exporter gives it.
    #[must_use]
    pub fn is_of_own_process(self) -> bool {
        self >= Self::OwnCpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Type and labels by name, out of the table in `docs/metrics.md`.
    fn documented() -> BTreeMap<String, (String, String)> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let text = std::fs::read_to_string(page).expect("docs/metrics.md");
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
        let rows = text.lines().filter(|line| line.starts_with("| `")).map(cells);
        let mut table = BTreeMap::new();
        for row in rows {
            let described = row[5..].iter().take(3).all(|cell| !cell.is_empty());
            assert!(described, "{}: a meaning, an absence and a source are needed", row[1]);
            let unit = if row[3] == "–" { "" } else { &row[3] };
            let before = table.insert(row[1].clone(), (format!("{} {unit}", row[2]), row[4].clone()));
            assert_eq!(before, None, "{} is there twice", row[1]);
        }
        table
    }

    fn words(labels: &[Label]) -> String {
        let word = |label: &Label| match label {
            Label::Named(name) => *name,
            Label::Owner => "owner labels",
        };
        if labels.is_empty() { "–".into() } else { labels.iter().map(word).collect::<Vec<_>>().join(", ") }
    }

    #[test]
    fn the_documentation_says_what_the_code_does() {
        let coded = METRICS.iter().map(|metric| {
            (metric.name(), (format!("{} {}", metric.kind.as_str(), metric.unit), words(metric.labels)))
        });
        assert_eq!(documented(), coded.collect());
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = METRICS.iter().map(Definition::name).collect();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn a_name_is_made_of_prefix_stem_unit_and_total() {
        let name = |metric| METRICS.iter().find(|known| known.metric == metric).expect("in the table").name();
        assert_eq!(name(Metric::TeamEnergy), "wattribute_team_energy_joules_total");
        assert_eq!(name(Metric::GpuEnergyCounterResets), "wattribute_gpu_energy_counter_resets_total");
        assert_eq!(name(Metric::ProcessStartTime), "wattribute_process_start_time_seconds");
        assert_eq!(name(Metric::OwnStartTime), "process_start_time_seconds");
    }

    #[test]
    fn a_help_text_is_one_line_without_a_final_stop() {
        for metric in METRICS {
            assert!(
                !metric.help.contains(['\n', '\\', '"']) && !metric.help.ends_with('.'),
                "{}",
                metric.help
            );
        }
    }
}
