//! The rows of every metric, out of a snapshot of the account stage.
//!
//! One arm for each metric of the table; a value that cannot be had has no row.

use std::sync::Arc;

use wattribute::facts::Evidence;
use wattribute::meter::EnergySource;
use wattribute::owner::Owner;
use wattribute::split::{Amounts, Basis};

use super::metrics::{Exposition, Metric, Row, Value};
use crate::account::book::SeriesAmounts;
use crate::account::series::{SeriesLabels, Subject};
use crate::account::snapshot::{GpuView, ProcessView, Snapshot};
use crate::account::{IdleBasis, Latest};

/// What is shown beside the snapshot: facts about the exporter itself.
#[derive(Clone, Debug)]
pub struct About {
    /// `nvml`, `demo` or `capture`.
    pub source: &'static str,
    pub rules: RulesStatus,
    /// `None` without a state directory.
    pub state_write_failed: Option<bool>,
}

/// Whether the rules in force are those on disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RulesStatus {
    pub successful: bool,
    /// Unix time in seconds.
    pub success_timestamp: f64,
}

/// A snapshot that can be scraped.
pub struct Scrapable {
    pub snapshot: Arc<Snapshot>,
    pub about: About,
}

impl Exposition for Scrapable {
    fn rows(&self, metric: Metric, row: &mut Row<'_>) {
        use Metric as M;
        match metric {
            M::GpuInfo | M::GpuUp | M::GpuEnergySource | M::GpuSplitBasis | M::GpuIdleBasis | M::GpuClock => {
                self.snapshot.gpus.iter().for_each(|gpu| gpu_rows(metric, gpu, row));
            }
            M::GpuEnergy | M::GpuEnergyCounterResets | M::GpuEnergyDisbelieved | M::AttributionResidual => {
                self.account_rows(metric, row);
            }
            M::TeamEnergy | M::TeamEnergyEstimated | M::TeamGpuHeld | M::TeamGpuBusy => {
                self.owner_rows(metric, row);
            }
            M::TeamMemoryUsed | M::TeamProcesses => {
                self.snapshot.gpus.iter().for_each(|gpu| team_rows(metric, gpu, row));
            }
            M::WorkloadEnergy | M::WorkloadGpuHeld | M::ProcessEnergy => self.series_rows(metric, row),
            M::ProcessSmUtilization | M::ProcessMemoryUsed | M::ProcessStartTime => {
                self.process_rows(metric, row);
            }
            M::RuleEnergy | M::IdentifyFailures | M::NvmlErrors | M::NvmlCallDuration => {
                self.count_rows(metric, row);
            }
            _ => {
                self.about_rows(metric, row);
                self.snapshot.gpus.iter().for_each(|gpu| gauge_row(metric, gpu, row));
            }
        }
    }
}

impl Scrapable {
    fn account_rows(&self, metric: Metric, row: &mut Row<'_>) {
        for (uuid, account) in self.snapshot.visible.ledger.gpus() {
            let value = match metric {
                Metric::GpuEnergy => Value::Counter(account.energy.as_joules()),
                Metric::GpuEnergyCounterResets if !self.has_been_reset(uuid) => continue,
                Metric::GpuEnergyCounterResets => Value::Counter(float(account.resets)),
                Metric::GpuEnergyDisbelieved => Value::Counter(account.disbelieved.as_joules()),
                _ => Value::Gauge(millis(account.residual())),
            };
            row(&[("uuid", uuid)], value);
        }
    }

    /// Whether a GPU's counter ever went backwards, visibly or not yet: the series begins at 0 then, and not before,
    /// because promtool objects to its name.
    fn has_been_reset(&self, uuid: &Arc<str>) -> bool {
        let Snapshot { visible, hidden, .. } = &*self.snapshot;
        visible
            .ledger
            .gpus()
            .chain(hidden.ledger.gpus())
            .any(|(other, account)| other == uuid && account.resets > 0)
    }

    fn owner_rows(&self, metric: Metric, row: &mut Row<'_>) {
        for (uuid, account) in self.snapshot.visible.ledger.gpus() {
            for (owner, amounts) in &account.owners {
                let mut labels = vec![("uuid", &**uuid)];
                labels.extend(owner.labels());
                owner_row(metric, &mut labels, amounts, row);
            }
        }
    }

    fn series_rows(&self, metric: Metric, row: &mut Row<'_>) {
        for (id, labels) in &*self.snapshot.series {
            let amounts = self.snapshot.visible.series.get(id).copied().unwrap_or_default();
            let of_process = matches!(labels.subject, Subject::Process { .. });
            if of_process == (metric == Metric::ProcessEnergy) {
                row(&series_labels(labels), Value::Counter(series_value(metric, amounts)));
            }
        }
    }

