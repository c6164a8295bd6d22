//! What `record` needs, out of what the user typed. Pure, as [`crate::settings`], whose checks it shares.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli;
use crate::settings::{Log, Source, interval, source};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Everything that `record` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The folder to be made.
    pub out: PathBuf,
    /// How long, unless told to stop.
    pub duration: Duration,
    /// Whether names are written as they are.
    pub keep_names: bool,
    /// The time between two samples.
    pub interval: Duration,
    /// Where the readings come from; no capture.
    pub source: Source,
    /// Where the host's /proc is mounted.
    pub procfs: PathBuf,
    /// What is logged and how.
    pub log: Log,
}

impl Record {
    /// Checks what was typed.
    ///
    /// # Errors
    /// Everything that is wrong, a line each: flag: what: way out.
    pub fn check(typed: cli::Record) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        if !(SHORTEST..=LONGEST).contains(&typed.duration) {
            errors.push(format!("--duration {:?}: out of range: choose from 1s to 24h", typed.duration));
        }
        errors.extend(interval(typed.sample_interval).err());
        let source = match source(typed.source.as_deref(), typed.nvml_library) {
            Ok(Source::Capture(path)) => {
                Err(format!("--source {}: this is recorded already: use nvml or demo", path.display()))
            }
            other => other,
        };
        let source = match source {
            Ok(source) if errors.is_empty() => source,
            Ok(_) => return Err(errors),
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        Ok(Self {
            out: typed.out,
            duration: typed.duration,
            keep_names: typed.keep_names,
            interval: typed.sample_interval,
            source,
            procfs: typed.procfs,
            log: Log { level: cli::LogLevel::Warn, format: cli::LogFormat::Logfmt },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[track_caller]
    fn check_record(line: &str, want: Result<Source, &[&str]>) {
        let words = ["wattribute", "record"].into_iter().chain(line.split_whitespace());
        let Some(cli::Command::Record(typed)) = cli::Cli::try_parse_from(words).expect("flags").command
        else {
            panic!("record is meant")
        };
        let checked = Record::check(typed).map(|record| record.source);
        assert_eq!(checked, want.map_err(|errors| errors.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn what_is_recorded_is_no_capture_and_takes_its_time() {
        check_record("--out=x --source=demo", Ok(Source::Demo));
        check_record(
            "--out=x --source=y --duration=0s --sample.interval=1ms",
            Err(&[
                "--duration 0ns: out of range: choose from 1s to 24h",
                "--sample.interval 1ms: out of range: choose from 100ms to 1m",
                "--source y: this is recorded already: use nvml or demo",
            ]),
        );
    }
}
