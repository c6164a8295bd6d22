//! The jobs on this node and the GPUs that each has: when to list them, when to ask of one, and what they hold.
//!
//! The list is asked for every 15 seconds, a job once: the same answer serves its processes (`desk`). A job that
//! begins again after it was requeued is asked of anew. Pure: no thread, no clock, no program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattribute::facts::{Facts, Field};

use super::desk::{FIELDS, back_off};
use super::gres;
use super::parse::Job;
use super::prolog::Mapping;
use super::scontrol::Answer;
use crate::allocation::{Allocation, Allocations, Device};

/// The time between two lists.
const PERIOD: Duration = Duration::from_secs(15);
/// How soon a list may follow another, where a process shows that it is out of date.
const SOONEST: Duration = Duration::from_secs(1);
/// How long to wait at most after failures: there may be Slurm's programs on a machine without Slurm.
const LONGEST: Duration = Duration::from_secs(600);
/// The same for a job.
const LONGEST_JOB: Duration = Duration::from_secs(60);
/// How long the last list stands where no new one can be had; then nothing is known.
const STALE: Duration = Duration::from_secs(300);

/// What is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// For the jobs on this node.
    List,
    /// Of this job.
    Job(u32),
}

/// All jobs on this node.
#[derive(Debug)]
pub struct Roster {
    /// What this node may be called.
    names: Vec<String>,
    generation: u64,
    /// Whether there is anybody to ask, and whether for lists too.
    service: Service,
    jobs: BTreeMap<u32, Post>,
    /// What the prolog's files say, apart from what Slurm lists.
    mapping: Option<Mapping>,
    /// When the list in force was given.
    listed: Option<Instant>,
    /// When to list next.
    due: Instant,
    /// In a row.
    failures: u32,
    /// Whether the list in force is too old to go by.
    stale: bool,
    /// Whether what is held has not been told as it is now.
    untold: bool,
    /// Whether anything has been told.
    told: bool,
    /// The listed jobs of which it cannot be told which GPUs they have.
    unclear: BTreeSet<u32>,
}

/// What Slurm's programs can be asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// For the jobs on this node, and of each.
    Lists,
    /// Of a job.
    Jobs,
    /// Nothing.
    None,
}

/// A job on this node.
#[derive(Debug)]
struct Post {
    /// When it began, as Slurm writes it; `None` for one that only the prolog names.
    since: Option<String>,
    /// `None`: not yet. `Some(None)`: Slurm says nothing of it.
    answer: Option<Option<Job>>,
    /// When to ask.
    due: Instant,
    /// In a row.
    failures: u32,
}

impl Roster {
    /// Of the node with one of these names.
    pub fn new(names: Vec<String>, service: Service, now: Instant) -> Self {
        Self {
            names,
            generation: 0,
            service,
            mapping: None,
            jobs: BTreeMap::new(),
            listed: None,
            due: now,
            failures: 0,
            stale: false,
            untold: false,
            told: false,
            unclear: BTreeSet::new(),
        }
    }

    /// New rules: what is held is told again.
    pub fn want(&mut self, generation: u64) {
        self.generation = generation;
        self.untold = self.listed.is_some() || self.mapping.is_some();
    }

    /// What the prolog's files say now.
    pub fn map(&mut self, mapping: Mapping, now: Instant) {
        if self.mapping.as_ref() == Some(&mapping) {
            return;
        }
        self.jobs.retain(|job, post| post.since.is_some() || mapping.contains_key(job));
        for job in mapping.keys() {
            self.hear(*job);
            self.jobs.entry(*job).or_insert(Post { since: None, answer: None, due: now, failures: 0 });
        }
        (self.mapping, self.untold) = (Some(mapping), true);
    }

    /// What is to be asked next, and when.
    pub fn next(&self) -> Option<(Instant, Question)> {
        let asked =
            self.jobs.iter().filter(|(_, post)| post.answer.is_none() && self.service != Service::None);
        let asked = asked.map(|(job, post)| (post.due, Question::Job(*job)));
        let list = (self.service == Service::Lists).then_some((self.due, Question::List));
        asked.chain(list).min_by_key(|(due, _)| *due)
    }

    /// What is known of a job.
    pub fn answer_of(&self, job: u32) -> Option<&Job> {
        self.jobs.get(&job)?.answer.as_ref()?.as_ref()
    }

