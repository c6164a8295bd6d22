//! Slurm's word on the jobs of processes: account, user, partition, name. A stage between identify and account, for
//! rules that name one of these fields.
//!
//! Facts of a process in a job are passed on at once with these fields pending, and again when the controller has
//! answered. The GPUs that the jobs of this node have are told as allocations. A controller that is slow or away delays verdicts and changes none. Events pass through on the identify
//! stage's thread; only the thread `slurm` ever waits for the controller.
//! Not done here: finding the job of a process (its control group, in the library), and what a verdict that waits
//! comes to (the account stage).
//! Callers: `source`, for processes of this machine; `explain`.

mod desk;
#[cfg(test)]
mod desk_tests;
pub mod gres;
pub mod hostlist;
pub mod parse;
pub mod prolog;
mod roster;
#[cfg(test)]
mod roster_tests;
mod scontrol;
mod stepd;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use desk::{Desk, FIELDS, Next};
pub use desk::{job_of, pending, set_job};
use prolog::Prolog;
use roster::{Question, Roster, Service};
pub use scontrol::{Answer, Scontrol};
pub use stepd::Stepd;
use wattribute::facts::ProcessKey;
use wattribute::rules::RuleSet;

use crate::allocation::Allocations;
use crate::identify::{Event, Watch};

/// Takes an event and says whether anybody listens; never blocks.
type Tell<E> = Box<dyn Fn(E) -> bool + Send + Sync>;

/// The stage, running. Dropping it stops the thread, without waiting for an answer.
pub struct Slurm<W> {
    /// The stage before.
    identify: W,
    office: Arc<Office>,
}

/// What the threads share.
struct Office {
    /// `None`: the stage is to stop.
    desk: Mutex<Option<Desk>>,
    /// Something was heard, or the stage is to stop.
    news: Condvar,
    tell: Tell<Event>,
    hold: Tell<Allocations>,
    /// For the identify stage's thread alone: it reads files.
    stepd: Mutex<Stepd>,
    /// Whether there is a `scontrol` to ask.
    open: bool,
}

/// Whether these rules name a field that only Slurm knows.
pub fn is_wanted(rules: &RuleSet) -> bool {
    FIELDS.iter().any(|field| rules.wants(field))
}

/// How often the prolog's files are read.
const PROLOG_PERIOD: Duration = Duration::from_secs(3);

/// Where the stage finds what it needs.
pub struct Places {
    /// Slurm's programs, if there are any.
    pub scontrol: Option<Scontrol>,
    pub procfs: PathBuf,
    /// The folder of the prolog's files, if there is one.
    pub job_mapping: Option<PathBuf>,
}

/// What the stage tells.
pub struct Ears {
    /// Takes events of processes.
    pub tell: Tell<Event>,
    /// Takes what the jobs of this node hold.
    pub hold: Tell<Allocations>,
}

/// Starts the stage behind the one that `begin` starts and gives what takes its events.
///
/// # Errors
/// Where `begin` fails, or the kernel gives no thread.
pub fn spawn<W>(
    Places { scontrol, procfs, job_mapping }: Places,
    Ears { tell, hold }: Ears,
    begin: impl FnOnce(Box<dyn Fn(Event) -> bool + Send>) -> io::Result<W>,
) -> io::Result<Slurm<W>> {
    let open = scontrol.is_some();
    let service = match &scontrol {
        Some(scontrol) if scontrol.can_list() => Service::Lists,
        Some(_) => Service::Jobs,
        None => Service::None,
    };
    let roster = Roster::new(node_names(), service, Instant::now());
    let (desk, news) = (Mutex::new(Some(Desk::new(Some(roster)))), Condvar::new());
    let office = Arc::new(Office { desk, news, tell, hold, stepd: Mutex::new(Stepd::new(procfs)), open });
    let front = Arc::clone(&office);
    let identify = begin(Box::new(move |event| front.pass(event)))?;
    if let Some(scontrol) = scontrol {
        let office = Arc::clone(&office);
        thread::Builder::new().name("slurm".into()).spawn(move || office.work(scontrol))?;
    }
    if let Some(folder) = job_mapping {
        let office = Arc::clone(&office);
        thread::Builder::new().name("prolog".into()).spawn(move || office.follow(Prolog::new(folder)))?;
    }
    Ok(Slurm { identify, office })
}

