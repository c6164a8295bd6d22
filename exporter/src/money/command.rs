//! `wattribute render`: reads prices and budgets, and writes the rules, or says whether they are current.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::budgets::Budgets;
use super::prices::Prices;
use super::render;
use crate::cli::{Render, Writing};

/// A rendered file.
struct File {
    name: &'static str,
    text: String,
}

/// Renders the rules, and writes or checks them.
pub fn render(typed: &Render) -> ExitCode {
    let files = match render_files(typed) {
        Ok(files) => files,
        Err(errors) => return fail(&errors),
    };
    let done: Result<Vec<String>, Vec<String>> = match typed.writing() {
        Writing::Write => collect(files.iter().map(|file| write(&typed.out, file))),
        Writing::Check => collect(files.iter().map(|file| check(&typed.out, file))),
    };
    match done {
        Ok(lines) => say(&lines.join("\n")),
        Err(errors) => fail(&errors.join("\n")),
    }
}

/// All errors, if there is one.
fn collect(results: impl Iterator<Item = Result<String, String>>) -> Result<Vec<String>, Vec<String>> {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(line) => done.push(line),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(errors) }
}

/// The rules of both files, or everything wrong with either.
fn render_files(typed: &Render) -> Result<[File; 2], String> {
    let prices = read(&typed.prices, "--prices", |name, text| {
        Prices::read(name, text).map_err(|problems| problems.to_string())
    });
    let budgets = read(&typed.budgets, "--budgets", |name, text| {
        Budgets::read(name, text).map_err(|problems| problems.to_string())
    });
    let (prices, budgets) = match (prices, budgets) {
        (Ok(prices), Ok(budgets)) => (prices, budgets),
        (prices, budgets) => {
            let errors: Vec<String> = prices.err().into_iter().chain(budgets.err()).collect();
            return Err(errors.join("\n"));
        }
    };
    if budgets.currency() != prices.currency() {
        let (of_budgets, of_prices) = (budgets.currency(), prices.currency());
        return Err(format!(
            "{}: currency: budgets are in {of_budgets}, prices in {of_prices}: one must be changed",
            typed.budgets.display()
        ));
    }
    let budgets = render::budgets(&budgets, prices.calendar());
    Ok([
        File { name: render::PRICES_FILE, text: render::prices(&prices, typed.until) },
        File { name: render::BUDGETS_FILE, text: budgets },
    ])
}

fn read<T>(path: &Path, flag: &str, read: impl FnOnce(&str, &str) -> Result<T, String>) -> Result<T, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}: see {flag}"))?;
    read(&name, &text)
}

/// Whole or not at all: Prometheus may reload at any time.
fn write(folder: &Path, file: &File) -> Result<String, String> {
    let path = folder.join(file.name);
    let say = |error: std::io::Error| format!("{}: {error}: see --out", path.display());
    if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
        return Ok(format!("{}: current", path.display()));
    }
    fs::create_dir_all(folder).map_err(say)?;
    let temporary = folder.join(format!(".{}.new", file.name));
    fs::write(&temporary, &file.text).and_then(|()| fs::rename(&temporary, &path)).map_err(say)?;
    Ok(format!("{}: written", path.display()))
}

fn check(folder: &Path, file: &File) -> Result<String, String> {
    let path = folder.join(file.name);
    match fs::read_to_string(&path) {
        Ok(text) if text == file.text => Ok(format!("{}: current", path.display())),
        Ok(_) => Err(format!("{}: not current: render again without --check", path.display())),
        Err(error) => Err(format!("{}: {error}: render it without --check", path.display())),
    }
}

/// Writes to standard output; a reader that has gone is no error of ours.
fn say(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