    /// A process is in this job: if it is not on the list, the list is out of date.
    pub fn hear(&mut self, job: u32) {
        let is_listed = self.jobs.get(&job).is_some_and(|post| post.since.is_some());
        if let Some(listed) = self.listed.filter(|_| self.failures == 0 && !is_listed) {
            self.due = self.due.min(listed + SOONEST);
        }
    }

    /// When the list in force was given, if there was any.
    pub fn listed(&self) -> Option<Instant> {
        self.listed
    }

    /// The list came, or did not.
    pub fn list(
        &mut self,
        list: Option<Vec<(u32, String)>>,
        known: impl Fn(u32) -> Option<Job>,
        now: Instant,
    ) {
        let Some(list) = list else { return self.fail(now) };
        if self.failures > 0 {
            tracing::info!("Slurm lists the jobs of this node again");
        }
        let is_first = self.listed.is_none();
        (self.listed, self.due, self.failures, self.stale) = (Some(now), now + PERIOD, 0, false);
        let before = self.listed_jobs();
        let mut jobs = BTreeMap::new();
        for (job, since) in list {
            let post = match self.jobs.remove(&job) {
                Some(post) if post.since.as_ref() == Some(&since) => post,
                Some(Post { answer, since: None, .. }) => {
                    // On the list it is known to Slurm, whatever was said before.
                    Post { since: Some(since), answer: answer.filter(Option::is_some), due: now, failures: 0 }
                }
                Some(_) => Post { since: Some(since), answer: None, due: now, failures: 0 },
                None => Post { since: Some(since), answer: known(job).map(Some), due: now, failures: 0 },
            };
            jobs.insert(job, post);
        }
        for (job, post) in std::mem::take(&mut self.jobs) {
            if self.mapping.as_ref().is_some_and(|mapping| mapping.contains_key(&job)) {
                jobs.insert(job, Post { since: None, ..post });
            }
        }
        self.jobs = jobs;
        let is_unsure = self.jobs.values().any(|post| post.answer.is_none());
        self.untold |= is_first || is_unsure || before != self.listed_jobs();
    }

    fn listed_jobs(&self) -> BTreeSet<u32> {
        self.jobs.iter().filter(|(_, post)| post.since.is_some()).map(|(job, _)| *job).collect()
    }

    fn fail(&mut self, now: Instant) {
        if self.failures == 0 {
            tracing::warn!(
                "Slurm does not list the jobs of this node: what they hold stands for five minutes; squeue \
                 --nodelist=localhost must answer"
            );
        }
        self.due = now + back_off(self.failures, LONGEST);
        self.failures += 1;
        if !self.stale && self.listed.is_some_and(|listed| now >= listed + STALE) {
            let mapping = self.mapping.as_ref();
            self.jobs.retain(|job, post| {
                post.since = None;
                mapping.is_some_and(|mapping| mapping.contains_key(job))
            });
            (self.stale, self.untold) = (true, true);
        }
    }

    /// What came of a question for a job.
    pub fn answer(&mut self, job: u32, answer: &Answer, now: Instant) {
        // Slurm answers again: so may the list.
        if self.failures > 0 && *answer != Answer::None {
            self.due = now;
        }
        let Some(post) = self.jobs.get_mut(&job) else { return };
        let is_listed = post.since.is_some();
        match answer {
            // A job that is listed is there: the controller is behind.
            Answer::Unknown if is_listed && post.answer.is_none() => post.fail(now),
            Answer::None => post.fail(now),
            Answer::Known(said) => {
                self.untold |= post.answer.as_ref().and_then(Option::as_ref) != Some(said);
                post.answer = Some(Some(said.clone()));
            }
            // What has left the controller's memory was what it was.
            Answer::Unknown => {
                self.untold |= post.answer.is_none();
                post.answer.get_or_insert(None);
            }
        }
    }

    /// What is held now, by Slurm's list and by the prolog's files, if it is not what was told last.
    pub fn news(&mut self) -> Vec<Allocations> {
        // The first word is waited for: it is not given while it is known to be incomplete.
        let is_unsure = |post: &Post| post.answer.is_none() && post.failures == 0;
        if !self.untold || (!self.told && self.service != Service::None && self.jobs.values().any(is_unsure))
        {
            return Vec::new();
        }
        (self.untold, self.told) = (false, true);
        for job in self.unclear() {
            tracing::warn!(
                job,
                "it cannot be told which GPUs of this node the job has: it holds none; see GresTypes and gres.conf"
            );
        }
        let listed = self.listed.map(|_| self.say("slurm", self.by_list()));
        let mapped = self.mapping.as_ref().map(|mapping| self.say("prolog", self.by_prolog(mapping)));
        listed.into_iter().chain(mapped).collect()
    }

