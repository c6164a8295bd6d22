//! The flags of `serve`.

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address to listen on: host:port, [IPv6]:port, or :port for all addresses. Repeatable; in the environment
    /// several are separated by commas
    #[arg(long = "web.listen-address", value_name = "ADDRESS", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_LISTEN_ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:19288")]
    pub listen_addresses: Vec<String>,

    /// Take the sockets that systemd passes (socket activation), instead of listening on addresses
    #[arg(long = "web.systemd-socket", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_SYSTEMD_SOCKET", value_parser = BoolishValueParser::new())]
    pub systemd_socket: bool,

    /// File with TLS, passwords, headers and a rate limit, in the format of the Prometheus exporters
    /// (web-config.yml). It is read again when it or a certificate changes. Empty is none
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_CONFIG_FILE", default_value = "")]
    pub config_file: OsString,

    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_TELEMETRY_PATH", default_value = "/metrics")]
    pub telemetry_path: String,

    /// How many scrapes may run at once; those beyond are answered with 503. 0 is no limit
    #[arg(long = "web.max-requests", value_name = "NUMBER", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_MAX_REQUESTS", default_value = "40")]
    pub max_requests: usize,

    /// Reload the rules on POST or PUT to /-/reload for whoever asks; else only for those with a password or a
    /// certificate of --web.config.file. SIGHUP always does
    #[arg(long = "web.enable-lifecycle", help_heading = "Web")]
    #[arg(env = "WATTRIBUTE_WEB_ENABLE_LIFECYCLE", value_parser = BoolishValueParser::new())]
    pub enable_lifecycle: bool,

    /// Show single processes to whoever asks: /api/v1/processes, and their rows on the page; else only to those with a
    /// password or a certificate of --web.config.file. They tell who runs what on which GPU; never command lines
    /// or environments
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
pub fn duration(text: &str) -> Result<Duration, String> {
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
