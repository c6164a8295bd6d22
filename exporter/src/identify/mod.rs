//! The identify stage: facts of the processes that the sampler found, and the news that one ended.
//!
//! One thread owns the reader, so that a read of /proc that blocks delays no sample. Facts are read once, and
//! again every interval, to notice exec and moves between control groups. Not done here: deciding who pays
//! (the rules), and asking schedulers (`slurm`).
//! Callers: the one file that sees all stages, and `demo`, which brings processes of its own.

mod exits;
mod stage;
#[cfg(test)]
mod tests;

use exits::{Exits, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stage::{Post, Stage};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use wattribute::facts::{Facts, ProcessKey};
use wattribute::procfs::{ReadError, Reader, Reading};
use wattribute::rules::RuleSet;

/// How long facts count before they are read again, unless told otherwise.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// What the stage tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Facts of a process, read for this generation of the rules: the first, or others than before.
    Facts { process: ProcessKey, generation: u64, facts: Arc<Facts> },
    /// Nothing of a process can be read. Told once per reason and generation; it stays watched.
    Failed { process: ProcessKey, reason: &'static str },
    /// A part of a process cannot be read, or its end not be watched (`pidfd`): to be counted. Told once per
    /// part.
    Missing { process: ProcessKey, part: &'static str },
    /// A process ended, or its pid is another's by now. It is no longer watched.
    Ended { process: ProcessKey },
}

/// What is read of a process besides what always is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The variables of the environment, by exact name.
    pub env: BTreeSet<String>,
    /// Whether any rule asks for ancestors.
    pub ancestors: bool,
}

/// Where facts come from: the /proc of this machine, or simulated processes.
pub trait Processes: Send {
    /// The facts of a process, the wanted ones.
    ///
    /// # Errors
    /// `Vanished` where the process is gone, else why nothing could be read.
    fn facts(&mut self, process: ProcessKey, wanted: &Wanted) -> Result<Reading, ReadError>;

    /// The same of several at one time, in their order.
    fn facts_of(&mut self, processes: &[ProcessKey], wanted: &Wanted) -> Vec<Result<Reading, ReadError>> {
        processes.iter().map(|process| self.facts(*process, wanted)).collect()
    }

    /// How the end of a process is noticed.
    fn ends(&self) -> Ends;

    /// Drops what is kept from one read to the next, such as the names of users: the rules were loaded anew.
    fn forget(&mut self);
}

/// How the end of a process is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The kernel tells: the pids are those of this process's own PID namespace.
    ByPidfd,
    /// When the facts are read again.
    ByReading,
}

/// The processes of a /proc file system.
#[derive(Debug)]
pub struct Proc {
    reader: Reader,
    ends: Ends,
}

impl Proc {
    /// Those under `root`. Where it shows another PID namespace than ours its pids mean other processes to
    /// the kernel, so that ends are noticed by reading.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let own = std::fs::read_link(root.join("self"));
        let ours = own.is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str());
        Self { reader: Reader::new(root), ends: if ours { Ends::ByPidfd } else { Ends::ByReading } }
    }
}

impl Processes for Proc {
    fn facts(&mut self, process: ProcessKey, wanted: &Wanted) -> Result<Reading, ReadError> {
        self.reader.read_ancestors(wanted.ancestors);
        self.reader.facts(process, &wanted.env)
    }

    fn facts_of(&mut self, processes: &[ProcessKey], wanted: &Wanted) -> Vec<Result<Reading, ReadError>> {
        self.reader.read_ancestors(wanted.ancestors);
        let mut round = self.reader.round(&wanted.env);
        processes.iter().map(|process| round.facts(*process)).collect()
    }

    fn ends(&self) -> Ends {
        self.ends
    }

    fn forget(&mut self) {
        self.reader.names().forget();
    }
}

/// What the stage is asked to do.
enum Command {
    Watch(ProcessKey),
    Forget(ProcessKey),
    Want(Wanted, u64),
}

/// The running stage. Dropping it stops the thread, without waiting for a read that blocks.
#[derive(Debug)]
pub struct Identify {
    /// Gone when the stage is to stop: the thread sees the channel closed.
    commands: Option<Sender<Command>>,
    waker: Waker,
}

/// What the stage can be asked to do.
pub trait Watch: Send {
    /// Watches a process until it ends or is forgotten. Watching it twice is watching it once.
    fn watch(&self, process: ProcessKey);
    /// Stops watching a process.
    fn forget(&self, process: ProcessKey);
    /// Wants what these rules name from now on. All watched processes are read again, and their facts told with this
    /// generation, changed or not.
    fn want(&self, rules: &RuleSet, generation: u64);
}

impl Watch for Identify {
    fn watch(&self, process: ProcessKey) {
        self.ask(Command::Watch(process));
    }

    fn forget(&self, process: ProcessKey) {
        self.ask(Command::Forget(process));
    }

    fn want(&self, rules: &RuleSet, generation: u64) {
        let (env, ancestors) = (rules.wanted_env().clone(), rules.wants_ancestors());
        self.ask(Command::Want(Wanted { env, ancestors }, generation));
    }
}

impl Identify {
    /// The command first, then the wake-up: the thread clears the wake-up before it looks for commands, so
    /// that none is overlooked. Where the thread has ended there is nobody to ask, as its closed event
    /// channel shows.
    fn ask(&self, command: Command) {
        if self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok()) {
            self.waker.wake();
        }
    }
}

impl Drop for Identify {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
    }
}

/// Starts the stage: facts of `processes`, read again every `interval`. `tell` takes each event and says whether
/// anybody listens; it must not block.
///
/// # Errors
/// Where the kernel gives no epoll, eventfd or thread.
pub fn spawn(
    processes: impl Processes + 'static,
    tell: impl Fn(Event) -> bool + Send + 'static,
    interval: Duration,
) -> io::Result<Identify> {
    let (exits, waker) = Exits::new(raised_file_limit() / 2)?;
    let (commands, inbox) = std::sync::mpsc::channel();
    let stage = Stage::new(processes, Post { inbox, tell }, exits, interval);
    std::thread::Builder::new().name("identify".into()).spawn(move || stage.run())?;
    Ok(Identify { commands: Some(commands), waker })
}

/// Raises the limit of open files as far as may be, and says where it is then: every watched process holds
/// one. Half of them are for that; of processes beyond, the end is noticed by reading.
fn raised_file_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
