//! The lines of one metric together: whether names, types and values fit each other.

use std::collections::BTreeMap;

use super::{Format, Sample};

/// One metric while it is being read.
pub(super) struct Family {
    pub name: String,
    format: Format,
    kind: Option<&'static Kind>,
    unit: bool,
    sampled: bool,
    histograms: BTreeMap<BTreeMap<String, String>, Histogram>,
}

/// A type: its name, the suffixes of its samples in each format, and whether values only grow.
struct Kind {
    name: &'static str,
    classic: &'static [&'static str],
    open: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind { name: "counter", classic: &[""], open: &["_total", "_created"] },
    Kind { name: "gauge", classic: &[""], open: &[""] },
    Kind { name: "histogram", classic: HISTOGRAM, open: HISTOGRAM_CREATED },
    Kind { name: "summary", classic: &["", "_sum", "_count"], open: &["", "_sum", "_count", "_created"] },
    Kind { name: "untyped", classic: &[""], open: &[] },
    Kind { name: "unknown", classic: &[], open: &[""] },
    Kind { name: "info", classic: &[], open: &["_info"] },
    Kind { name: "stateset", classic: &[], open: &[""] },
];

const HISTOGRAM: &[&str] = &["_bucket", "_sum", "_count"];
const HISTOGRAM_CREATED: &[&str] = &["_bucket", "_sum", "_count", "_created"];

#[derive(Default)]
struct Histogram {
    last: Option<(f64, f64)>,
    count: Option<f64>,
}

impl Kind {
    fn suffixes(&self, format: Format) -> &'static [&'static str] {
        match format {
            Format::Classic => self.classic,
            Format::OpenMetrics => self.open,
        }
    }
}

impl Family {
    pub fn new(name: &str, format: Format) -> Self {
        let histograms = BTreeMap::new();
        Self { name: name.into(), format, kind: None, unit: false, sampled: false, histograms }
    }

    /// Whether a line about the metric itself may stand here.
    pub fn metadata(&self) -> Result<(), String> {
        if self.sampled { Err(format!("{}: TYPE, HELP or UNIT after a sample", self.name)) } else { Ok(()) }
    }

    pub fn set_type(&mut self, name: &str) -> Result<(), String> {
        self.metadata()?;
        let known = KINDS.iter().find(|kind| kind.name == name && !kind.suffixes(self.format).is_empty());
        let kind = known.ok_or_else(|| format!("{}: {name:?} is no type", self.name))?;
        if self.format == Format::OpenMetrics && kind.name == "counter" && self.name.ends_with("_total") {
            return Err(format!("{}: the TYPE of a counter is without _total", self.name));
        }
        if self.kind.replace(kind).is_some() { Err(format!("{}: a second TYPE", self.name)) } else { Ok(()) }
    }

    pub fn set_unit(&mut self, unit: &str) -> Result<(), String> {
        self.metadata()?;
        if unit.is_empty() || !self.name.ends_with(&format!("_{unit}")) {
            return Err(format!("{} does not end in its unit {unit:?}", self.name));
        }
        if std::mem::replace(&mut self.unit, true) { Err("a second UNIT".into()) } else { Ok(()) }
    }

    /// Whether a sample of this name is one of this metric.
    pub fn owns(&self, name: &str) -> bool {
        let suffix = name.strip_prefix(&self.name);
        let suffixes = self.kind.map(|kind| kind.suffixes(self.format)).unwrap_or_default();
        suffix.is_some_and(|suffix| suffixes.contains(&suffix))
    }

    pub fn add(&mut self, sample: &Sample) -> Result<(), String> {
        self.sampled = true;
        let kind = self.kind.map_or("", |kind| kind.name);
        let value = sample.number();
        if matches!(kind, "counter" | "histogram")
            && !sample.name.ends_with("_sum")
            && (value < 0.0 || value.is_nan())
        {
            return Err(format!("{}: {} cannot be a count", sample.name, sample.value));
        }
        if kind == "info" && sample.value != "1" {
            return Err(format!("{}: an info is 1", sample.name));
        }
        if kind == "histogram" { self.add_to_histogram(sample, value) } else { Ok(()) }
    }

    fn add_to_histogram(&mut self, sample: &Sample, value: f64) -> Result<(), String> {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le");
        let histogram = self.histograms.entry(labels).or_default();
        if sample.name.ends_with("_count") {
            histogram.count = Some(value);
        }
        if !sample.name.ends_with("_bucket") {
            return Ok(());
        }
        let bound = le.and_then(|le| le.parse::<f64>().ok()).ok_or("a bucket without le")?;
        let grows = histogram.last.is_none_or(|(last, count)| last < bound && count <= value);
        histogram.last = Some((bound, value));
        if grows { Ok(()) } else { Err(format!("{}: buckets do not grow", sample.name)) }
    }

    /// What can be said only when all of it has been read.
    pub fn close(self) -> Result<(), String> {
        if self.kind.is_none() {
            return Err(format!("{} has no TYPE", self.name));
        }
        let whole = |own: &Histogram| own.last == own.count.map(|count| (f64::INFINITY, count));
        if self.histograms.values().all(whole) {
            return Ok(());
        }
        Err(format!("{}: the last bucket is not +Inf with the count", self.name))
    }
}
