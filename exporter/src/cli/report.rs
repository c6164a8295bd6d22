//! What `wattribute report` and `wattribute verify` take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;
use crate::money::Micros;

/// What to bill.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples, to look at a month and to file it:
  wattribute report --prometheus http://localhost:9090 --month 2026-11 \\
      --prices prices.yaml
  wattribute report --prometheus http://localhost:9090 --month 2026-11 \\
      --prices prices.yaml --out bills/2026-11 --previous bills/2026-10")]
pub struct Report {
    #[command(flatten)]
    pub access: Access,

    /// The first moment of the period: a date (2026-11-01) or a time (2026-11-01T06:00, 2026-11-01T06:00:00Z)
    #[arg(long = "from", value_name = "TIME", help_heading = "Period", requires = "to")]
    pub from: Option<String>,
    /// The first moment that no longer belongs to the period
    #[arg(long = "to", value_name = "TIME", help_heading = "Period", requires = "from")]
    pub to: Option<String>,
    /// A calendar month, instead of --from and --to
    #[arg(long = "month", value_name = "YYYY-MM", help_heading = "Period")]
    #[arg(conflicts_with_all = ["from", "to"], required_unless_present_any = ["from", "explain"])]
    pub month: Option<String>,

    /// The prices, as `wattribute render` reads them. Without them the report has energy and time, and no money
    #[arg(long = "prices", value_name = "FILE", help_heading = "Money")]
    pub prices: Option<PathBuf>,
    /// The budgets, as `wattribute render` reads them: the report then has a balance for each team
    #[arg(long = "budgets", value_name = "FILE", help_heading = "Money", requires = "prices")]
    pub budgets: Option<PathBuf>,
    /// Expected GPUs, a UUID per line (after a comma, what people call it). GPUs on it that nobody scraped, and others
    /// that it does not name, are differences
    #[arg(long = "inventory", value_name = "FILE", help_heading = "Completeness")]
    pub inventory: Option<PathBuf>,
    /// Exit with 1 where anything differs: unreconciled energy, gaps, energy without a price, unexpected GPUs
    #[arg(long = "strict", help_heading = "Completeness")]
    strict: bool,
    /// The exporters' --exposition.delay: counters show this much later what was counted
    #[arg(long = "exposition.delay", value_name = "DURATION", help_heading = "Completeness")]
    #[arg(value_parser = duration, default_value = "60s")]
    pub exposition_delay: Duration,
    /// How far before the period the last sample of a counter is looked for
    #[arg(long = "lookback", value_name = "DURATION", help_heading = "Completeness")]
    #[arg(value_parser = duration, default_value = "168h")]
    pub lookback: Duration,

    /// How far the recording rules may be from the report, in percent of it, before that is a difference; off: do not ask
    /// for what they recorded
    #[arg(long = "rules-tolerance", value_name = "PERCENT", help_heading = "Completeness")]
    #[arg(value_parser = tolerance, default_value = "1")]
    pub rules_tolerance: Tolerance,
    /// Only recorded series with these labels. If not given: with those of --match
    #[arg(long = "rules-match", value_name = "MATCHERS", help_heading = "Completeness")]
    pub rules_match: Option<String>,

    /// How the report is written to standard output
    #[arg(long = "format", value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub format: BillFormat,
    /// Folder for the report in all formats, the extract of what was read, and the manifest; it must not exist
    #[arg(long = "out", value_name = "DIR", help_heading = "Output", conflicts_with_all = ["team", "explain"])]
    pub out: Option<PathBuf>,
    /// The folder of the report before this one, whose manifest this one's names, and whose balances of credits go on
    #[arg(long = "previous", value_name = "DIR", help_heading = "Output")]
    pub previous: Option<PathBuf>,
    /// The folder of the report that this one corrects: same period, both stay
    #[arg(long = "amends", value_name = "DIR", help_heading = "Output", requires = "out")]
    pub amends: Option<PathBuf>,
    /// Rules files that were in force: their hashes go into the manifest. Repeatable
    #[arg(long = "rules.file", value_name = "PATH", help_heading = "Output")]
    pub rules_files: Vec<PathBuf>,
    /// An ed25519 key in PKCS #8 (openssl genpkey -algorithm ed25519), to sign the manifest with
    #[arg(long = "sign-key", value_name = "FILE", help_heading = "Output", requires = "out")]
    pub sign_key: Option<PathBuf>,
    /// The label by which GPUs are summed as nodes
    #[arg(long = "node-label", value_name = "LABEL", default_value = "instance", help_heading = "Output")]
    pub node_label: String,

