//! What is asked of Slurm and when, and what is told of each process: all decisions of the stage, without its thread,
//! its clock or its program.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattribute::facts::{Fact, Facts, Field, ProcessKey};

use super::parse::Job;
use super::roster::{Question, Roster};
use super::scontrol::Answer;
use crate::allocation::Allocations;
use crate::identify::Event;

/// The fields that Slurm knows.
pub const FIELDS: [Field; 4] =
    [Field::SlurmAccount, Field::SlurmUser, Field::SlurmPartition, Field::SlurmJobName];

/// The time between two questions is at least this: ten in a second.
const PACE: Duration = Duration::from_millis(100);
/// How long to wait at most after failures.
const BACK_OFF: Duration = Duration::from_secs(60);
/// How old an answer may be while the job runs; then it is asked for again, and stands until the new one is there.
const FRESH: Duration = Duration::from_secs(3600);
/// When a job that Slurm does not know is asked for again: it may be that the controller had just begun.
const UNKNOWN: Duration = Duration::from_secs(60);
/// How old an answer may be that is taken for a job on a new list: a job that begins anew may have other GPUs.
const NEW: Duration = Duration::from_secs(60);
/// How long a job is remembered after its last process ended.
const LINGER: Duration = Duration::from_secs(300);
/// How many jobs without a process are remembered at most.
const MOST_IDLE: usize = 1024;
/// Who ends while so many processes wait for what their job is does not wait any longer.
const MOST_WAITING: usize = 4096;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this now.
    Ask(Question),
    /// Look again then; `None` is when something is heard.
    Wait(Option<Instant>),
}

/// All that is known of processes and jobs.
#[derive(Debug, Default)]
pub struct Desk {
    /// Whether any rule names one of the fields.
    wanted: bool,
    watched: HashMap<ProcessKey, Watched>,
    jobs: HashMap<u32, Case>,
    /// The jobs of this node, where they can be listed.
    pub roster: Option<Roster>,
    /// When the next question may be asked.
    free: Option<Instant>,
}

/// A process that the account stage wants to hear of.
#[derive(Debug, Default)]
struct Watched {
    heard: Option<Heard>,
    /// Whether it was told that it is not its job's user.
    mismatched: bool,
    /// It ended, or nobody watches it any more; it stays until its job has an answer.
    gone: bool,
}

/// What identify said last of a process in a job.
#[derive(Clone, Debug)]
struct Heard {
    job: u32,
    generation: u64,
    facts: Arc<Facts>,
}

/// A job.
#[derive(Debug)]
struct Case {
    /// `None`: not yet. `Some(None)`: there is no such job.
    answer: Option<Option<Job>>,
    /// When Slurm last said what the job is.
    answered: Option<Instant>,
    processes: BTreeSet<ProcessKey>,
    /// When to ask next.
    due: Instant,
    /// In a row.
    failures: u32,
    /// When its last process ended, if it has none.
    idle: Option<Instant>,
}

impl Desk {
    /// Nothing known yet.
    pub fn new(roster: Option<Roster>) -> Self {
        Self { roster, ..Self::default() }
    }