impl<W: Watch> Watch for Slurm<W> {
    fn watch(&self, process: ProcessKey) {
        self.office.with(|desk| desk.watch(process));
        self.identify.watch(process);
    }

    fn forget(&self, process: ProcessKey) {
        self.identify.forget(process);
        self.office.with(|desk| desk.forget(process, Instant::now()));
    }

    fn want(&self, rules: &RuleSet, generation: u64) {
        let wanted = is_wanted(rules);
        if wanted && !self.office.open {
            tracing::warn!(
                "rules name Slurm's accounts, users, partitions or job names, but there is no scontrol in PATH, or no \
                 slurm.conf (see SLURM_CONF): they stay empty until both are there and this is started again"
            );
        }
        self.office.with(|desk| {
            desk.want(wanted && self.office.open);
            desk.roster.iter_mut().for_each(|roster| roster.want(generation));
            // Where nobody listens the stage is about to end.
            let _ = desk.allocations().into_iter().all(|held| (self.office.hold)(held));
        });
        self.identify.want(rules, generation);
    }
}

impl<W> Drop for Slurm<W> {
    fn drop(&mut self) {
        *self.office.lock() = None;
        self.office.news.notify_one();
    }
}

impl Office {
    /// Nothing that is done under the lock blocks.
    fn lock(&self) -> MutexGuard<'_, Option<Desk>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, act: impl FnOnce(&mut Desk)) {
        if let Some(desk) = self.lock().as_mut() {
            act(desk);
        }
    }

    /// Passes an event on. It is told under the lock, so that all are told in the order in which they were decided.
    fn pass(&self, event: Event) -> bool {
        let event = self.resolve(event);
        let mut desk = self.lock();
        let Some(desk) = desk.as_mut() else { return (self.tell)(event) };
        let told = desk.hear(event, Instant::now()).into_iter().all(|event| (self.tell)(event));
        self.news.notify_one();
        told
    }

    /// With the job of a SLUID.
    fn resolve(&self, event: Event) -> Event {
        let Event::Facts { process, generation, facts } = event else { return event };
        let resolved = self.stepd.lock().unwrap_or_else(PoisonError::into_inner).resolve(&facts);
        Event::Facts { process, generation, facts: resolved.map_or(facts, Arc::new) }
    }

    /// The thread: asks one question after the other until the stage stops.
    fn work(&self, mut scontrol: Scontrol) {
        while let Some(question) = self.next() {
            let (mut answer, mut list) = (None, None);
            match question {
                Question::Job(job) => answer = Some((job, scontrol.ask(job))),
                Question::List => list = Some(scontrol.list()),
            }
            let (mut desk, now) = (self.lock(), Instant::now());
            let Some(desk) = desk.as_mut() else { return };
            list.into_iter().for_each(|list| desk.list(list, now));
            let events = answer.map(|(job, answer)| desk.answer(job, answer, now)).unwrap_or_default();
            let told = events.into_iter().all(|event| (self.tell)(event));
            if !told || !desk.allocations().into_iter().all(|held| (self.hold)(held)) {
                return;
            }
        }
    }

    /// The thread of the prolog's files: reads them until the stage stops.
    fn follow(&self, mut prolog: Prolog) {
        loop {
            let mapping = prolog.read();
            {
                let mut desk = self.lock();
                let Some(desk) = desk.as_mut() else { return };
                let roster = desk.roster.as_mut();
                roster
                    .zip(mapping)
                    .into_iter()
                    .for_each(|(roster, mapping)| roster.map(mapping, Instant::now()));
                if !desk.allocations().into_iter().all(|held| (self.hold)(held)) {
                    return;
                }
                self.news.notify_one();
            }
            thread::sleep(PROLOG_PERIOD);
        }
    }

    /// Waits for the next question; `None` is the end.
    fn next(&self) -> Option<Question> {
        let mut desk = self.lock();
        loop {
            let now = Instant::now();
            let until = match desk.as_mut()?.next(now) {
                Next::Ask(question) => return Some(question),
                Next::Wait(until) => until,
            };
            let limit = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            let woken = self.news.wait_timeout(desk, limit).unwrap_or_else(PoisonError::into_inner);
            desk = woken.0;
        }
    }
}

/// What this node may be called in Slurm: as the kernel says, and as `slurmd` may have been told.
fn node_names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    std::env::var("SLURMD_NODENAME").into_iter().chain([host]).collect()
}
