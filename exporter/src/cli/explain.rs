//! What `wattribute explain` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What to explain.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples, for a process that runs, and for one that might:
  wattribute explain --pid 4711 --rules.file /etc/wattribute/rules.d
  echo '{user: emmy, comm: python3}' > emmy.yaml
  wattribute explain --process emmy.yaml --rules.file /etc/wattribute/rules.d")]
pub struct Explain {
    #[command(flatten)]
    pub subject: Subject,
    /// Rules file, or a folder of them; repeatable
    #[arg(long = "rules.file", value_name = "PATH", env = "WATTRIBUTE_RULES_FILE", value_delimiter = ',')]
    #[arg(required = true)]
    pub rules_files: Vec<PathBuf>,
    /// Where the host's /proc is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc", env = "WATTRIBUTE_PATH_PROCFS")]
    pub procfs: PathBuf,
    /// The GPU to explain it for, by index or UUID, where rules name facts of the GPU. If not given: the one
    /// that the driver lists the process on
    #[arg(long = "gpu", value_name = "GPU")]
    pub gpu: Option<String>,
    /// The driver's library, where it is not found by itself: libnvidia-ml.so.1
    #[arg(long = "nvml.library", value_name = "PATH", env = "WATTRIBUTE_NVML_LIBRARY")]
    pub nvml_library: Option<PathBuf>,
    /// How the answer is written; JSON is for programs, and shortens nothing
    #[arg(long = "format", value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// When the text has colours; `auto` is on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long = "color", value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// How an answer for a person or a program is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Aligned text
    Text,
    /// One JSON document, as docs/api.md describes it
    Json,
}

/// When text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal that can
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Which process to explain.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Subject {
    /// The number of a process on this machine
    #[arg(long = "pid", value_name = "PID")]
    pub pid: Option<u32>,
    /// A file that describes a process as `process:` in a rules file's test does
    #[arg(long = "process", value_name = "FILE")]
    pub process: Option<PathBuf>,
}
