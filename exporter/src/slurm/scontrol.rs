//! Asks the Slurm controller of a job, by the program `scontrol`: blocks until it answers or the time is over.
//!
//! Callers: the thread of this stage, and `explain`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::parse::{Job, parse_json, parse_list, parse_text};

/// How long one call may take, unless told otherwise. `scontrol` itself would try for a minute.
const PATIENCE: Duration = Duration::from_secs(5);
/// The states of jobs that have GPUs: a suspended one keeps them, and one that completes until its epilog is over.
const HOLDING: &str = "--states=RUNNING,SUSPENDED,COMPLETING";
/// How much of an answer is read: ten thousand tasks of an array.
const LONGEST: usize = 16 << 20;
/// How often it is looked whether a program that has closed its output has ended.
const LOOK: Duration = Duration::from_millis(5);

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

/// What a call printed.
struct Said {
    status: ExitStatus,
    out: String,
    err: String,
}

impl Scontrol {
    /// The one in `PATH`, if there is one and this node is in a cluster. The programs alone may be there for nothing, and
    /// without a configuration they would look for a controller by DNS, which nobody asked for.
    pub fn find() -> Option<Self> {
        let paths = env::var_os("PATH")?;
        let mut places = env::split_paths(&paths).map(|folder| folder.join("scontrol"));
        let program = places.find(runs)?;
        is_configured(&program).then(|| Self::at(program, PATIENCE))
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

    fn call(&self, program: &PathBuf, arguments: &[&str]) -> io::Result<Said> {
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own group, so that what it started ends with it.
        let mut child = command.process_group(0).spawn()?;
        let said = hear(&mut child, Instant::now() + self.patience);
        if said.is_err() {
            end(&mut child);
        }
        said
    }
}

/// Whether there is a configuration: named, in one of the usual places, or beside the programs of a build of one's own.
fn is_configured(program: &Path) -> bool {
    let named = env::var_os("SLURM_CONF").map(PathBuf::from);
    let usual = CONFIGURATIONS.iter().map(PathBuf::from);
    let built = program.parent().and_then(Path::parent).map(|prefix| prefix.join("etc/slurm.conf"));
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

/// Reads what a child prints until it ends.
fn hear(child: &mut Child, deadline: Instant) -> io::Result<Said> {
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut open: Vec<(usize, File)> = pipes.into_iter().flatten().map(File::from).enumerate().collect();
    let mut said = [Vec::new(), Vec::new()];
    let mut chunk = vec![0; 1 << 16];
    while let Some(at) = first_ready(&open, deadline)? {
        let (which, pipe) = &mut open[at];
        let text = &mut said[*which];
        match pipe.read(&mut chunk)? {
            0 => drop(open.swap_remove(at)),
            _ if text.len() > LONGEST => return Err(io::ErrorKind::FileTooLarge.into()),
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    let [out, err] = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Said { status: wait(child, deadline)?, out, err })
}

/// The first pipe that has something to read or is closed; `None` where there are no more pipes.
fn first_ready(open: &[(usize, File)], deadline: Instant) -> io::Result<Option<usize>> {
    while !open.is_empty() {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut pipes: Vec<PollFd<'_>> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut pipes, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(at) = pipes.iter().position(|pipe| !pipe.revents().is_empty()) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Waits for the end of a child that prints no more.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            None => thread::sleep(LOOK),
        }
    }
}

/// Ends a child and what it started.
fn end(child: &mut Child) {
    // It may have ended meanwhile.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
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
