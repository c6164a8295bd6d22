//! What the user typed, or set in the environment: the flags and subcommands, as they stand on the command line.
//!
//! Every default is named here and nowhere else. Whether the values make sense together is decided in
//! [`crate::settings`]; the help texts are the manual.

mod explain;
mod render;
#[cfg(feature = "report")]
mod report;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub use explain::{ColorChoice, Explain, ReportFormat};
pub use render::{Render, Writing};
#[cfg(feature = "report")]
pub use report::{Access, BillFormat, Differences, Report, Verify};

/// Accounts every joule of this machine's NVIDIA GPUs to the teams that used it, and exports that to Prometheus.
#[derive(Clone, Debug, Parser)]
#[command(name = "wattribute", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "\
Without a subcommand, wattribute serves. Each flag of `serve` can be set by the environment variable shown with \
it; what is typed goes first. SIGHUP reloads the rules, SIGUSR1 lets go of the GPUs (for a reset), SIGUSR2 takes \
them again, SIGTERM stops. Try it without a GPU:

  wattribute --source demo
  curl localhost:19288/metrics")]
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
}

/// What to record.
#[derive(Args, Clone, Debug)]
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

/// The flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address to listen on: host:port, [IPv6]:port, or :port for all addresses. Repeatable; in the environment
    /// several are separated by commas
    #[arg(long = "web.listen-address", value_name = "ADDRESS", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_LISTEN_ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:19288")]
    pub listen_addresses: Vec<String>,

    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_TELEMETRY_PATH", default_value = "/metrics")]
    pub telemetry_path: String,

    /// How many scrapes may run at once; those beyond are answered with 503. 0 is no limit
    #[arg(long = "web.max-requests", value_name = "NUMBER", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_MAX_REQUESTS", default_value = "40")]
    pub max_requests: usize,

    /// Reload the rules on POST or PUT to /-/reload. SIGHUP always does
    #[arg(long = "web.enable-lifecycle", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_ENABLE_LIFECYCLE", value_parser = BoolishValueParser::new())]
    pub enable_lifecycle: bool,

    /// Show single processes: /api/v1/processes, and their rows on the page. Whoever reaches the address can
    /// then see who runs what on which GPU; never command lines or environments
    #[arg(long = "web.enable-processes", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_ENABLE_PROCESSES", value_parser = BoolishValueParser::new())]
    pub enable_processes: bool,

    /// Rules that map processes to teams: a file, or a folder of which all *.yaml count. Repeatable; in the
    /// environment several are separated by commas. Without rules everything is unattributed
    #[arg(long = "rules.file", value_name = "PATH", help_heading = "Accounting")]
    #[arg(env = "WATTRIBUTE_RULES_FILE", value_delimiter = ',')]
    pub rules_files: Vec<PathBuf>,

    /// How often the GPUs are read: 100ms to 1m
    #[arg(long = "sample.interval", value_name = "DURATION", help_heading = "Accounting")]
    #[arg(env = "WATTRIBUTE_SAMPLE_INTERVAL", value_parser = duration, default_value = "1s")]
    pub sample_interval: Duration,

    /// How far behind the ledger the counters are exposed, so that Prometheus sees every series start at 0: at
    /// least two scrape intervals [default: 60s; 5s with --source demo or a capture]
    #[arg(long = "exposition.delay", value_name = "DURATION", help_heading = "Accounting")]
    #[arg(env = "WATTRIBUTE_EXPOSITION_DELAY", value_parser = duration)]
    pub exposition_delay: Option<Duration>,

    /// Folder that keeps the ledger over restarts. Without it the accounts begin at 0 with every start
    #[arg(long = "state.dir", value_name = "DIR", env = "WATTRIBUTE_STATE_DIR", help_heading = "Accounting")]
    pub state_dir: Option<PathBuf>,

    /// How many processes have series of their own; those beyond are summed as `other`, one per GPU. 0 is none
    #[arg(long = "processes.max-series", value_name = "NUMBER", help_heading = "Accounting")]
    #[arg(env = "WATTRIBUTE_PROCESSES_MAX_SERIES", default_value = "128")]
    pub processes_max_series: usize,

    /// How many jobs, pods, containers and units have series of their own; those beyond are summed as `other`,
    /// one per GPU. 0 is none
    #[arg(long = "workloads.max-series", value_name = "NUMBER", help_heading = "Accounting")]
    #[arg(env = "WATTRIBUTE_WORKLOADS_MAX_SERIES", default_value = "1024")]
    pub workloads_max_series: usize,

    /// Where the readings come from: `nvml`, the NVIDIA driver; `demo`, simulated GPUs; or the folder of a capture,
    /// which is replayed once. If not given: nvml
    #[arg(long = "source", value_name = "SOURCE", env = "WATTRIBUTE_SOURCE", help_heading = "Source")]
    pub source: Option<String>,

    /// The driver's library, where it is not found by itself: libnvidia-ml.so.1
    #[arg(
        long = "nvml.library",
        value_name = "PATH",
        env = "WATTRIBUTE_NVML_LIBRARY",
        help_heading = "Source"
    )]
    pub nvml_library: Option<PathBuf>,

    /// Where the host's /proc is mounted
    #[arg(long = "path.procfs", value_name = "DIR", help_heading = "Source")]
    #[arg(env = "WATTRIBUTE_PATH_PROCFS", default_value = "/proc")]
    pub procfs: PathBuf,

    /// Folder in which Slurm's prolog writes a file for each GPU (index, index.instance or UUID) with the ids of the
    /// jobs that have it, a line each, as for dcgm-exporter
    #[arg(long = "slurm.job-mapping-dir", value_name = "DIR", help_heading = "Source")]
    #[arg(env = "WATTRIBUTE_SLURM_JOB_MAPPING_DIR")]
    pub slurm_job_mapping: Option<PathBuf>,
    /// Where the kubelet and the API server are
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub kubernetes: Kubernetes,

    /// The least severe events that are logged
    #[arg(long = "log.level", value_name = "LEVEL", help_heading = "Log")]
    #[arg(env = "WATTRIBUTE_LOG_LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// How events are written, to standard error
    #[arg(long = "log.format", value_name = "FORMAT", help_heading = "Log")]
    #[arg(env = "WATTRIBUTE_LOG_FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
}

