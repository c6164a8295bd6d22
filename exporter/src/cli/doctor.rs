//! What `wattribute doctor` takes: all flags of `serve`, so that one word of a command line is changed to ask.

use clap::Args;

use super::{ColorChoice, ReportFormat, Serve};

/// What to examine.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example: the command line of the service, with doctor in the place of serve:
  wattribute doctor --rules.file /etc/wattribute/teams.yaml --state.dir /var/lib/wattribute")]
pub struct Doctor {
    /// How the answer is written; JSON is for programs
    #[arg(long = "format", value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// When the text has colours; `auto` is on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long = "color", value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Exit with 1 on warnings too
    #[arg(long = "strict")]
    strict: bool,
    /// What would be served, and how.
    #[command(flatten)]
    pub serve: Serve,
}

impl Doctor {
    /// What warnings do.
    pub fn warnings(&self) -> super::Warnings {
        if self.strict { super::Warnings::Fail } else { super::Warnings::Pass }
    }
}
