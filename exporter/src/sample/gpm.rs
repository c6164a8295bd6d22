//! How active the instances of a GPU in MIG mode are, by GPU performance monitoring (GPM): Hopper and newer have it.
//!
//! The driver compares two samples of a GPU instance, at least 100 ms apart. Each tick takes one, and compares it with
//! the one before: so all the time counts, and nothing is asked for twice.

use std::collections::{BTreeMap, BTreeSet};

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::{Device, GpmSample};
use wattribute::split::Instance;
use wattribute::units::Microseconds;

use super::answers::{Answer, Log};

/// How far apart two samples must be, with some room: the driver has its own clock.
const APART: Microseconds = Microseconds(110_000);
/// What is asked, the first that the GPU has counts.
const METRICS: [GpmMetricId; 2] = [GpmMetricId::SmUtil, GpmMetricId::GraphicsUtil];

/// A sample of a GPU instance, and what it said in comparison with the one before.
struct Taken<'a> {
    at: Microseconds,
    sample: GpmSample<'a>,
    activity: Option<u32>,
}

/// Remembers the last sample of each GPU instance.
#[derive(Default)]
pub struct Gpm<'a> {
    last: BTreeMap<u32, Taken<'a>>,
    /// Whether the driver did not know an instance the last time.
    pub lost: bool,
}

impl<'a> Gpm<'a> {
    /// The activity of each of these GPU instances since the last time, of [`Instance::FULLY_ACTIVE`]; without those
    /// of which it cannot be known, such as new ones.
    pub fn read(
        &mut self,
        device: &Device<'a>,
        log: &mut Log,
        (instances, now): (&BTreeSet<u32>, Microseconds),
    ) -> BTreeMap<u32, u32> {
        let supported = || match device.gpm_support() {
            Ok(false) => Err(NvmlError::NotSupported),
            other => other,
        };
        self.lost = false;
        self.last.retain(|id, _| instances.contains(id));
        if self.last.is_empty()
            && !matches!(log.call("nvmlGpmQueryDeviceSupport", supported), Answer::Value(_))
        {
            return BTreeMap::new();
        }
        let activity = |&id: &u32| Some((id, self.of_instance(device, log, (id, now))?));
        instances.iter().filter_map(activity).collect()
    }

    fn of_instance(
        &mut self,
        device: &Device<'a>,
        log: &mut Log,
        (id, now): (u32, Microseconds),
    ) -> Option<u32> {
        let before = self.last.remove(&id);
        if let Some(taken) = before.as_ref().filter(|taken| now.saturating_sub(taken.at) < APART) {
            let activity = taken.activity;
            self.last.extend(before.map(|taken| (id, taken)));
            return activity;
        }
        let sample = match log.call("nvmlGpmMigSampleGet", || device.gpm_mig_sample(id)) {
            Answer::Value(sample) => sample,
            Answer::Unsupported => return None,
            Answer::Failed => {
                self.lost = true;
                return None;
            }
        };
        let activity = before.and_then(|before| compare(device, log, [&before.sample, &sample]));
        self.last.insert(id, Taken { at: now, sample, activity });
        activity
    }
}

fn compare<'a>(device: &Device<'a>, log: &mut Log, [from, to]: [&GpmSample<'a>; 2]) -> Option<u32> {
    let get = || gpm_metrics_get(device.nvml(), from, to, &METRICS);
    let metrics = log.call("nvmlGpmMetricsGet", get).value()?;
    let percent = metrics.into_iter().flatten().map(|metric| metric.value).find(|value| value.is_finite())?;
    Some(of_all(percent))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn of_all(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) / 100.0 * f64::from(Instance::FULLY_ACTIVE)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_a_whole_number_of_thousandths() {
        assert_eq!([-1.0, 0.0, 33.3333, 100.0, 250.0].map(of_all), [0, 0, 33_333, 100_000, 100_000]);
    }
}