/// Where Kubernetes says who holds which GPU, and what the pods on this node are.
#[cfg(feature = "kubernetes")]
#[derive(Args, Clone, Debug)]
pub struct Kubernetes {
    /// The kubelet's socket, which says which containers were given which GPUs. Where there is none, nothing is asked
    #[arg(long = "kubernetes.pod-resources-socket", value_name = "PATH", help_heading = "Kubernetes")]
    #[arg(env = "WATTRIBUTE_KUBERNETES_POD_RESOURCES_SOCKET")]
    #[arg(default_value = "/var/lib/kubelet/pod-resources/kubelet.sock")]
    pub pod_resources_socket: PathBuf,

    /// The name of this node, of whose pods the API server is asked. If not given: the variable NODE_NAME
    #[arg(long = "kubernetes.node-name", value_name = "NAME", help_heading = "Kubernetes")]
    #[arg(env = "WATTRIBUTE_KUBERNETES_NODE_NAME")]
    pub node_name: Option<String>,

    /// The folder with the token and the ca.crt that the API server is asked with
    #[arg(long = "kubernetes.service-account", value_name = "DIR", help_heading = "Kubernetes")]
    #[arg(env = "WATTRIBUTE_KUBERNETES_SERVICE_ACCOUNT")]
    #[arg(default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    pub service_account: PathBuf,
}

/// How severe an event must be to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What keeps the exporter from its work
    Error,
    /// What is wrong, while the work goes on
    Warn,
    /// What happens rarely: start, reload, stop
    Info,
    /// What happens often
    Debug,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs
    Logfmt,
    /// One JSON object per line
    Json,
}

