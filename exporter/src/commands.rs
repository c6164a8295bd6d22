//! The commands that answer and end: `check` and `explain`.

mod check;

pub use check::check;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use wattribute::facts::Facts;
use wattribute::procfs::{ReadError, Reader};
use wattribute::rules::{self, Source};

use crate::cli::Explain;
use crate::rules_file;
use crate::slurm::{self, Answer, Scontrol};

/// Says which rule a process matches, and why the others do not.
pub fn explain(typed: &Explain) -> ExitCode {
    let explained = rules_file::load(&typed.rules_files).and_then(|rules| {
        let facts = match (&typed.subject.process, typed.subject.pid) {
            (Some(file), _) => facts_of_file(file),
            (None, Some(pid)) => facts_of_process(&typed.procfs, pid, rules.wanted_env())
                .map(|facts| if slurm::is_wanted(&rules) { with_job(facts) } else { facts }),
            (None, None) => Err("neither --pid nor --process is given".into()),
        }?;
        Ok(format!("{}\n{}\n", table(&facts), rules.explain(&facts)))
    });
    explained.map_or_else(|errors| fail(&errors), |text| say(&text))
}

fn facts_of_file(file: &Path) -> Result<Facts, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}: see --process"))?;
    rules::process(&Source { name, text }).map_err(|problems| problems.to_string())
}

/// What /proc says of a process; what it does not let us read is named on standard error.
fn facts_of_process(procfs: &Path, pid: u32, wanted_env: &BTreeSet<String>) -> Result<Facts, String> {
    let say = |error: ReadError| match error {
        ReadError::Vanished => format!("pid {pid}: there is no such process, or /proc hides it (hidepid)"),
        ReadError::Denied => format!("pid {pid}: it may not be read: run as root, or as its user"),
        ReadError::Unreadable => format!("pid {pid}: its stat makes no sense"),
    };
    let mut reader = Reader::new(procfs);
    let key = reader.key(pid).map_err(say)?;
    let reading = reader.facts(key, wanted_env).map_err(say)?;
    for part in &reading.unread {
        let _ = writeln!(std::io::stderr(), "pid {pid}: {} could not be read: run as root", part.name());
    }
    Ok(reading.facts)
}

/// The facts with what Slurm says of the process's job, if it is in one; what it does not say is named on standard
/// error.
fn with_job(mut facts: Facts) -> Facts {
    let Some(job) = slurm::job_of(&facts) else { return facts };
    let answer = Scontrol::find().map(|mut scontrol| scontrol.ask(job));
    let problem = match answer {
        Some(Answer::Known(job)) if slurm::set_job(&mut facts, Some(&job)) => return facts,
        Some(Answer::Known(_)) => "is another user's than the process",
        Some(Answer::Unknown) => "is unknown to Slurm, or hidden from this user (PrivateData)",
        Some(Answer::None) => {
            facts = slurm::pending(&facts);
            "cannot be asked for: Slurm's controller gives no clear answer"
        }
        None => "cannot be asked for: there is no scontrol in PATH",
    };
    let _ = writeln!(std::io::stderr(), "job {job} {problem}");
    facts
}

/// The facts, aligned, each with how far it can be trusted.
fn table(facts: &Facts) -> String {
    let rows: Vec<[String; 3]> = facts
        .iter()
        .map(|(field, value)| {
            [field.to_string(), field.evidence().to_string(), value.unwrap_or("pending").into()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (names, classes) = (width(0), width(1));
    rows.iter().map(|[name, class, value]| format!("{name:names$}  {class:classes$}  {value}\n")).collect()
}

/// Writes to standard output; a reader that has gone is no error of ours.
fn say(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
