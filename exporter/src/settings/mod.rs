//! What the program needs, out of what the user typed: checked, complete, and without contradictions.
//!
//! Pure: it opens and resolves nothing. All errors of a command line are reported at once.

use crate::cli;
use crate::expose::routes::Audience;
use std::path::PathBuf;
use std::time::Duration;

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(60);
/// So that a person who tries the demo or a capture need not wait a minute for the first joule.
const DEMO_DELAY: Duration = Duration::from_secs(5);
/// Intervals of a GPU that are kept until they may be seen.
const MOST_WAITING: u32 = 3600;
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// Everything that `serve` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// What is served where.
    pub web: Web,
    /// Rules files and folders, in the order given; none means that everything is unattributed.
    pub rules_files: Vec<PathBuf>,
    /// The time between two samples.
    pub sample_interval: Duration,
    /// How far behind the ledger the counters are exposed; at least two sample intervals.
    pub exposition_delay: Duration,
    /// Where the ledger is kept over restarts, if it is.
    pub state_dir: Option<PathBuf>,
    /// How many processes have series of their own.
    pub processes_max_series: usize,
    /// How many workloads have series of their own.
    pub workloads_max_series: usize,
    /// Where the readings come from.
    pub source: Source,
    /// Where this machine's processes and schedulers are.
    pub machine: Machine,
    /// What is logged and how.
    pub log: Log,
}

/// What is served where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// The path of the metrics; begins with a slash and is no other page's.
    pub telemetry_path: String,
    /// How many scrapes may run at once; `None` is no limit.
    pub max_requests: Option<usize>,
    /// Where requests come in.
    pub listen: Listen,
    /// The file about TLS, passwords, headers and the rate limit, if there is one.
    pub config_file: Option<PathBuf>,
    /// Who may reload the rules over HTTP.
    pub reloaders: Audience,
    /// To whom single processes are shown over HTTP.
    pub onlookers: Audience,
}

/// Where requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`, `[IPv6]:port` or `:port`; at least one, none twice.
    Addresses(Vec<String>),
    /// The sockets that systemd passes.
    Systemd,
}

impl Listen {
    /// The addresses, as far as they are known here.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Systemd => &[],
        }
    }
}

/// Where the readings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The NVIDIA driver.
    Nvml {
        /// Its library, if not the one that the loader finds.
        library: Option<PathBuf>,
    },
    /// Simulated GPUs.
    Demo,
    /// A capture: its folder or file.
    Capture(PathBuf),
}

/// Where this machine's processes and schedulers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Where the host's /proc is mounted.
    pub procfs: PathBuf,
    /// Who is asked what GPUs and processes belong to; `None`: nobody.
    pub schedulers: Option<Schedulers>,
}

/// Where schedulers say what GPUs and processes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedulers {
    /// The folder in which Slurm's prolog says which job has which GPU, if there is one.
    pub slurm_job_mapping: Option<PathBuf>,
    /// Where the kubelet and the API server are.
    #[cfg(feature = "kubernetes")]
    pub kubernetes: Kubernetes,
}

/// Where the kubelet and the API server are.
#[cfg(feature = "kubernetes")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The kubelet's socket, if there is one.
    pub pod_resources_socket: PathBuf,
    /// The node of whose pods the API server is asked; `None`: as the environment says.
    pub node_name: Option<String>,
    /// The folder with `token` and `ca.crt`.
    pub service_account: PathBuf,
}

/// What is logged and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe events that are logged.
    pub level: cli::LogLevel,
    /// How they are written.
    pub format: cli::LogFormat,
}

/// What to say when `--source` is nvml and the driver cannot be had: the driver's problem and the way out.
#[must_use]
pub fn no_driver(problem: &str) -> String {
    format!(
        "no GPU can be read: {problem}: see to the NVIDIA driver, or try simulated GPUs with --source demo"
    )
}