    /// Only this team, hour by hour and GPU by GPU, with its jobs
    #[arg(long = "team", value_name = "TEAM", help_heading = "Dispute", requires = "detail")]
    pub team: Option<String>,
    /// Show where the number of --team comes from
    #[arg(long = "detail", help_heading = "Dispute", requires = "team")]
    pub detail: bool,
    /// Trace an hour of a GPU from counter samples to money: UUID@2026-11-03T14:00
    #[arg(long = "explain", value_name = "UUID@TIME", help_heading = "Dispute")]
    #[arg(conflicts_with_all = ["from", "to", "month", "team"])]
    pub explain: Option<String>,
}

/// What differences do to the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differences {
    /// They are in the report.
    Show,
    /// They are in the report, and the exit status is 1.
    Fail,
}

/// How far the recording rules may be from a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// They are not compared.
    Off,
    /// In percent of the report.
    Percent(Micros),
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    if text == "off" {
        return Ok(Tolerance::Off);
    }
    Micros::parse(text).map(Tolerance::Percent).ok_or_else(|| "a percentage like 1 or 0.5, or off".into())
}

impl Report {
    /// What differences do.
    pub fn differences(&self) -> Differences {
        if self.strict { Differences::Fail } else { Differences::Show }
    }
}

/// How to reach the server.
#[derive(Args, Clone, Debug)]
pub struct Access {
    /// The server: Prometheus, Thanos, Mimir or VictoriaMetrics; the part before /api/v1, no user or password
    #[arg(long = "prometheus", value_name = "URL", env = "WATTRIBUTE_PROMETHEUS", help_heading = "Server")]
    pub url: String,
    /// Only series with these labels, as in PromQL: job="wattribute",cluster="a"
    #[arg(long = "match", value_name = "MATCHERS", default_value = "", help_heading = "Server")]
    pub matchers: String,
    /// User for basic authentication
    #[arg(long = "http.user", value_name = "NAME", help_heading = "Server", requires = "password_file")]
    pub user: Option<String>,
    /// File with the password of --http.user
    #[arg(long = "http.password-file", value_name = "FILE", help_heading = "Server", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with a bearer token
    #[arg(
        long = "http.bearer-token-file",
        value_name = "FILE",
        help_heading = "Server",
        conflicts_with = "user"
    )]
    pub bearer_token_file: Option<PathBuf>,
    /// Certificates to trust, PEM. If not given: those of the system
    #[arg(long = "http.ca-file", value_name = "FILE", help_heading = "Server")]
    pub ca_file: Option<PathBuf>,
    /// The tenant, sent as X-Scope-OrgID
    #[arg(long = "http.tenant", value_name = "ID", help_heading = "Server")]
    pub tenant: Option<String>,
    /// How long an answer may take
    #[arg(long = "http.timeout", value_name = "DURATION", value_parser = duration, default_value = "2m")]
    #[arg(help_heading = "Server")]
    pub timeout: Duration,
    /// How often a question is asked again that failed for a passing reason, with growing pauses
    #[arg(long = "http.retries", value_name = "NUMBER", default_value = "4", help_heading = "Server")]
    pub retries: u32,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BillFormat {
    /// Tables for a terminal
    Text,
    /// A line per team, project, GPU and node, for a spreadsheet
    Csv,
    /// One JSON document, as docs/report.md describes it
    Json,
    /// One page for a browser or a printer
    Html,
    /// FOCUS 1.2, the FinOps cost and usage specification, as CSV
    Focus,
}

/// What to verify.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example, of a year's chain:
  wattribute verify bills/2026-*")]
pub struct Verify {
    /// Folders of reports, the oldest first; each must name the one before
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// The public key that manifests must be signed with: 32 bytes in hex, as the manifest has it
    #[arg(long = "public-key", value_name = "HEX")]
    pub public_key: Option<String>,
}
