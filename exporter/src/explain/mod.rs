//! `explain`: what is known of a process and from where, what every rule says of it, and the verdict.
//!
//! [`subject`] finds the facts, [`report`] says what they come to, [`text`] and JSON show it. The processes API shows the
//! same report of what the running exporter knows, less what not everybody may see ([`report::Audience`]).
//! Callers: `main`, `expose::processes` for the report, and `doctor`, which writes its findings in the same way.

mod escape;
mod gpu;
pub mod report;
pub mod subject;
#[cfg(test)]
mod tests;
mod text;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

pub use escape::{json, visible};
use report::{Audience, Report};
pub use text::{Ink, Look, Paint};

use crate::cli::{ColorChoice, Explain, ReportFormat};
use crate::rules_file;

/// Explains a process of this machine, or one that a file describes.
pub fn explain(typed: &Explain) -> ExitCode {
    let shown = rules_file::load(&typed.rules_files).and_then(|rules| {
        let subject = subject::find(typed, &rules)?;
        let report = Report::new(subject, &rules, Audience::Person);
        match typed.format {
            ReportFormat::Text => Ok(text::render(&report, look(typed.color))),
            ReportFormat::Json => json(&report).map_err(|error| error.to_string()),
        }
    });
    match shown {
        Ok(text) => {
            // A reader that has gone is no error of ours.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            ExitCode::FAILURE
        }
    }
}

/// How the text is to look where it goes to. Nothing is shortened that does not go to a terminal.
pub fn look(color: ColorChoice) -> Look {
    let is_terminal = io::stdout().is_terminal();
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    let paints = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
    };
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| is_terminal);
    let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    Look { width, paint: if paints { Paint::Colors } else { Paint::None } }
}