    fn process_rows(&self, metric: Metric, row: &mut Row<'_>) {
        let processes = self.snapshot.gpus.iter().flat_map(|gpu| &gpu.processes);
        for process in processes {
            let labels = self.snapshot.series.get(&process.series).filter(|labels| labels.owner.is_some());
            if let (Some(labels), Some(value)) = (labels, process_value(metric, process)) {
                row(&series_labels(labels), Value::Gauge(value));
            }
        }
    }

    fn count_rows(&self, metric: Metric, row: &mut Row<'_>) {
        let Snapshot { visible, failures, calls, .. } = &*self.snapshot;
        match metric {
            Metric::RuleEnergy => visible.rules.iter().for_each(|(key, energy)| {
                let evidence = key.evidence.map_or("", Evidence::name);
                row(&[("rule", &key.rule), ("evidence", evidence)], Value::Counter(energy.as_joules()));
            }),
            Metric::IdentifyFailures => failures.iter().for_each(|(reason, count)| {
                row(&[("reason", reason)], Value::Counter(float(*count)));
            }),
            Metric::NvmlErrors => calls.errors.iter().for_each(|((call, error), count)| {
                row(&[("call", call), ("error", error)], Value::Counter(float(*count)));
            }),
            _ => calls.durations.iter().for_each(|(call, durations)| {
                let (sum, count, buckets) = (durations.sum, durations.count, &durations.buckets());
                row(&[("call", call)], Value::Histogram { sum, count, buckets });
            }),
        }
    }

    fn about_rows(&self, metric: Metric, row: &mut Row<'_>) {
        let RulesStatus { successful, success_timestamp } = self.about.rules;
        match metric {
            Metric::RulesLastReloadSuccessful => row(&[], flag(successful)),
            Metric::RulesLastReloadSuccess => row(&[], Value::Gauge(success_timestamp)),
            Metric::PidNamespaceMismatch => row(&[], flag(self.snapshot.pid_namespace_mismatch)),
            Metric::SourceInfo => row(&[("source", self.about.source)], flag(true)),
            Metric::StateWriteFailed => {
                self.about.state_write_failed.into_iter().for_each(|failed| row(&[], flag(failed)));
            }
            Metric::BuildInfo => row(
                &[("version", env!("CARGO_PKG_VERSION")), ("revision", env!("WATTRIBUTE_REVISION"))],
                flag(true),
            ),
            _ => {}
        }
    }
}

/// Rows of metrics that have others beside one reading for each GPU.
fn gpu_rows(metric: Metric, gpu: &GpuView, row: &mut Row<'_>) {
    let uuid = ("uuid", &*gpu.card.uuid);
    let mut choice = |label, chosen: Option<&str>, names: &[&str]| {
        for name in names.iter().filter(|_| chosen.is_some()) {
            row(&[uuid, (label, name)], flag(chosen == Some(name)));
        }
    };
    match metric {
        Metric::GpuUp => row(&[uuid], flag(gpu.up)),
        Metric::GpuInfo => {
            let index = gpu.card.index.to_string();
            let (model, bus, driver) = (&*gpu.card.model, &*gpu.card.pci_bus_id, &*gpu.card.driver_version);
            let labels =
                [uuid, ("gpu", &index), ("model", model), ("pci_bus_id", bus), ("driver_version", driver)];
            row(&labels, flag(true));
        }
        Metric::GpuEnergySource => {
            let source = live(gpu).and_then(|latest| latest.source).map(source_name);
            choice("source", source, &["counter", "power"]);
        }
        Metric::GpuSplitBasis => {
            choice(
                "basis",
                live(gpu).and(gpu.basis).map(basis_name),
                &["utilization", "mig", "memory", "equal"],
            );
        }
        Metric::GpuIdleBasis => {
            let basis = gpu.latest.map(|latest| idle_basis_name(latest.idle_basis));
            choice("basis", basis, &["configured", "learnt", "unknown"]);
        }
        _ => {
            let gauges = live(gpu).map(|latest| latest.gauges);
            let clocks = [
                ("sm", gauges.and_then(|gauges| gauges.sm_clock_megahertz)),
                ("memory", gauges.and_then(|gauges| gauges.memory_clock_megahertz)),
            ];
            for (clock, megahertz) in clocks {
                let hertz = megahertz.map(|megahertz| f64::from(megahertz) * 1e6);
                hertz.into_iter().for_each(|hertz| row(&[uuid, ("clock", clock)], Value::Gauge(hertz)));
            }
        }
    }
}

