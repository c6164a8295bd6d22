//! What the exporter itself uses: CPU time, memory and file descriptors, out of `/proc/self`.
//!
//! Read when a snapshot is first encoded, by [`super::publish`]. Needs no privilege and no `--path.procfs`.

use super::metrics::{Metric, Value};
use procfs::process::{LimitValue, Process};

/// One reading of the exporter's own process. What could not be read is `None` and has no series.
#[derive(Debug, Default)]
pub struct OwnProcess {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    start_seconds: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
impl OwnProcess {
    /// Reads it now.
    #[must_use]
    pub fn read() -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let stat = process.stat().ok();
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let max_fds = process.limits().ok().map(|limits| limits.max_open_files.soft_limit);
        Self {
            cpu_seconds: stat.as_ref().map(|stat| seconds(stat.utime + stat.stime)),
            resident_bytes: stat.as_ref().map(|stat| (stat.rss * procfs::page_size()) as f64),
            virtual_bytes: stat.as_ref().map(|stat| stat.vsize as f64),
            open_fds: process.fd_count().ok().map(|count| count as f64),
            max_fds: max_fds.and_then(|limit| match limit {
                LimitValue::Value(limit) => Some(limit as f64),
                LimitValue::Unlimited => None,
            }),
            start_seconds: stat
                .zip(procfs::boot_time_secs().ok())
                .map(|(stat, boot)| boot as f64 + seconds(stat.starttime)),
        }
    }

    /// The value of one of the metrics `process_*`.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<Value<'static>> {
        match metric {
            Metric::OwnCpu => self.cpu_seconds.map(Value::Counter),
            Metric::OwnResidentMemory => self.resident_bytes.map(Value::Gauge),
            Metric::OwnVirtualMemory => self.virtual_bytes.map(Value::Gauge),
            Metric::OwnOpenFds => self.open_fds.map(Value::Gauge),
            Metric::OwnMaxFds => self.max_fds.map(Value::Gauge),
            Metric::OwnStartTime => self.start_seconds.map(Value::Gauge),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::METRICS;
    use super::*;

    #[test]
    fn every_metric_of_the_own_process_has_a_value() {
        let own = OwnProcess::read();
        for definition in METRICS.iter().filter(|definition| definition.metric.is_of_own_process()) {
            let value = own.value(definition.metric);
            let positive = matches!(value, Some(Value::Gauge(value) | Value::Counter(value)) if value >= 0.0);
            assert!(positive, "{}: {value:?}", definition.name());
        }
    }
}