    /// Whether facts of Slurm are wanted from now on.
    pub fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted {
            self.jobs.clear();
            self.watched.retain(|_, watched| {
                watched.heard = None;
                !watched.gone
            });
        }
    }

    /// A process is watched.
    pub fn watch(&mut self, process: ProcessKey) {
        self.watched.entry(process).or_default().gone = false;
    }

    /// A process is no longer watched.
    pub fn forget(&mut self, process: ProcessKey, now: Instant) {
        let Some(watched) = self.watched.get_mut(&process) else { return };
        watched.gone = true;
        let job = watched.heard.as_ref().map(|heard| heard.job);
        let case = job.and_then(|job| self.jobs.get_mut(&job));
        let is_over = |case: &&mut Case| case.answer.is_some() || case.processes.len() > MOST_WAITING;
        if case.as_ref().is_none_or(is_over) {
            self.watched.remove(&process);
            self.leave(process, job, now);
        } else if let Some(case) = case {
            let is_gone = |process| self.watched.get(process).is_none_or(|watched| watched.gone);
            case.idle = case.processes.iter().all(is_gone).then_some(now);
        }
    }

    /// Takes an event of the identify stage, and gives what is to be told instead.
    pub fn hear(&mut self, event: Event, now: Instant) -> Vec<Event> {
        match event {
            Event::Facts { process, generation, facts } if self.wanted => {
                let heard = job_of(&facts).map(|job| Heard { job, generation, facts: Arc::clone(&facts) });
                match heard {
                    Some(heard) => self.learn(process, heard, now),
                    None => {
                        self.move_to(process, None, now);
                        let is_awaited = facts.get(&Field::JobId) == Fact::Pending;
                        let facts = if is_awaited { Arc::new(pending(&facts)) } else { facts };
                        vec![Event::Facts { process, generation, facts }]
                    }
                }
            }
            Event::Ended { process } => {
                self.forget(process, now);
                vec![event]
            }
            other => vec![other],
        }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant) -> Next {
        self.sweep(now);
        let due = self.jobs.iter().filter(|(_, case)| case.answer.is_none() || case.idle.is_none());
        let due = due.min_by_key(|(job, case)| (case.due, **job));
        let due = due.map(|(job, case)| (case.due, Question::Job(*job)));
        let first =
            due.into_iter().chain(self.roster.as_ref().and_then(Roster::next)).min_by_key(|(due, _)| *due);
        let Some((due, question)) = first else { return Next::Wait(None) };
        let at = self.free.map_or(due, |free| free.max(due));
        if at > now { Next::Wait(Some(at)) } else { Next::Ask(question) }
    }

    /// The list of jobs came, or did not.
    pub fn list(&mut self, list: Option<Vec<(u32, String)>>, now: Instant) {
        self.free = Some(now + PACE);
        // What was said before the last list may be of an earlier run of the job.
        let before = self.roster.as_ref().and_then(Roster::listed);
        let is_new = |at: Instant| at + NEW >= now && before.is_none_or(|before| at >= before);
        let known = |job| {
            let case: &Case = self.jobs.get(&job)?;
            case.answer.clone()?.filter(|_| case.answered.is_some_and(is_new))
        };
        if let Some(roster) = &mut self.roster {
            roster.list(list, known, now);
        }
    }

    /// What the jobs of this node hold now, if it is not what was told last.
    pub fn allocations(&mut self) -> Vec<Allocations> {
        self.roster.as_mut().map(Roster::news).unwrap_or_default()
    }

    /// What came of a question; gives what is to be told.
    pub fn answer(&mut self, job: u32, answer: Answer, now: Instant) -> Vec<Event> {
        self.free = Some(now + PACE);
        if let Some(roster) = &mut self.roster {
            roster.answer(job, &answer, now);
        }
        let Some(case) = self.jobs.get_mut(&job) else { return Vec::new() };
        let first = case.processes.first().copied();
        let miss = |part| first.map(|process| Event::Missing { process, part }).into_iter().collect();
        let said = match answer {
            Answer::None => {
                case.due = now + back_off(case.failures, BACK_OFF);
                case.failures += 1;
                return miss("slurm_unreachable");
            }
            Answer::Known(job) => Some(job),
            Answer::Unknown => None,
        };
        let is_unknown = said.is_none() && case.answer.as_ref().is_none_or(Option::is_none);
        (case.due, case.failures) = (now + if is_unknown { UNKNOWN } else { FRESH }, 0);
        case.answered = said.as_ref().map(|_| now).or(case.answered);
        // A job that has left the controller's memory was what it was.
        if case.answer.as_ref().is_some_and(|earlier| said.is_none() || *earlier == said) {
            return Vec::new();
        }
        let mut events: Vec<Event> = if said.is_none() { miss("slurm_unknown_job") } else { Vec::new() };
        case.answer = Some(said);
        for process in case.processes.clone() {
            events.extend(self.complete(process));
            if self.watched.get(&process).is_some_and(|watched| watched.gone) {
                self.watched.remove(&process);
                self.leave(process, Some(job), now);
            }
        }
        events
    }

    /// A process in a job: complete where the answer is there, else pending. Of a process that nobody watches any
    /// more nothing is told, which is not the same as that it has no account.
    fn learn(&mut self, process: ProcessKey, heard: Heard, now: Instant) -> Vec<Event> {
        let Heard { job, generation, ref facts } = heard;
        if self.watched.get(&process).is_none_or(|watched| watched.gone) {
            return Vec::new();
        }
        let pending = pending(facts);
        self.move_to(process, Some(heard), now);
        if self.jobs.get(&job).is_some_and(|case| case.answer.is_some()) {
            return self.complete(process);
        }
        vec![Event::Facts { process, generation, facts: Arc::new(pending) }]
    }

    /// A process is in this job from now on, or in none.
    fn move_to(&mut self, process: ProcessKey, heard: Option<Heard>, now: Instant) {
        let Some(watched) = self.watched.get_mut(&process) else { return };
        let job = heard.as_ref().map(|heard| heard.job);
        let before = std::mem::replace(&mut watched.heard, heard).map(|heard| heard.job);
        if before != job {
            watched.mismatched = false;
            self.leave(process, before, now);
        }
        if let Some(job) = job {
            let known = self.roster.as_mut().and_then(|roster| {
                roster.hear(job);
                roster.answer_of(job)
            });
            let case = self.jobs.entry(job).or_insert_with(|| Case::new(known, now));
            case.processes.insert(process);
            case.idle = None;
        }
    }

    fn leave(&mut self, process: ProcessKey, job: Option<u32>, now: Instant) {
        if let Some(case) = job.and_then(|job| self.jobs.get_mut(&job)) {
            case.processes.remove(&process);
            if case.processes.is_empty() {
                case.idle.get_or_insert(now);
            }
        }
    }

    /// The facts of a process with what Slurm says of its job.
    fn complete(&mut self, process: ProcessKey) -> Vec<Event> {
        let Some(watched) = self.watched.get_mut(&process) else { return Vec::new() };
        let Some(Heard { job, generation, facts }) = watched.heard.clone() else { return Vec::new() };
        let job = self.jobs.get(&job).and_then(|case| case.answer.as_ref()?.as_ref());
        let mut events = Vec::new();
        let mut whole = (*facts).clone();
        if !set_job(&mut whole, job) && !std::mem::replace(&mut watched.mismatched, true) {
            events.push(Event::Missing { process, part: "slurm_uid_mismatch" });
        }
        events.push(Event::Facts { process, generation, facts: Arc::new(whole) });
        events
    }

    /// Drops jobs that have been without a process for long, and the longest idle where there are too many.
    fn sweep(&mut self, now: Instant) {
        let mut idle: Vec<(Instant, u32)> =
            self.jobs.iter().filter_map(|(job, case)| Some((case.idle?, *job))).collect();
        idle.sort_unstable();
        let too_many = idle.len().saturating_sub(MOST_IDLE);
        for (number, (since, job)) in idle.into_iter().enumerate() {
            if number >= too_many && since + LINGER > now {
                break;
            }
            let processes = self.jobs.remove(&job).map(|case| case.processes).unwrap_or_default();
            processes.iter().for_each(|process| drop(self.watched.remove(process)));
        }
    }
}

