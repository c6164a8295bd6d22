//! What a soak said: the figures as a table, and what is not as it must be.

use std::fmt::Write as _;
use std::time::Duration;

use crate::soak::ticks::Gap;
use crate::soak::usage::Usage;

/// Resident memory may differ by so much between the first quarter and the last: the allocator's own ups and downs.
const MEMORY_KB: u64 = 4096;
/// Or by this part of it, in per cent.
const MEMORY_PERCENT: u64 = 10;
/// Descriptors may differ by so many: guests are watched, each by one, and clients hold some more or fewer. What leaks
/// is found at rest, to the last one.
const DESCRIPTORS: u64 = 64;
const THREADS: u64 = 2;

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Once a second, after settling.
    pub usage: Vec<Usage>,
    /// Samples that nothing excuses the lack of.
    pub missed: Vec<Gap>,
    /// Samples of all GPUs that were seen.
    pub samples: u64,
    /// Audited scrapes.
    pub scrapes: usize,
    /// Requests of other clients that were answered, and connections that were abandoned.
    pub answered: u64,
    /// Connections that were left without waiting.
    pub abandoned: u64,
    /// Processes that came and went.
    pub guests: u64,
    /// Faults of the driver.
    pub troubles: usize,
    /// Rules that were read again, good and bad.
    pub reloads: usize,
    /// `kill -9`.
    pub kills: usize,
    /// With the steady crowd alone: before any guest or client came, and after all had gone.
    pub at_rest: Option<(Usage, Usage)>,
    /// What went wrong, in words.
    pub failures: Vec<String>,
}

impl Outcome {
    /// Everything that is not as it must be; nothing: the soak is passed.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.failures.clone();
        let gap = |gap: &Gap| {
            format!("gpu {}: no sample for {:.1} s", gap.gpu, (gap.until - gap.from).as_secs_f64())
        };
        faults.extend(self.missed.iter().take(10).map(gap));
        if let Some((before, after)) = self.at_rest
            && (after.sockets > before.sockets || after.descriptors > before.descriptors)
        {
            faults.push(format!("left open after all had gone: {after:?}, and before they came {before:?}"));
        }
        // After a restart memory begins anew: then it tells nothing.
        if self.kills == 0 {
            let (first, last) = self.quarters(|usage| usage.resident_kb);
            if last > first + MEMORY_KB.max(first * MEMORY_PERCENT / 100) {
                faults.push(format!("memory grew from {first} kB to {last} kB"));
            }
        }
        for (what, of, more) in [
            ("descriptors", (|usage| usage.descriptors) as fn(&Usage) -> u64, DESCRIPTORS),
            ("sockets", |usage| usage.sockets, DESCRIPTORS),
            ("threads", |usage| usage.threads, THREADS),
        ] {
            let (first, last) = self.quarters(of);
            if last > first + more {
                faults.push(format!("{what} grew from {first} to {last}"));
            }
        }
        faults
    }

    /// The medians of the first quarter and of the last.
    fn quarters(&self, of: impl Fn(&Usage) -> u64) -> (u64, u64) {
        let quarter = self.usage.len().div_ceil(4);
        let (first, last) = (&self.usage[..quarter], &self.usage[self.usage.len() - quarter..]);
        (median(first.iter().map(&of)), median(last.iter().map(&of)))
    }

    fn most(&self, of: impl Fn(&Usage) -> u64) -> u64 {
        self.usage.iter().map(of).max().unwrap_or(0)
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from("| what | first quarter | last quarter | most |\n|---|---|---|---|\n");
        for (what, of) in [
            ("resident memory, kB", (|usage| usage.resident_kb) as fn(&Usage) -> u64),
            ("threads", |usage| usage.threads),
            ("open descriptors", |usage| usage.descriptors),
            ("of these, sockets", |usage| usage.sockets),
        ] {
            let (first, last) = self.quarters(of);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {what} | {first} | {last} | {} |", self.most(of));
        }
        let rest = |of: fn(&Usage) -> u64| {
            self.at_rest.map_or(String::new(), |(before, after)| format!("{}, {}", of(&before), of(&after)))
        };
        let counts = [
            ("slope of resident memory, kB per hour", format!("{:.0}", self.slope_kb_per_hour())),
            ("open descriptors at rest, before and after", rest(|usage| usage.descriptors)),
            ("of these, sockets", rest(|usage| usage.sockets)),
            ("samples seen, missed", format!("{}, {}", self.samples, self.missed.len())),
            ("scrapes audited", self.scrapes.to_string()),
            ("other requests answered, abandoned", format!("{}, {}", self.answered, self.abandoned)),
            ("processes that came and went", self.guests.to_string()),
            ("faults of the driver", self.troubles.to_string()),
            ("reloads of the rules", self.reloads.to_string()),
            ("kill -9", self.kills.to_string()),
        ];
        table += "\n| what | |\n|---|---|\n";
        for (what, value) in counts {
            let _ = writeln!(table, "| {what} | {value} |");
        }
        table
    }

    /// By least squares.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn slope_kb_per_hour(&self) -> f64 {
        let points: Vec<(f64, f64)> =
            self.usage.iter().map(|one| (hours(one.at), one.resident_kb as f64)).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let rise: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let run: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if run > 0.0 { rise / run } else { 0.0 }
    }
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / 3600.0
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour in which memory and sockets grow by so much in all.
    fn outcome(memory_kb: u64, sockets: u64) -> Outcome {
        let usage = |second: u64| Usage {
            at: Duration::from_secs(second),
            resident_kb: 20_000 + memory_kb * second / 3600,
            threads: 20,
            descriptors: 100 + sockets * second / 3600,
            sockets: 10 + sockets * second / 3600,
        };
        Outcome { usage: (0..3600).map(usage).collect(), ..Outcome::default() }
    }

    #[track_caller]
    fn check(outcome: &Outcome, want: &[&str]) {
        let faults = outcome.faults();
        let fits =
            faults.len() == want.len() && faults.iter().zip(want).all(|(own, want)| own.contains(want));
        assert!(fits, "{faults:?}");
    }

    #[test]
    fn what_stays_flat_passes() {
        check(&outcome(1000, 4), &[]);
    }

    #[test]
    fn what_leaks_is_found() {
        check(&outcome(10_000, 0), &["memory grew from 21"]);
        check(&outcome(0, 100), &["descriptors grew", "sockets grew"]);
        let at_rest = Some((outcome(0, 0).usage[0], outcome(0, 9000).usage[1]));
        check(&Outcome { at_rest, ..outcome(0, 0) }, &["left open after all had gone"]);
        check(&Outcome { kills: 1, ..outcome(10_000, 0) }, &[]);
    }

    #[test]
    fn the_slope_is_per_hour() {
        assert!((outcome(3600, 0).slope_kb_per_hour() - 3600.0).abs() < 1.0);
    }
}