/// The row of a metric that is one reading for each GPU.
fn gauge_row(metric: Metric, gpu: &GpuView, row: &mut Row<'_>) {
    let latest = live(gpu);
    let gauges = latest.map(|latest| latest.gauges);
    let value = match metric {
        // Of a GPU that fell silent this says since when.
        Metric::GpuLastSample => gpu.latest.map(|latest| latest.unix.as_seconds()),
        Metric::GpuEnergyDisagreement => latest.and_then(|latest| latest.disagreement),
        Metric::GpuPower => latest
            .and_then(|latest| latest.gauges.power.or(latest.power))
            .map(wattribute::units::Milliwatts::as_watts),
        Metric::GpuIdlePower => {
            gpu.latest.and_then(|latest| latest.idle_power).map(wattribute::units::Milliwatts::as_watts)
        }
        Metric::GpuPowerLimit => {
            gauges.and_then(|gauges| gauges.power_limit).map(wattribute::units::Milliwatts::as_watts)
        }
        Metric::GpuUtilization => gauges.and_then(|gauges| gauges.utilization),
        Metric::GpuMemoryUsed => gauges.and_then(|gauges| gauges.memory_used).map(float),
        Metric::GpuMemoryTotal => gauges.and_then(|gauges| gauges.memory_total).map(float),
        Metric::GpuTemperature => gauges.and_then(|gauges| gauges.temperature_celsius).map(f64::from),
        _ => None,
    };
    value.into_iter().for_each(|value| row(&[("uuid", &gpu.card.uuid)], Value::Gauge(value)));
}

/// The readings of a GPU that answers.
fn live(gpu: &GpuView) -> Option<Latest> {
    gpu.latest.filter(|_| gpu.up)
}

fn team_rows(metric: Metric, gpu: &GpuView, row: &mut Row<'_>) {
    for (owner, team) in &gpu.teams {
        let mut labels = vec![("uuid", &*gpu.card.uuid)];
        labels.extend(owner.labels());
        match metric {
            Metric::TeamProcesses => row(&labels, Value::Gauge(float(team.processes as u64))),
            _ => team.memory.into_iter().for_each(|bytes| row(&labels, Value::Gauge(float(bytes)))),
        }
    }
}

fn owner_row(metric: Metric, labels: &mut Vec<(&str, &str)>, amounts: &Amounts, row: &mut Row<'_>) {
    match metric {
        Metric::TeamEnergy => {
            for (kind, energy) in [("active", amounts.active), ("idle", amounts.idle)] {
                labels.push(("kind", kind));
                row(labels, Value::Counter(energy.as_joules()));
                labels.pop();
            }
        }
        Metric::TeamEnergyEstimated => row(labels, Value::Counter(amounts.estimated.as_joules())),
        Metric::TeamGpuHeld => row(labels, Value::Counter(amounts.held.as_seconds())),
        _ => row(labels, Value::Counter(amounts.busy.as_seconds())),
    }
}

fn series_labels(labels: &SeriesLabels) -> Vec<(&str, &str)> {
    let mut pairs = vec![("uuid", &*labels.uuid)];
    match &labels.subject {
        Subject::Process { pid, comm, user, workload } => {
            pairs.extend([("pid", &**pid), ("comm", comm), ("user", user), ("workload", workload)]);
        }
        Subject::Workload(name) => pairs.push(("workload", name)),
    }
    pairs.extend(labels.owner.iter().flat_map(Owner::labels));
    pairs
}

fn series_value(metric: Metric, amounts: SeriesAmounts) -> f64 {
    match metric {
        Metric::WorkloadGpuHeld => amounts.held.as_seconds(),
        _ => amounts.energy.as_joules(),
    }
}

fn process_value(metric: Metric, process: &ProcessView) -> Option<f64> {
    match metric {
        Metric::ProcessSmUtilization => process.utilization,
        Metric::ProcessMemoryUsed => process.memory.map(float),
        _ => Some(process.started),
    }
}

fn flag(is: bool) -> Value<'static> {
    Value::Gauge(if is { 1.0 } else { 0.0 })
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "0, or a bug of any size")]
fn millis(count: i128) -> f64 {
    count as f64 / 1e3
}

fn source_name(source: EnergySource) -> &'static str {
    match source {
        EnergySource::Counter => "counter",
        EnergySource::Power => "power",
    }
}

fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Utilization => "utilization",
        Basis::Mig => "mig",
        Basis::Memory => "memory",
        Basis::Equal => "equal",
    }
}

fn idle_basis_name(basis: IdleBasis) -> &'static str {
    match basis {
        IdleBasis::Configured => "configured",
        IdleBasis::Learnt => "learnt",
        IdleBasis::Unknown => "unknown",
    }
}
