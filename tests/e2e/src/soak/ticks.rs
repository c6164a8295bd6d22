//! Whether a sample is missing, by the times that scrapes show of each GPU's last one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::soak::troubles::Excuse;
use crate::text::Scrape;

const LAST: &str = "wattribute_gpu_last_sample_timestamp_seconds";

/// Between two samples of a GPU, one after the other as scrapes showed them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Position of the GPU in the scenario.
    pub gpu: usize,
    /// The earlier sample, in Unix time.
    pub from: Duration,
    /// The later one.
    pub until: Duration,
}

/// Follows the times of the last samples.
#[derive(Debug, Default)]
pub struct Ticks {
    last: BTreeMap<usize, Duration>,
    /// All that were seen, but for those too short to matter.
    pub gaps: Vec<Gap>,
    /// How many samples were seen.
    pub seen: u64,
}

impl Ticks {
    /// Looks at a scrape. GPUs are known by the digits at the end of their uuid; gaps below `shortest` are not kept.
    pub fn see(&mut self, scrape: &Scrape, shortest: Duration) {
        for sample in scrape.find(LAST, &[]) {
            let gpu = sample.labels["uuid"].rsplit('-').next().and_then(|digits| digits.parse().ok());
            let until = Duration::try_from_secs_f64(sample.number()).ok();
            let (Some(gpu), Some(until)) = (gpu, until) else { continue };
            let Some(from) = self.last.insert(gpu, until) else { continue };
            self.seen += u64::from(until != from);
            if until.saturating_sub(from) >= shortest {
                self.gaps.push(Gap { gpu, from, until });
            }
        }
    }

    /// The gaps longer than a time that nothing excuses.
    #[must_use]
    pub fn missed(&self, longer_than: Duration, excuses: &[Excuse]) -> Vec<Gap> {
        let is_excused = |gap: &Gap| excuses.iter().any(|excuse| excuse.covers(gap.gpu, gap.from, gap.until));
        let is_long = |gap: &&Gap| gap.until.saturating_sub(gap.from) > longer_than;
        self.gaps.iter().filter(is_long).filter(|gap| !is_excused(gap)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Format;

    /// How many gaps of over 2 s are missed when samples of GPU 1 came at these times.
    #[track_caller]
    fn check(times: &[f64], excuses: &[Excuse], want: usize) {
        let mut ticks = Ticks::default();
        for time in times {
            let text = format!("# TYPE {LAST} gauge\n{LAST}{{uuid=\"GPU-0-000001\"}} {time}\n");
            ticks.see(&Scrape::parse(&text, Format::Classic).expect("a scrape"), Duration::from_secs(1));
        }
        assert_eq!(ticks.missed(Duration::from_secs(2), excuses).len(), want);
    }

    #[test]
    fn a_missing_sample_is_seen_and_may_be_excused() {
        check(&[100.0, 100.0, 101.0, 102.9], &[], 0);
        check(&[100.0, 101.0, 103.5, 104.5, 108.0], &[], 2);
        let excuse = Excuse::all(Duration::from_secs(102), Duration::from_secs(102));
        check(&[100.0, 101.0, 103.5], &[excuse], 0);
    }
}
