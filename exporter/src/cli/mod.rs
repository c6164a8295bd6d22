//! What the user typed, or set in the environment: the flags and subcommands, as they stand on the command line.
//!
//! Every default is named here and nowhere else. Whether the values make sense together is decided in
//! [`crate::settings`]; the help texts are the manual.

mod doctor;
mod explain;
mod manual;
mod render;
#[cfg(feature = "report")]
mod report;
mod serve;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

pub use doctor::Doctor;
pub use explain::{ColorChoice, Explain, ReportFormat};
pub use manual::{Completions, Manual};
pub use render::{Render, Writing};
#[cfg(feature = "report")]
pub use report::{Access, BillFormat, Differences, Report, Tolerance, Verify};
use serve::duration;
pub use serve::{LogFormat, LogLevel, Serve};

/// Accounts every joule of this machine's NVIDIA GPUs to the teams that used it, and exports that to Prometheus.
#[derive(Clone, Debug, Parser)]
#[command(name = "wattribute", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "\
Without a subcommand, wattribute serves. Each flag of `serve` can be set by the environment variable shown with \
it; what is typed goes first. SIGHUP reloads the rules, SIGUSR1 lets go of the GPUs (for a reset), SIGUSR2 takes \
them again, SIGTERM stops. The exit status is 0, 1 for what failed, or 2 for what cannot be meant.

Try it without a GPU:
  wattribute --source demo
  curl localhost:19288/metrics

On a machine with GPUs, from nothing:
  wattribute check --strict teams.yaml
  wattribute serve --rules.file teams.yaml --state.dir /var/lib/wattribute
  wattribute explain --pid 4711 --rules.file teams.yaml")]
pub struct Cli {
    /// What to do; nothing is `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `serve`, where no subcommand is given.
    #[command(flatten)]
    pub serve: Serve,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the exporter; also what no subcommand does
    Serve(Box<Serve>),
    /// Check rules files and run their own tests; exit with 1 and every failure
    Check(Check),
    /// Say which rule a process matches, and why the others do not
    Explain(Explain),
    /// Look at everything that `serve` needs, and say what to do
    ///
    /// Takes the flags of `serve`, changes nothing, and exits with 1 if the exporter would not start or would account
    /// nothing that is right.
    Doctor(Box<Doctor>),
    /// Write what NVML and /proc say, as a capture that `serve --source` replays
    ///
    /// Users, groups, hosts, paths, units, containers and the uuids of GPUs are replaced by pseudonyms, command lines
    /// and environments are left out. SIGINT or SIGTERM ends it early; what was recorded is kept.
    Record(Record),
    /// Write the chargeback of a closed period, out of a Prometheus-compatible server
    #[cfg(feature = "report")]
    Report(Box<Report>),
    /// Say whether reports are as they were written, and in which order
    #[cfg(feature = "report")]
    Verify(Verify),
    /// Make Prometheus rules of prices and budgets
    ///
    /// They are recorded as they hold: a new price begins on its day and never reprices the past. docs/money.md has the
    /// formats.
    Render(Render),
    /// Write what a shell needs to complete this command line, to standard output
    ///
    /// For bash: wattribute completions bash > /usr/share/bash-completion/completions/wattribute
    Completions(Completions),
    /// Write the manual pages, one for each command
    Manual(Manual),
}

/// What to record.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example, ten minutes of this machine, and their replay:
  wattribute record --out capture --duration 10m
  wattribute serve --source capture --rules.file teams.yaml")]
pub struct Record {
    /// Folder to write the capture to; it must not exist
    #[arg(long = "out", value_name = "DIR", required = true)]
    pub out: PathBuf,
    /// How long to record: 1s to 24h
    #[arg(long = "duration", value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub duration: Duration,
    /// Write users, groups, hosts, paths, units, containers and uuids as they are. They name people and what they
    /// work on: look through the capture before you give it to anybody
    #[arg(long = "keep-names")]
    pub keep_names: bool,
    /// How often the GPUs are read: 100ms to 1m
    #[arg(long = "sample.interval", value_name = "DURATION")]
    #[arg(env = "WATTRIBUTE_SAMPLE_INTERVAL", value_parser = duration, default_value = "1s")]
    pub sample_interval: Duration,
    /// Where the readings come from: `nvml`, the NVIDIA driver; or `demo`, simulated GPUs. If not given: nvml
    #[arg(long = "source", value_name = "SOURCE", env = "WATTRIBUTE_SOURCE")]
    pub source: Option<String>,
    /// The driver's library, where it is not found by itself: libnvidia-ml.so.1
    #[arg(long = "nvml.library", value_name = "PATH", env = "WATTRIBUTE_NVML_LIBRARY")]
    pub nvml_library: Option<PathBuf>,
    /// Where the host's /proc is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc", env = "WATTRIBUTE_PATH_PROCFS")]
    pub procfs: PathBuf,
}

/// What to check.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example, before rules are in force:
  wattribute check --strict /etc/wattribute/rules.d && systemctl reload wattribute")]
pub struct Check {
    /// Rules files, or folders of which all *.yaml count, in the order of their names; together they are one
    /// set of rules
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Fail on warnings too: on rules that never match, teams that anyone could claim, and the like
    #[arg(long = "strict")]
    strict: bool,
}

/// What warnings do to `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warnings {
    /// They are printed.
    Pass,
    /// They are printed, and the exit status is 1.
    Fail,
}

impl Check {
    /// What warnings do.
    pub fn warnings(&self) -> Warnings {
        if self.strict { Warnings::Fail } else { Warnings::Pass }
    }
}

/// What is wrong with a command line, in one line: without the usage, which `--help` has.
pub fn in_a_line(error: &str) -> String {
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
    let lines = error.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).filter(is_said);
    let bare = |line: &'_ str| {
        line.trim_start_matches("error: ").trim_start_matches("tip: ").trim_end_matches(':').to_owned()
    };
    let lines = lines.map(bare);
    format!("{}: see --help", lines.collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod manual_tests;
#[cfg(test)]
mod tests;
