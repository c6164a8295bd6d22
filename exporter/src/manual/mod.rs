//! `wattribute manual` and `wattribute completions`: manual pages and shell completions out of the command line itself.
//!
//! They are made by the binary, and not when it is built, so that they have the flags of the features it was built with.
//! What no flag says of itself is in `sections`.

mod sections;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use clap::CommandFactory;
use clap_mangen::Man;
use jiff::Timestamp;

use crate::cli::{Cli, Completions, Manual};

/// The command's name, for shells and titles.
const NAME: &str = "wattribute";

/// Writes what a shell needs to standard output; a reader that has gone is no error of ours.
pub fn complete(typed: &Completions) -> ExitCode {
    let _ = io::stdout().write_all(&completions(typed.shell));
    ExitCode::SUCCESS
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = vec![];
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    text
}

/// Writes all pages into a folder.
pub fn write(typed: &Manual) -> ExitCode {
    match write_pages(&typed.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "--out: {}: {error}", typed.out.display());
            ExitCode::FAILURE
        }
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    pages()?.into_iter().try_for_each(|page| fs::write(folder.join(page.file), page.text))
}

/// A manual page.
struct Page {
    /// Such as `wattribute-serve.1`.
    file: String,
    /// In roff.
    text: Vec<u8>,
}

/// One for the program, and one for each command.
fn pages() -> io::Result<Vec<Page>> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let commands: Vec<_> = program.get_subcommands().cloned().collect();
    std::iter::once(Ok(main_page(program)?)).chain(commands.into_iter().map(page)).collect()
}

/// The flags of `serve`, which may be typed without it, stand on its own page only.
fn main_page(program: clap::Command) -> io::Result<Page> {
    let man =
        titled(program.mut_args(|flag| if flag.get_long() == Some("help") { flag } else { flag.hide(true) }));
    let mut text = vec![];
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    sections::of_the_program().to_writer(&mut text)?;
    Ok(Page { file: man.get_filename(), text })
}

fn page(command: clap::Command) -> io::Result<Page> {
    let man = titled(command);
    let mut text = vec![];
    man.render(&mut text)?;
    sections::of_a_command().to_writer(&mut text)?;
    Ok(Page { file: man.get_filename(), text })
}

fn titled(command: clap::Command) -> Man {
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).manual("Wattribute").date(date())
}

/// The day of `SOURCE_DATE_EPOCH`, so that a package can be built again byte for byte; else none.
fn date() -> String {
    let seconds = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map(|moment| moment.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}
