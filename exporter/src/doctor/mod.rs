//! `wattribute doctor`: looks at everything that `serve` needs, says what it found, and what to do.
//!
//! It asks with the exporter's own code, changes nothing, and ends in bounded time: each examination is a thread of its
//! own, and what does not come back is said to hang. Values of environments and command lines are never shown.
//! Each examination is a file: [`driver`], [`rules`], [`access`] (/proc), [`schedulers`], [`machine`], [`state`], [`web`].
//! Caller: `main`.

mod access;
mod driver;
mod finding;
mod machine;
mod patience;
mod rules;
mod schedulers;
mod show;
mod state;
mod web;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use finding::{Finding, Outcome};

use crate::cli::{self, ReportFormat, Warnings};
use crate::explain::{self, look};
use crate::settings::Serve;

/// How long all examinations together may take: more than each gives what it asks.
const PATIENCE: Duration = Duration::from_secs(20);

/// An examination: its name, and what it finds.
type Examination = (&'static str, fn(&Serve) -> Vec<Finding>);

/// All of them, in the order in which they are shown.
const EXAMINATIONS: [Examination; 7] = [
    ("driver", driver::examine),
    ("rules", rules::examine),
    ("access", access::examine),
    ("schedulers", schedulers::examine),
    ("state", state::examine),
    ("web", web::examine),
    ("machine", machine::examine),
];

/// Examines, and shows what was found. The exit status is 1 where something failed.
pub fn doctor(typed: &cli::Doctor) -> ExitCode {
    let settings = match Serve::check(typed.serve.clone()) {
        Ok(settings) => settings,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{}", errors.join("\n"));
            return ExitCode::from(2);
        }
    };
    let findings = examine(&settings);
    let text = match typed.format {
        ReportFormat::Text => Ok(show::text(&findings, look(typed.color))),
        ReportFormat::Json => explain::json(&show::Answer::of(&findings)),
    };
    match text {
        // A reader that has gone is no error of ours.
        Ok(text) => io::stdout().write_all(text.as_bytes()).unwrap_or_default(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    }
    let worst = findings.iter().map(|finding| finding.outcome).max();
    match (worst, typed.warnings()) {
        (Some(Outcome::Failure), _) | (Some(Outcome::Warning), Warnings::Fail) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn examine(settings: &Serve) -> Vec<Finding> {
    let begin = |(name, examination): Examination| {
        let settings = settings.clone();
        (name, patience::begin(move || examination(&settings)))
    };
    let running = EXAMINATIONS.map(begin);
    let until = Instant::now() + PATIENCE;
    let ends = |(name, findings): (&'static str, patience::Awaited<Vec<Finding>>)| {
        findings.until(until).unwrap_or_else(|| {
            let found = format!("it hangs: no answer within {PATIENCE:?}");
            vec![Finding::failure(
                name,
                found,
                "see what it waits for: cat /proc/PID/task/*/stack of this command",
            )]
        })
    };
    running.into_iter().flat_map(ends).collect()
}
