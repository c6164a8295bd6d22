//! Asks the Slurm controller of a job, by the program `scontrol`: blocks until it answers or the time is over.
//!
//! Callers: the thread of this stage, `explain` and `doctor`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use super::parse::{Job, parse_json, parse_list, parse_text};
use crate::program::{self, Said};

/// How long one call may take, unless told otherwise. `scontrol` itself would try for a minute.
const PATIENCE: Duration = Duration::from_secs(5);
/// The states of jobs that have GPUs: a suspended one keeps them, and one that completes until its epilog is over.
const HOLDING: &str = "--states=RUNNING,SUSPENDED,COMPLETING";

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Known(Job),
    /// The controller has no such job, or hides it from us (`PrivateData`).
    Unknown,
    /// There is no answer, or none that can be believed.
    None,
}

/// Where Slurm's programs look for their configuration: what distributions and configless nodes have.
const CONFIGURATIONS: [&str; 4] = [
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
];

/// The program.
#[derive(Debug)]
pub struct Scontrol {
    program: PathBuf,
    /// Beside it, the program that lists jobs.
    squeue: Option<PathBuf>,
    patience: Duration,
    /// Whether it speaks JSON, as it does since Slurm 23.02; believed until shown otherwise.
    json: bool,
    /// Whether it has ever spoken JSON: then one odd reply does not show otherwise.
    spoke_json: bool,
}

impl Scontrol {
    /// The one in `PATH`, if there is one and this node is in a cluster. The programs alone may be there for nothing, and
    /// without a configuration they would look for a controller by DNS, which nobody asked for.
    pub fn find() -> Option<Self> {
        let paths = env::var_os("PATH")?;
        let mut places = env::split_paths(&paths).map(|folder| folder.join("scontrol"));
        let program = places.find(runs)?;
        is_configured(Some(&program)).then(|| Self::at(program, PATIENCE))
    }

    /// Whether there is a `slurm.conf` in one of the usual places.
    pub fn is_configured() -> bool {
        is_configured(None)
    }

    /// This one, and how long a call may take.
    pub(super) fn at(program: PathBuf, patience: Duration) -> Self {
        let squeue = Some(program.with_file_name("squeue")).filter(runs);
        Self { program, squeue, patience, json: true, spoke_json: false }
    }

    /// Whether it can list the jobs of this node.
    pub fn can_list(&self) -> bool {
        self.squeue.is_some()
    }

    /// The jobs that have resources on this node, and when each began; `None` where there is no answer.
    pub fn list(&self) -> Option<Vec<(u32, String)>> {
        let node = node_list(env::var("SLURMD_NODENAME").ok());
        let arguments = ["--noheader", &node, HOLDING, "--format=%A|%S"];
        let said = self.call(self.squeue.as_ref()?, &arguments).ok()?;
        parse_list(&said.out).filter(|_| said.status.success())
    }

    /// Asks of a job: as JSON, and else as text. Where only text ever served, text it is from then on.
    pub fn ask(&mut self, id: u32) -> Answer {
        if self.json {
            match self.show(id, "--json") {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Answer::None,
                Ok(said) => {
                    if let Some(job) = parse_json(&said.out, id) {
                        self.spoke_json = true;
                        return Answer::Known(job);
                    }
                }
                Err(_) => {}
            }
        }
        let Ok(said) = self.show(id, "--oneliner") else { return Answer::None };
        match parse_text(&said.out, id) {
            Some(job) if said.status.success() => {
                self.json = self.spoke_json;
                Answer::Known(job)
            }
            _ if said.err.contains("Invalid job id") => Answer::Unknown,
            _ => Answer::None,
        }
    }

    fn show(&self, id: u32, form: &str) -> io::Result<Said> {
        self.call(&self.program, &[form, "show", "job", &id.to_string(), "--details"])
    }

    /// What the controller says of the cluster's configuration.
    ///
    /// # Errors
    /// Why it does not: in its own words where it has some.
    pub fn configuration(&self) -> Result<String, String> {
        match self.call(&self.program, &["show", "config"]) {
            Ok(said) if said.status.success() => Ok(said.out),
            Ok(said) => Err(said.err.lines().next().unwrap_or("it says nothing").to_owned()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(format!("it hangs: no answer within {:?}", self.patience))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn call(&self, program: &Path, arguments: &[&str]) -> io::Result<Said> {
        program::run(program, arguments, self.patience)
    }
}

/// Whether there is a configuration: named, in one of the usual places, or beside the programs of a build of one's own.
fn is_configured(program: Option<&Path>) -> bool {
    let named = env::var_os("SLURM_CONF").map(PathBuf::from);
    let usual = CONFIGURATIONS.iter().map(PathBuf::from);
    let built =
        program.and_then(Path::parent).and_then(Path::parent).map(|prefix| prefix.join("etc/slurm.conf"));
    named.into_iter().chain(usual).chain(built).any(|path| path.is_file())
}

/// Which node's jobs are listed: this one's, by the name that it has in Slurm where `SLURMD_NODENAME` says it.
fn node_list(name: Option<String>) -> String {
    let name = name.filter(|name| !name.is_empty());
    format!("--nodelist={}", name.as_deref().unwrap_or("localhost"))
}

fn runs(path: &PathBuf) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_listed_by_its_own_name_where_that_is_said() {
        assert_eq!(node_list(None), "--nodelist=localhost");
        assert_eq!(node_list(Some(String::new())), "--nodelist=localhost");
        assert_eq!(node_list(Some("gpu01".into())), "--nodelist=gpu01");
    }
}
