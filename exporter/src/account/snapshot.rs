//! A snapshot: everything that a scrape, the page and the state file may show, as it stood at one moment.
//!
//! Immutable, so that scrapes wait for nobody. [`super::super::expose`] asks it for the rows of each metric.

use std::collections::BTreeMap;
use std::sync::Arc;

use wattribute::owner::Owner;
use wattribute::rules::RuleSet;
use wattribute::split::Basis;

use super::book::Book;
use super::claims::Billing;
use super::delay::Settled;
use super::gpu::{Gpu, Latest, Who};
use super::occupant::Occupant;
use super::series::{Labelled, SeriesId};
use super::{Calls, Progress};
use crate::clock::{self, Now};
use crate::sample::Card;

/// The books and the live readings at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What may be seen.
    pub visible: Book,
    /// What is accounted and may not yet be seen.
    pub hidden: Book,
    /// The labels of the series in the books.
    pub series: Labelled,
    pub gpus: Vec<GpuView>,
    /// Those by which the verdicts were reached.
    pub rules: Arc<RuleSet>,
    pub progress: BTreeMap<Arc<str>, Progress>,
    pub failures: BTreeMap<&'static str, u64>,
    pub calls: Calls,
    pub pid_namespace_mismatch: bool,
    /// Whether a first complete sample is in.
    pub ready: bool,
}

impl Snapshot {
    /// Live like this one, with the books of another.
    pub fn with_books_of(&self, other: &Self) -> Self {
        Self { visible: other.visible.clone(), hidden: other.hidden.clone(), ..self.clone() }
    }
}

/// A GPU, live.
#[derive(Clone, Debug)]
pub struct GpuView {
    pub card: Card,
    /// Whether it answers.
    pub up: bool,
    /// Its readings; absent before its first complete sample.
    pub latest: Option<Latest>,
    /// What its last interval was split by.
    pub basis: Option<Basis>,
    /// What each owner drew in the last interval, in watts.
    pub watts: BTreeMap<Owner, f64>,
    /// Who is on it.
    pub teams: BTreeMap<Owner, TeamView>,
    /// Processes that have a series of their own.
    pub processes: Vec<ProcessView>,
    /// All processes; none unless single processes are to be shown.
    pub occupants: Vec<Occupant>,
}

/// An owner's processes on a GPU, live.
#[derive(Clone, Copy, Debug, Default)]
pub struct TeamView {
    pub processes: usize,
    /// GPU memory in bytes; `None` where it is unknown for one of them.
    pub memory: Option<u64>,
}

/// A process on a GPU, live.
#[derive(Clone, Copy, Debug)]
pub struct ProcessView {
    pub series: SeriesId,
    /// GPU memory in bytes.
    pub memory: Option<u64>,
    /// Share of the last interval in which it was busy.
    pub utilization: Option<f64>,
    /// Unix time in seconds.
    pub started: f64,
}

impl GpuView {
    /// A GPU that has not answered yet.
    pub fn new(card: Card) -> Self {
        let (watts, teams, processes) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let occupants = Vec::new();
        Self { card, up: false, latest: None, basis: None, watts, teams, processes, occupants }
    }

    /// Takes over the readings and the occupants of now. Nobody is on a GPU that does not answer.
    pub fn refresh<'a>(&mut self, gpu: &Gpu, now: Now, billing: impl Fn(Who) -> Option<&'a Billing>) {
        self.latest = gpu.latest;
        self.teams.clear();
        self.processes.clear();
        self.occupants.clear();
        if !self.up {
            return self.watts.clear();
        }
        let boot = now.unix.saturating_sub(now.boot);
        let mut last = None;
        for (who, memory, utilization) in gpu.occupancy() {
            let Some(billing) = billing(who) else { continue };
            let team =
                self.teams.entry(billing.owner.clone()).or_insert(TeamView { processes: 0, memory: Some(0) });
            team.memory = sum(team.memory, memory);
            // On two MIG instances it is still one process.
            let is_again = last == Some(who.0);
            last = Some(who.0);
            team.processes += usize::from(!is_again);
            let [Some(series), _] = billing.series else { continue };
            match self.processes.last_mut().filter(|view| is_again && view.series == series) {
                Some(view) => view.memory = sum(view.memory, memory),
                None => {
                    let started = (boot + clock::started(who.0)).as_seconds();
                    self.processes.push(ProcessView { series, memory, utilization, started });
                }
            }
        }
    }
}

/// `None` where either is unknown.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one + other)
}

/// What each owner drew in an interval, in watts.
pub fn watts(settled: &Settled) -> BTreeMap<Owner, f64> {
    let seconds = settled.elapsed.as_seconds();
    let owners = settled.book.ledger.gpus().flat_map(|(_, account)| &account.owners);
    owners
        .map(|(owner, amounts)| (owner.clone(), (amounts.active + amounts.idle).as_joules() / seconds))
        .collect()
}
