//! Whether a sample is missing, by what the fake driver answered: every sample asks for the energy counter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use fake_nvml::Entry;

use crate::books::asks_for_energy;
use crate::soak::troubles::Excuse;

/// Between two samples of a GPU. Scenario time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Position of the GPU in the scenario.
    pub gpu: usize,
    /// The earlier sample.
    pub from: Duration,
    /// The later one.
    pub until: Duration,
}

/// Follows the samples.
#[derive(Debug, Default)]
pub struct Ticks {
    last: BTreeMap<usize, Duration>,
    /// How far the journal is read, in bytes.
    read: u64,
    /// All that were longer than what matters.
    gaps: Vec<Gap>,
    /// How many samples there were.
    pub seen: u64,
}

impl Ticks {
    /// Reads on in the journal; gaps up to `shortest` are not kept.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(&mut self, journal: &Path, shortest: Duration) -> io::Result<()> {
        let mut file = BufReader::new(File::open(journal)?);
        file.seek(SeekFrom::Start(self.read))?;
        loop {
            let mut line = String::new();
            let length = file.read_line(&mut line)?;
            // A line that is being written is for the next time.
            let Some(line) = line.strip_suffix('\n') else { return Ok(()) };
            self.read += length as u64;
            let entry: Entry = serde_json::from_str(line)?;
            if let (Some(gpu), Some(_), true) = (entry.gpu, entry.value, asks_for_energy(&entry)) {
                self.see(gpu, Duration::from_micros(entry.t_us), shortest);
            }
        }
    }

    fn see(&mut self, gpu: usize, until: Duration, shortest: Duration) {
        self.seen += 1;
        // Two threads' notes may be swapped, never those of one GPU.
        if let Some(from) = self.last.insert(gpu, until)
            && until.saturating_sub(from) > shortest
        {
            self.gaps.push(Gap { gpu, from, until });
        }
    }

    /// The gaps that nothing excuses.
    #[must_use]
    pub fn missed(&self, excuses: &[Excuse]) -> Vec<Gap> {
        let is_excused = |gap: &Gap| excuses.iter().any(|excuse| excuse.covers(gap.gpu, gap.from, gap.until));
        self.gaps.iter().filter(|gap| !is_excused(gap)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many gaps of over 2 s are missed when samples of GPU 1 came at these times in ms.
    #[track_caller]
    fn check(times: &[u64], excuses: &[Excuse], want: usize) {
        let mut ticks = Ticks::default();
        times.iter().for_each(|time| ticks.see(1, Duration::from_millis(*time), Duration::from_secs(2)));
        assert_eq!(ticks.missed(excuses).len(), want);
    }

    #[test]
    fn a_missing_sample_is_seen_and_may_be_excused() {
        check(&[100_000, 101_000, 102_900], &[], 0);
        check(&[100_000, 101_000, 103_500, 104_500, 108_000], &[], 2);
        let excuse = Excuse::all(Duration::from_secs(102), Duration::from_secs(102));
        check(&[100_000, 101_000, 103_500], &[excuse], 0);
    }
}
