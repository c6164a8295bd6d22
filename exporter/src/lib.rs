//! Everything of the `wattribute` binary but its start: reads the command line and runs the command.
//!
//! Not a library for others, who want the crate `wattribute`: it is one so that benches and fuzzers reach inside.

mod account;
mod allocation;
mod capture;
mod cli;
mod clock;
mod commands;
mod demo;
mod doctor;
mod explain;
mod expose;
#[cfg(any(test, feature = "inside"))]
mod fuzz;
mod identify;
#[cfg(feature = "inside")]
#[doc(hidden)]
pub mod inside;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod log;
mod manual;
mod money;
mod program;
mod publish;
mod reload;
#[cfg(feature = "report")]
mod report;
mod rules_file;
mod sample;
mod serve;
mod settings;
mod showcase;
mod slurm;
mod source;
mod state;
#[cfg(any(feature = "kubernetes", feature = "report"))]
mod tls;
mod web;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

/// Runs the command that the command line names; the exit status is 0, 1 for what failed, or 2 for what cannot be meant.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(&cli::in_a_line(&error.to_string()), 2),
        // Help, or the version.
        Err(answer) => answer.exit(),
    };
    match cli.command {
        Some(Command::Check(check)) => commands::check(&check),
        Some(Command::Doctor(typed)) => doctor::doctor(&typed),
        Some(Command::Explain(explain)) => explain::explain(&explain),
        Some(Command::Record(typed)) => match capture::Record::check(typed) {
            Ok(settings) => {
                log::start(settings.log);
                capture::record(&settings)
            }
            Err(errors) => fail(&errors.join("\n"), 2),
        },
        #[cfg(feature = "report")]
        Some(Command::Report(typed)) => report::report(&typed),
        #[cfg(feature = "report")]
        Some(Command::Verify(typed)) => report::verify(&typed),
        Some(Command::Render(render)) => money::command::render(&render),
        Some(Command::Completions(typed)) => manual::complete(&typed),
        Some(Command::Manual(typed)) => manual::write(&typed),
        Some(Command::Serve(typed)) => run(*typed),
        None => run(cli.serve),
    }
}

fn run(typed: cli::Serve) -> ExitCode {
    let settings = match settings::Serve::check(typed) {
        Ok(settings) => settings,
        Err(errors) => return fail(&errors.join("\n"), 2),
    };
    log::start(settings.log);
    match serve::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::from(code)
}
