//! What the calls of the driver cost and how they failed, for the exporter's metrics about them.

use std::collections::BTreeMap;

use crate::sample::Call;

/// Upper bounds of the histogram, in seconds: from a cheap register to a driver that hangs.
const BOUNDS: [f64; 11] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0];

/// Durations of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    pub sum: f64,
    pub count: u64,
    within: [u64; BOUNDS.len()],
}

impl Durations {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.within[bucket] += 1;
        }
    }

    /// Upper bounds, each with the number of durations above the bound before it.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.iter().copied().zip(self.within).collect()
    }
}

/// Calls by name, errors by name and error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    pub durations: BTreeMap<&'static str, Durations>,
    pub errors: BTreeMap<(&'static str, &'static str), u64>,
}

impl Calls {
    /// Counts these calls.
    pub fn count(&mut self, calls: &[Call]) {
        for call in calls {
            self.durations.entry(call.name).or_default().add(call.took.as_secs_f64());
            if let Some(error) = call.error {
                *self.errors.entry((call.name, error)).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let mut calls = Calls::default();
        let call = |micros, error| Call { name: "X", took: Duration::from_micros(micros), error };
        calls.count(&[call(100, None), call(101, Some("unknown")), call(60_000_000, None)]);
        let durations = &calls.durations["X"];
        assert_eq!((durations.count, &durations.within[..3]), (3, &[1, 1, 0][..]));
        assert_eq!(calls.errors[&("X", "unknown")], 1);
    }
}