    /// The listed jobs of which it cannot be told which GPUs they have, those not given before.
    pub fn unclear(&mut self) -> Vec<u32> {
        let listed = self.jobs.iter().filter(|(_, post)| post.since.is_some());
        let known = listed.filter_map(|(id, post)| Some((*id, post.answer.as_ref()?.as_ref()?)));
        let unclear: BTreeSet<u32> =
            known.filter(|(_, job)| self.gpus(job).is_none()).map(|(id, _)| id).collect();
        let before = std::mem::replace(&mut self.unclear, unclear);
        self.unclear.difference(&before).copied().collect()
    }

    fn say(&self, source: &'static str, held: BTreeMap<Arc<str>, Vec<Allocation>>) -> Allocations {
        Allocations { source, generation: self.generation, held }
    }

    fn by_list(&self) -> BTreeMap<Arc<str>, Vec<Allocation>> {
        let listed = self.jobs.iter().filter(|(_, post)| post.since.is_some());
        let known = listed.filter_map(|(id, post)| Some((*id, post.answer.as_ref()?.as_ref()?)));
        let held = known.map(|(id, job)| {
            let mut allocations = self.allocations(id, job);
            // Of a job that has files these know best, for Slurm's index may not be NVML's.
            let files = self.mapping.as_ref().and_then(|mapping| mapping.get(&id));
            allocations.retain(|one| files.is_none_or(|devices| devices.contains(&one.device)));
            (format!("slurm:{id}").into(), allocations)
        });
        held.filter(|(_, allocations)| !allocations.is_empty()).collect()
    }

    /// A file of a job that Slurm's list lacks was left behind: the job is over.
    fn by_prolog(&self, mapping: &Mapping) -> BTreeMap<Arc<str>, Vec<Allocation>> {
        let (has_list, listed) = (self.listed.is_some() && !self.stale, self.listed_jobs());
        let lasting = mapping.iter().filter(|(id, _)| !has_list || listed.contains(id));
        let held = lasting.map(|(id, devices)| {
            let answer = self.jobs.get(id).and_then(|post| post.answer.as_ref());
            let facts = Arc::new(match answer {
                Some(Some(job)) => facts(*id, job),
                None if self.service != Service::None => awaited(*id),
                Some(None) | None => named(*id),
            });
            let allocation = |device: &Device| Allocation {
                device: device.clone(),
                replicas: 1,
                facts: Arc::clone(&facts),
            };
            (format!("slurm:{id}").into(), devices.iter().map(allocation).collect())
        });
        held.collect()
    }

    fn allocations(&self, id: u32, job: &Job) -> Vec<Allocation> {
        let facts = Arc::new(facts(id, job));
        let allocation = |(index, replicas)| Allocation {
            device: Device::Index(index),
            replicas,
            facts: Arc::clone(&facts),
        };
        self.gpus(job).into_iter().flatten().map(allocation).collect()
    }

    /// The GPUs of this node that a job has, and how many replicas of each; `None` where that cannot be told.
    fn gpus(&self, job: &Job) -> Option<gres::Gpus> {
        job.shares.as_ref().and_then(|shares| gres::here(shares, &self.names))
    }
}

impl Post {
    /// There is no answer yet.
    fn fail(&mut self, now: Instant) {
        self.due = now + back_off(self.failures, LONGEST_JOB);
        self.failures += 1;
    }
}

/// What Slurm says of a job's holder.
fn facts(id: u32, job: &Job) -> Facts {
    let mut facts = named(id);
    facts.set(Field::Uid, job.uid.to_string());
    facts.set(Field::User, &*job.user);
    facts.set(Field::Gid, job.gid.map(|gid| gid.to_string()).unwrap_or_default());
    facts.set(Field::Group, &*job.group);
    for (field, value) in FIELDS.into_iter().zip(job.fields()) {
        facts.set(field, value);
    }
    facts
}

/// Of a job's holder, before Slurm has said anything.
fn awaited(id: u32) -> Facts {
    let mut facts = named(id);
    let own = [Field::Uid, Field::User, Field::Gid, Field::Group];
    own.into_iter().chain(FIELDS).for_each(|field| facts.set_pending(field));
    facts
}

/// Of a job's holder, where there is nobody to ask, or Slurm does not know the job.
fn named(id: u32) -> Facts {
    let mut facts = Facts::default();
    facts.set(Field::Scheduler, "slurm");
    facts.set(Field::JobId, id.to_string());
    facts
}
