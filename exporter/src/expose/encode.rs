//! Writes an [`Exposition`] as text: OpenMetrics 1.0, or the classic Prometheus format 0.0.4.
//!
//! Both are written from the same rows of the same table. A family without rows is left out, HELP and TYPE
//! included: that is what Prometheus's own client does, and metadata then name only what this exporter has.
//! Called by [`super::publish`], which keeps the results.

use super::metrics::{Definition, Exposition, Kind, METRICS, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Writes everything as OpenMetrics 1.0 text, `# EOF` included.
///
/// # Errors
/// Only if a family cannot be formatted, which would be a bug.
pub fn openmetrics(exposition: &Arc<dyn Exposition>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(Arc::clone(exposition))));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Writes everything in the classic text format 0.0.4.
///
/// # Errors
/// As [`openmetrics`].
pub fn classic(exposition: &Arc<dyn Exposition>) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for definition in METRICS {
        let name = definition.name();
        let mut outcome = Ok(());
        let mut is_first = true;
        exposition.rows(definition.metric, &mut |labels, value| {
            if outcome.is_err() || !is_known(value) {
                return;
            }
            outcome = (|| {
                if std::mem::take(&mut is_first) {
                    writeln!(out, "# HELP {name} {}", definition.help)?;
                    writeln!(out, "# TYPE {name} {}", definition.kind.as_str())?;
                }
                classic_row(&mut out, &name, labels, value)
            })();
        });
        outcome?;
    }
    Ok(out)
}

/// A number that is none is a reading that could not be had: no series.
fn is_known(value: Value<'_>) -> bool {
    match value {
        Value::Gauge(value) | Value::Counter(value) => value.is_finite(),
        Value::Histogram { sum, .. } => sum.is_finite(),
    }
}

/// The buckets as both formats want them: finite bounds, then infinity, which holds all the rest.
fn with_infinity(buckets: &[(f64, u64)], count: u64) -> Vec<(f64, u64)> {
    let mut all: Vec<_> = buckets.iter().copied().filter(|(bound, _)| bound.is_finite()).collect();
    let below: u64 = all.iter().map(|(_, count)| count).sum();
    all.push((f64::INFINITY, count.saturating_sub(below)));
    all
}

fn classic_row(out: &mut String, name: &str, labels: &[(&str, &str)], value: Value<'_>) -> fmt::Result {
    let (sum, count, buckets) = match value {
        Value::Gauge(value) | Value::Counter(value) => return classic_sample(out, name, labels, value),
        Value::Histogram { sum, count, buckets } => (sum, count, buckets),
    };
    let mut below = 0;
    for (bound, count) in with_infinity(buckets, count) {
        below += count;
        let bound = bound_text(bound);
        let mut labels = labels.to_vec();
        labels.push(("le", &bound));
        classic_sample(out, &format!("{name}_bucket"), &labels, below)?;
    }
    classic_sample(out, &format!("{name}_sum"), labels, sum)?;
    classic_sample(out, &format!("{name}_count"), labels, count)
}

/// As the client library writes it: "1.0", not "1", so that a bucket is one series whatever the format.
fn bound_text(bound: f64) -> String {
    let text = bound.to_string();
    if bound.is_infinite() {
        "+Inf".into()
    } else if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

fn classic_sample(
    out: &mut String,
    name: &str,
    labels: &[(&str, &str)],
    value: impl fmt::Display,
) -> fmt::Result {
    out.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        escape(out, text);
        out.push('"');
    }
    out.push_str(if labels.is_empty() { " " } else { "} " });
    writeln!(out, "{value}")
}

fn escape(out: &mut String, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// The whole exposition as one collector of the client library.
struct Families(Arc<dyn Exposition>);

impl fmt::Debug for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Families")
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        METRICS.iter().try_for_each(|definition| openmetrics_family(&mut encoder, definition, &*self.0))
    }
}

