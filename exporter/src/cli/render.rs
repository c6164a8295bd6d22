//! What `wattribute render` takes.

use std::path::PathBuf;

use clap::Args;

use crate::money::Year;

/// What to render, and where to.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example, for a Prometheus that reads /etc/prometheus/rules:
  wattribute render --prices prices.yaml --budgets budgets.yaml \\
      --out /etc/prometheus/rules
  promtool check rules /etc/prometheus/rules/*.yaml")]
pub struct Render {
    /// What electricity, hardware and carbon cost
    #[arg(long = "prices", value_name = "FILE", default_value = "rules/prices.yaml")]
    pub prices: PathBuf,
    /// What teams may spend
    #[arg(long = "budgets", value_name = "FILE", default_value = "rules/budgets.yaml")]
    pub budgets: PathBuf,
    /// Folder for prices.rules.yaml and budgets.rules.yaml
    #[arg(long = "out", value_name = "DIR", required = true)]
    pub out: PathBuf,
    /// The last year whose changes of the clock are written out
    #[arg(long = "until", value_name = "YEAR", value_parser = Year::parse, default_value = "2040")]
    pub until: Year,
    /// Write nothing; exit with 1 if the files there are not what would be written
    #[arg(long = "check")]
    check: bool,
}

/// What `render` does with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// They are written.
    Write,
    /// They are compared with what is there.
    Check,
}

impl Render {
    /// What to do with the rules.
    pub fn writing(&self) -> Writing {
        if self.check { Writing::Check } else { Writing::Write }
    }
}