/// Reads a length of time as Prometheus writes it: `500ms`, `1s`, `1m30s`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is written like 500ms, 1s, 1m30s or 2h".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The flags of `serve` that the design names, less those that are not built yet, and their defaults.
    const FLAGS: &[(&str, &str)] = &[
        ("web.listen-address", "127.0.0.1:19288"),
        ("web.telemetry-path", "/metrics"),
        ("web.max-requests", "40"),
        ("web.enable-lifecycle", ""),
        ("web.enable-processes", ""),
        ("rules.file", ""),
        ("sample.interval", "1s"),
        ("exposition.delay", ""), // it depends on the source
        ("state.dir", ""),
        ("processes.max-series", "128"),
        ("workloads.max-series", "1024"),
        ("source", ""),
        ("nvml.library", ""),
        ("path.procfs", "/proc"),
        ("slurm.job-mapping-dir", ""), // the design has the files, and no name for the flag
        #[cfg(feature = "kubernetes")]
        ("kubernetes.pod-resources-socket", "/var/lib/kubelet/pod-resources/kubelet.sock"),
        #[cfg(feature = "kubernetes")]
        ("kubernetes.node-name", ""), // NODE_NAME is looked at later
        #[cfg(feature = "kubernetes")]
        ("kubernetes.service-account", "/var/run/secrets/kubernetes.io/serviceaccount"),
        ("log.level", "info"),
        ("log.format", "logfmt"),
    ];

    #[track_caller]
    fn check_flags(command: &clap::Command) {
        let flags =
            command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
        let flags = flags.map(|flag| {
            let name = flag.get_long().expect("a long name");
            let variable = format!("WATTRIBUTE_{}", name.to_uppercase().replace(['.', '-'], "_"));
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(&*variable), "--{name}");
            let default = flag.get_default_values().iter().map(|value| value.to_string_lossy());
            (name.to_owned(), default.filter(|value| value != "false").collect::<String>())
        });
        let want: Vec<_> = FLAGS.iter().map(|(name, default)| ((*name).into(), (*default).into())).collect();
        assert_eq!(flags.collect::<Vec<(String, String)>>(), want);
    }

    #[test]
    fn every_flag_of_the_design_is_there_with_its_variable_and_default() {
        let command = Cli::command();
        check_flags(&command);
        check_flags(command.find_subcommand("serve").expect("the subcommand"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("wattribute").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn no_subcommand_serves() {
        let cli = parse("--source demo --rules.file a --rules.file=b").expect("flags");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.rules_files, ["a", "b"].map(PathBuf::from));
        let Some(Command::Serve(serve)) = parse("serve --web.listen-address :1").expect("flags").command
        else {
            panic!("serve is meant")
        };
        assert_eq!(serve.listen_addresses, [":1"]);
    }

    #[test]
    fn the_other_subcommands_take_what_they_need() {
        assert!(
            matches!(parse("check a b").expect("files").command, Some(Command::Check(check)) if check.files.len() == 2)
        );
        assert!(parse("check").is_err());
        let explain = parse("explain --process p.yaml --rules.file r").expect("flags").command;
        assert!(
            matches!(explain, Some(Command::Explain(explain)) if explain.subject.process == Some("p.yaml".into()))
        );
        assert!(parse("explain --rules.file r").is_err());
    }

    #[test]
    fn what_is_not_known_is_refused_with_a_hint() {
        let refusal = parse("serve --sample.intervall 1s").expect_err("a misspelt flag");
        assert!(refusal.contains("--sample.interval"), "{refusal}");
        assert!(parse("--log.level loud").is_err());
        assert!(parse("--web.config.file x").is_err());
        assert!(parse("--source demo check a").is_err());
        assert!(parse("--state.dir=").is_err());
    }

    #[track_caller]
    fn check_duration(text: &str, want: Option<u64>) {
        assert_eq!(duration(text).ok(), want.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        check_duration("500ms", Some(500));
        check_duration("1s", Some(1000));
        check_duration("1m", Some(60_000));
        check_duration("1m30s", Some(90_000));
        check_duration("2h", Some(7_200_000));
        check_duration("0s", Some(0));
        for wrong in ["", "1", "s", "1.5s", "-1s", "1 s", "1d", "1sé", "é", "99999999999s", "1s500"] {
            check_duration(wrong, None);
        }
    }
}
