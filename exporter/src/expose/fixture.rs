//! An exposition with every metric, for the tests of this stage and the golden files.

use super::metrics::{Definition, Exposition, Kind, Label, METRICS, Metric, Row, Value};
use std::collections::BTreeSet;
use wattribute::units::Millijoules;

/// Every metric with two series that differ in every label, apart from those without labels, which have one.
pub struct EveryMetric;

/// A label value that only correct escaping survives.
const HOSTILE: &str = "a \"quoted\" back\\slash,\nnew line} Größe ⚡";

const BUCKETS: &[(f64, u64)] = &[(0.0001, 3), (0.001, 40), (1.0, 2)];

impl Exposition for EveryMetric {
    fn rows(&self, metric: Metric, row: &mut Row<'_>) {
        let definition = METRICS.iter().find(|known| known.metric == metric).expect("in the table");
        row(&labels(definition, 0), value(definition, Millijoules(4_398_046_511_103_999)));
        if !definition.labels.is_empty() {
            row(&labels(definition, 1), value(definition, Millijoules(0)));
        }
    }
}

fn labels(definition: &Definition, series: usize) -> Vec<(&'static str, &'static str)> {
    let pairs = definition.labels.iter().flat_map(|label| match label {
        Label::Owner => {
            vec![("team", ["physics", HOSTILE][series]), ("project", ["sky-survey", "x"][series])]
        }
        Label::Named(name) => vec![(*name, example(definition.stem, name)[series])],
    });
    pairs.collect()
}

fn example(stem: &str, label: &str) -> [&'static str; 2] {
    match label {
        "basis" if stem == "gpu_idle_basis" => ["configured", "learnt"],
        "source" if stem == "source_info" => ["nvml", "demo"],
        "uuid" => ["GPU-8f6d3b1e-0000-4000-8000-000000000000", "GPU-8f6d3b1e-0000-4000-8000-000000000001"],
        "gpu" => ["0", "1"],
        "model" => ["NVIDIA H200", "NVIDIA A100-SXM4-40GB"],
        "pci_bus_id" => ["00000000:1B:00.0", "00000000:2B:00.0"],
        "driver_version" => ["580.95.05", "570.172.08"],
        "source" => ["counter", "power"],
        "basis" => ["utilization", "memory"],
        "clock" => ["sm", "memory"],
        "kind" => ["active", "idle"],
        "workload" => ["slurm:211", "pod:dev/trainer-0"],
        "pid" => ["4242", "4243"],
        "comm" => ["python3", HOSTILE],
        "user" => ["alice", "bob"],
        "rule" => ["slurm account", HOSTILE],
        "evidence" => ["kernel", "declared"],
        "reason" => ["vanished", "facts_timeout"],
        "call" => ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption"],
        "error" => ["gpu_is_lost", "timeout"],
        "version" => ["0.1.0", "0.2.0"],
        "revision" => ["abcdef0", "abcdef1"],
        other => panic!("an example of the label {other} is missing"),
    }
}

fn value(definition: &Definition, energy: Millijoules) -> Value<'static> {
    match definition.kind {
        Kind::Gauge if definition.unit.is_empty() => Value::Gauge(1.0),
        Kind::Gauge => Value::Gauge(0.625),
        Kind::Counter if definition.unit == "joules" => Value::Counter(energy.as_joules()),
        Kind::Counter => Value::Counter(12.0),
        Kind::Histogram => Value::Histogram { sum: 0.0765, count: 47, buckets: BUCKETS },
    }
}

/// Panics unless every row has the labels and the type that the table gives its metric, and no series is there
/// twice. For any exposition, so that the accounting's snapshots can be held to the table too.
#[track_caller]
pub fn check_rows(exposition: &dyn Exposition) {
    for definition in METRICS {
        let mut seen = BTreeSet::new();
        exposition.rows(definition.metric, &mut |labels, value| {
            let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
            let name = definition.name();
            // The series that sums what is beyond a limit has many owners, and so none.
            let is_other =
                labels.iter().any(|(name, value)| matches!(*name, "pid" | "workload") && *value == "other");
            let want: Vec<Label> = definition
                .labels
                .iter()
                .copied()
                .filter(|label| !(is_other && *label == Label::Owner))
                .collect();
            assert!(has_labels(&want, &names), "{name} has the labels {names:?}");
            let kind = match value {
                Value::Gauge(_) => Kind::Gauge,
                Value::Counter(_) => Kind::Counter,
                Value::Histogram { .. } => Kind::Histogram,
            };
            assert_eq!(kind, definition.kind, "{name}");
            let mut series: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            series.sort();
            assert!(seen.insert(series.clone()), "{name} has {series:?} twice");
        });
    }
}

fn has_labels(want: &[Label], got: &[&str]) -> bool {
    match (want, got) {
        ([], []) => true,
        ([Label::Named(name), want @ ..], [first, got @ ..]) => name == first && has_labels(want, got),
        ([Label::Owner, want @ ..], ["team", got @ ..]) => {
            (0..=got.len()).any(|others| has_labels(want, &got[others..]))
        }
        _ => false,
    }
}

#[test]
fn the_fixture_keeps_to_the_table() {
    check_rows(&EveryMetric);
}

#[test]
fn labels_are_those_of_the_table() {
    let want = [Label::Named("uuid"), Label::Owner, Label::Named("kind")];
    for right in [&["uuid", "team", "kind"][..], &["uuid", "team", "project", "stage", "kind"]] {
        assert!(has_labels(&want, right), "{right:?}");
    }
    for wrong in
        [&["uuid", "kind"][..], &["uuid", "team"], &["team", "uuid", "kind"], &["uuid", "project", "kind"]]
    {
        assert!(!has_labels(&want, wrong), "{wrong:?}");
    }
}