fn openmetrics_family(
    encoder: &mut DescriptorEncoder,
    definition: &Definition,
    exposition: &dyn Exposition,
) -> fmt::Result {
    let base = definition.base();
    let unit = Some(Unit::Other(definition.unit.into())).filter(|unit| !unit.as_str().is_empty());
    let mut head = Some(encoder);
    let mut family: Option<MetricEncoder> = None;
    let mut outcome = Ok(());
    exposition.rows(definition.metric, &mut |labels, value| {
        if outcome.is_err() || !is_known(value) {
            return;
        }
        outcome = (|| {
            if let Some(head) = head.take() {
                let kind = metric_type(definition.kind);
                family = Some(head.encode_descriptor(&base, definition.help, unit.as_ref(), kind)?);
            }
            family.as_mut().map_or(Ok(()), |family| openmetrics_row(family, labels, value))
        })();
    });
    outcome
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn openmetrics_row(family: &mut MetricEncoder, labels: &[(&str, &str)], value: Value<'_>) -> fmt::Result {
    if labels.is_empty() {
        return openmetrics_value(family, value);
    }
    openmetrics_value(&mut family.encode_family(&labels)?, value)
}

fn openmetrics_value(series: &mut MetricEncoder, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Gauge(value) => series.encode_gauge(&value),
        Value::Counter(value) => series.encode_counter::<NoLabelSet, _, f64>(&value, None),
        Value::Histogram { sum, count, buckets } => {
            series.encode_histogram::<NoLabelSet>(sum, count, &with_infinity(buckets, count), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::EveryMetric;
    use super::super::metrics::{Metric, Row};
    use super::*;
    use proptest::prelude::*;

    /// Compares with `tests/golden/<name>`; with `UPDATE_GOLDEN=1` in the environment it is written instead.
    #[track_caller]
    fn check_golden(name: &str, got: &str) {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, got).expect("the golden file is written");
        }
        let want = std::fs::read_to_string(&path).expect("the golden file");
        assert!(got == want, "{name} differs: run with UPDATE_GOLDEN=1 and read the diff");
    }

    #[test]
    fn every_metric_is_written_as_the_golden_files_have_it() {
        let everything: Arc<dyn Exposition> = Arc::new(EveryMetric);
        check_golden("every_metric.prom", &classic(&everything).expect("classic text"));
        check_golden("every_metric.om", &openmetrics(&everything).expect("OpenMetrics text"));
    }

    /// One metric with one series.
    struct One(Metric, Vec<(&'static str, &'static str)>, Value<'static>);

    impl Exposition for One {
        fn rows(&self, metric: Metric, row: &mut Row<'_>) {
            if metric == self.0 {
                row(&self.1, self.2);
            }
        }
    }

    #[track_caller]
    fn check(one: One, want_classic: &str, want_openmetrics: &str) {
        let one: Arc<dyn Exposition> = Arc::new(one);
        let samples = |text: String| {
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .fold(String::new(), |all, line| all + line + "\n")
        };
        assert_eq!(samples(classic(&one).expect("classic text")), want_classic);
        assert_eq!(samples(openmetrics(&one).expect("OpenMetrics text")), want_openmetrics);
    }

    #[test]
    fn energy_prints_as_the_exact_decimal() {
        let energy = |value| One(Metric::GpuEnergy, vec![("uuid", "u")], Value::Counter(value));
        let line = |value: &str| format!("wattribute_gpu_energy_joules_total{{uuid=\"u\"}} {value}\n");
        check(energy(0.1), &line("0.1"), &line("0.1"));
        check(energy(4_398_046_511_103.999), &line("4398046511103.999"), &line("4398046511103.999"));
        check(energy(0.0), &line("0"), &line("0.0"));
    }

    #[test]
    fn both_formats_print_the_same_number() {
        let mut seed = 88_172_645_463_325_252_u64;
        for bits in (1..=52).cycle().take(2000) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let energy = wattribute::units::Millijoules(seed >> (64 - bits));
            let want = energy.as_joules().to_string();
            let one = One(Metric::GpuEnergy, vec![], Value::Counter(energy.as_joules()));
            let line = |want: &str| format!("wattribute_gpu_energy_joules_total {want}\n");
            let float = if want.contains('.') { want.clone() } else { format!("{want}.0") };
            check(one, &line(&want), &line(&float));
        }
    }

    #[test]
    fn hostile_label_values_are_escaped() {
        let hostile = vec![("team", "\"\\\n\r\u{0}}⚡")];
        let line = "wattribute_team_processes{team=\"\\\"\\\\\\n\r\u{0}}⚡\"} 1";
        let one = One(Metric::TeamProcesses, hostile, Value::Gauge(1.0));
        let one: Arc<dyn Exposition> = Arc::new(one);
        assert!(classic(&one).expect("classic text").ends_with(&format!("\n{line}\n")));
        assert!(openmetrics(&one).expect("OpenMetrics text").ends_with(&format!("\n{line}.0\n# EOF\n")));
    }

    proptest! {
        #[test]
        fn both_formats_escape_alike_and_lose_nothing(text in "([^\u{1}]|[\"\\\\n\n])*") {
            let labelled = One(Metric::TeamProcesses, vec![("team", text.clone().leak())], Value::Gauge(1.0));
            let labelled: Arc<dyn Exposition> = Arc::new(labelled);
            let label = |text: String| {
                let line = text.lines().find(|line| !line.starts_with('#')).expect("a sample");
                let value = line.split_once("{team=\"").expect("a label").1.rsplit_once("\"} ").expect("its end").0;
                value.to_owned()
            };
            let written = label(classic(&labelled).expect("classic text"));
            prop_assert_eq!(&written, &label(openmetrics(&labelled).expect("OpenMetrics text")));
            let read = written.replace("\\\\", "\u{1}").replace("\\n", "\n").replace("\\\"", "\"");
            prop_assert_eq!(read.replace('\u{1}', "\\"), text);
        }
    }

    #[test]
    fn what_is_not_a_number_has_no_series() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            check(One(Metric::GpuPower, vec![("uuid", "u")], Value::Gauge(value)), "", "");
        }
    }

    #[test]
    fn a_bound_is_the_same_series_in_both_formats() {
        const BOUNDS: &[(f64, u64)] = &[(1e-6, 1), (2.5e-4, 1), (0.05, 1), (1.0, 1), (f64::INFINITY, 9)];
        let value = Value::Histogram { sum: 1.5, count: 6, buckets: BOUNDS };
        let one: Arc<dyn Exposition> = Arc::new(One(Metric::NvmlCallDuration, vec![], value));
        let bounds = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.contains("le=")).map(str::to_owned).collect()
        };
        let texts = (classic(&one).expect("classic text"), openmetrics(&one).expect("OpenMetrics text"));
        assert_eq!(bounds(&texts.0), bounds(&texts.1));
        assert_eq!(bounds(&texts.0).len(), 5);
        assert!(texts.0.contains("_bucket{le=\"1.0\"} 4\n") && texts.0.contains("_bucket{le=\"+Inf\"} 6\n"));
    }

    #[test]
    fn a_family_without_series_is_left_out() {
        struct Nothing;
        impl Exposition for Nothing {
            fn rows(&self, _: Metric, _: &mut Row<'_>) {}
        }
        let nothing: Arc<dyn Exposition> = Arc::new(Nothing);
        assert_eq!(classic(&nothing).as_deref(), Ok(""));
        assert_eq!(openmetrics(&nothing).as_deref(), Ok("# EOF\n"));
    }
}