impl Case {
    /// `known` is what the roster knows of the job.
    fn new(known: Option<&Job>, now: Instant) -> Self {
        let due = if known.is_some() { now + FRESH } else { now };
        let answer = known.cloned().map(Some);
        Self { answer, answered: None, processes: BTreeSet::new(), due, failures: 0, idle: None }
    }
}

/// The job of a process, where its control group says that Slurm put it into one.
pub fn job_of(facts: &Facts) -> Option<u32> {
    let job = facts.text(&Field::JobId);
    (facts.text(&Field::Scheduler) == "slurm").then(|| job.parse().ok()).flatten()
}

/// The same facts, with Slurm's still to come.
pub fn pending(facts: &Facts) -> Facts {
    let mut pending = facts.clone();
    FIELDS.into_iter().for_each(|field| pending.set_pending(field));
    pending
}

/// Sets what Slurm says of the process's job, or that it says nothing. Another user's job is not believed to be this
/// process's (an answer of another cluster, a number used again): false, and the fields are absent.
pub fn set_job(facts: &mut Facts, job: Option<&Job>) -> bool {
    let is_own = |job: &&Job| facts.text(&Field::Uid) == job.uid.to_string();
    let own = job.filter(is_own);
    for (field, value) in FIELDS.into_iter().zip(own.map_or([""; 4], Job::fields)) {
        facts.set(field, value);
    }
    own.is_some() || job.is_none()
}

/// The wait after this many failures before: a second, doubled with each.
pub fn back_off(failures: u32, longest: Duration) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << failures.min(16)).min(longest)
}
