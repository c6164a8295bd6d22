//! A rate limit: so many requests at once, and then one in each interval. It reads no clock.

use std::time::{Duration, Instant};

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two requests; not zero.
    pub interval: Duration,
    /// How many may come at once; not zero.
    pub burst: u32,
}

/// How much of it is used.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    /// When as many requests are allowed at once as ever.
    full: Option<Instant>,
}

impl Bucket {
    /// Nothing is used.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full: None }
    }

    /// Whether a request may come now; if so it is counted.
    pub fn admits(&mut self, now: Instant) -> bool {
        let full = self.full.map_or(now, |full| full.max(now)) + self.rate.interval;
        let admitted = full - now <= self.rate.interval * self.rate.burst;
        if admitted {
            self.full = Some(full);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(burst: u32, requests: &[(u64, bool)]) {
        let begin = Instant::now();
        let mut bucket = Bucket::new(Rate { interval: Duration::from_millis(100), burst });
        let got = requests.iter().map(|(ms, _)| (*ms, bucket.admits(begin + Duration::from_millis(*ms))));
        assert_eq!(got.collect::<Vec<_>>(), requests);
    }

    #[test]
    fn one_comes_in_each_interval() {
        check(
            1,
            &[(0, true), (0, false), (99, false), (100, true), (150, false), (1000, true), (1001, false)],
        );
    }

    #[test]
    fn a_burst_may_come_at_once_and_comes_back_with_time() {
        check(3, &[(0, true), (0, true), (0, true), (0, false), (100, true), (100, false), (9000, true)]);
        check(2, &[(0, true), (9000, true), (9000, true), (9000, false)]);
    }
}