impl Serve {
    /// Checks what was typed.
    ///
    /// # Errors
    /// Everything that is wrong, a line each: flag: what: way out.
    pub fn check(typed: cli::Serve) -> Result<Self, Vec<String>> {
        let is_nvml = matches!(typed.source.as_deref(), None | Some("nvml"));
        let delay = if is_nvml { DELAY } else { DEMO_DELAY };
        let delay = typed.exposition_delay.unwrap_or(delay);
        let times = times(typed.sample_interval, delay);
        let path = telemetry_path(&typed.telemetry_path);
        let state = state(typed.source.as_deref(), typed.state_dir.is_some());
        let mut errors: Vec<String> = [times, path, state].into_iter().filter_map(Result::err).collect();
        errors.extend(listen_addresses(&typed.listen_addresses));
        #[cfg(feature = "kubernetes")]
        errors.extend(node_name(typed.kubernetes.node_name.as_deref()));
        let source = match source(typed.source.as_deref(), typed.nvml_library) {
            Ok(source) if errors.is_empty() => source,
            Ok(_) => return Err(errors),
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        Ok(Self {
            web: Web {
                listen: if typed.systemd_socket {
                    Listen::Systemd
                } else {
                    Listen::Addresses(typed.listen_addresses)
                },
                telemetry_path: typed.telemetry_path,
                max_requests: Some(typed.max_requests).filter(|limit| *limit > 0),
                config_file: Some(PathBuf::from(typed.config_file))
                    .filter(|file| !file.as_os_str().is_empty()),
                reloaders: audience(typed.enable_lifecycle),
                onlookers: audience(typed.enable_processes),
            },
            rules_files: typed.rules_files,
            sample_interval: typed.sample_interval,
            exposition_delay: delay,
            state_dir: typed.state_dir,
            processes_max_series: typed.processes_max_series,
            workloads_max_series: typed.workloads_max_series,
            source,
            machine: Machine {
                procfs: typed.procfs,
                schedulers: Some(Schedulers {
                    slurm_job_mapping: typed.slurm_job_mapping,
                    #[cfg(feature = "kubernetes")]
                    kubernetes: Kubernetes {
                        pod_resources_socket: typed.kubernetes.pod_resources_socket,
                        node_name: typed.kubernetes.node_name,
                        service_account: typed.kubernetes.service_account,
                    },
                }),
            },
            log: Log { level: typed.log_level, format: typed.log_format },
        })
    }
}

fn audience(is_enabled: bool) -> Audience {
    if is_enabled { Audience::Everybody } else { Audience::Authenticated }
}

/// Whether the GPUs can be read so often.
pub fn interval(interval: Duration) -> Result<(), String> {
    if (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        return Ok(());
    }
    Err(format!("--sample.interval {interval:?}: out of range: choose from 100ms to 1m"))
}

/// The source that was typed; whether it is there is seen later.
pub fn source(typed: Option<&str>, library: Option<PathBuf>) -> Result<Source, String> {
    match (typed, library) {
        (None | Some("nvml"), library) => Ok(Source::Nvml { library }),
        (Some("demo"), None) => Ok(Source::Demo),
        (Some("demo"), Some(_)) => {
            Err("--nvml.library: simulated GPUs need no driver: leave it out, or --source demo".into())
        }
        (Some(""), _) => Err("--source: it is empty: use nvml, demo, or the folder of a capture".into()),
        (Some(capture), None) => Ok(Source::Capture(capture.into())),
        (Some(_), Some(_)) => {
            Err("--nvml.library: a capture needs no driver: leave it out, or --source".into())
        }
    }
}

/// Simulated joules, and those of a capture, must never stand in a ledger that real ones go on with.
fn state(source: Option<&str>, is_given: bool) -> Result<(), String> {
    match source {
        None | Some("nvml") => Ok(()),
        _ if !is_given => Ok(()),
        Some("demo") => {
            Err("--state.dir: simulated energy is not kept: leave it out, or --source demo".into())
        }
        Some(_) => Err("--state.dir: replayed energy is not kept: leave it out, or --source".into()),
    }
}

fn times(interval: Duration, delay: Duration) -> Result<(), String> {
    self::interval(interval)?;
    if delay < interval * 2 {
        return Err(format!(
            "--exposition.delay {delay:?}: shorter than two sample intervals of {interval:?}: \
             choose at least {:?}, and at least two scrape intervals",
            interval * 2
        ));
    }
    if delay > interval * MOST_WAITING {
        return Err(format!(
            "--exposition.delay {delay:?}: more than {MOST_WAITING} sample intervals of {interval:?}, which are all \
             kept in memory: choose at most {:?}, or a longer --sample.interval",
            interval * MOST_WAITING
        ));
    }
    if delay > LONGEST_DELAY {
        return Err(format!("--exposition.delay {delay:?}: too long: choose 1h at most"));
    }
    Ok(())
}

fn telemetry_path(path: &str) -> Result<(), String> {
    let wrong = |what| Err(format!("--web.telemetry-path {path}: {what}: choose one like /metrics"));
    if !path.starts_with('/') {
        return wrong("it must begin with a slash");
    }
    if path.starts_with("/-/") || path.starts_with("/api/") {
        return wrong("that part of the site is taken");
    }
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte)) {
        return wrong("only letters, digits and / - _ . ~ may be in it");
    }
    Ok(())
}

fn listen_addresses(addresses: &[String]) -> Vec<String> {
    let wrong = |address: &String, what| {
        format!("--web.listen-address {address}: {what}: write host:port, [IPv6]:port or :port")
    };
    let mut errors = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        if port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            errors.push(wrong(address, "there is no port from 0 to 65535"));
        } else if host.contains(':') != (host.starts_with('[') && host.ends_with(']')) {
            errors.push(wrong(address, "an IPv6 address, and only that, stands in brackets"));
        } else if addresses[..index].contains(address) && port != "0" {
            errors.push(wrong(address, "it is given twice"));
        }
    }
    errors
}

#[cfg(feature = "kubernetes")]
fn node_name(name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| !is_node_name(name))?;
    Some(format!(
        "--kubernetes.node-name {name}: no node is called so: take the one that kubectl get nodes shows"
    ))
}

/// Whether a node can be called so: Kubernetes allows what DNS does.
#[cfg(feature = "kubernetes")]
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}
#[cfg(test)]
mod tests;
