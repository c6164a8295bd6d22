//! Who each process is billed to: facts, verdicts, and the tickets that intervals hold until the verdict is there.
//!
//! A ticket stands for one process on one GPU under one verdict. An interval takes the tickets of its time with it,
//! so that a verdict which comes later, or changes later, bills each interval by what was true in it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use wattribute::facts::{Facts, Field, ProcessKey};
use wattribute::ledger::Payers;
use wattribute::owner::{Owner, Reserved};
use wattribute::rules::{Decision, Refusal, RuleSet};
use wattribute::split::{InstanceId, Role};
use wattribute::units::Microseconds;

use super::book::RuleKey;
use super::occupant::Remark;
use super::place::{Place, Places, Spot, Ticket};
use super::series::{Register, SeriesId, SeriesLabels, Subject};
use crate::sample::Card;

/// To whom a process on a GPU, or an allocation of one, is billed.
#[derive(Clone, Debug, PartialEq)]
pub struct Billing {
    pub owner: Owner,
    pub rule: RuleKey,
    pub role: Role,
    /// Its process and workload series.
    pub series: [Option<SeriesId>; 2],
}

impl Billing {
    /// For a process of which nothing is known, or nothing came in time.
    pub fn unattributed(series: [Option<SeriesId>; 2]) -> Self {
        let owner = Reserved::Unattributed.into();
        Self { owner, rule: RuleKey::default(), role: Role::Holder, series }
    }
}

/// The index of a GPU whose own has gone to another, until the driver says its new one.
pub const NO_INDEX: u32 = u32::MAX;

/// A verdict that came: the accounts it needs are to be opened.
pub type Opened = (Arc<str>, Billing);

/// A GPU, or a MIG instance of it, where something is.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    pub card: &'a Card,
    pub instance: Option<InstanceId>,
    /// What the driver calls the instance; `None` without MIG, and while that is not known.
    pub mig_uuid: Option<Arc<str>>,
}

impl Site<'_> {
    pub fn spot(&self) -> Spot {
        (Arc::clone(&self.card.uuid), self.instance)
    }
}

/// What is known of a process.
#[derive(Debug, Default)]
struct Process {
    facts: Option<Arc<Facts>>,
    /// Whether the facts are to be read anew before they count: the rules have changed.
    stale: bool,
    /// Whether its facts could not be had.
    given_up: bool,
    places: Places,
    ended: Option<Microseconds>,
}

/// What it takes to reach a verdict.
#[derive(Debug)]
pub struct Court {
    pub rules: Arc<RuleSet>,
    pub host: String,
    /// The owners that hold energy.
    pub payers: Payers,
    /// Counts verdicts that were refused and facts that never came, by reason.
    pub failures: BTreeMap<&'static str, u64>,
}

/// A verdict on facts as they are on one GPU.
pub struct Sentence {
    pub facts: Facts,
    pub owner: Owner,
    pub rule: RuleKey,
    /// Why the owner is `unattributed`.
    pub refusal: Option<Refusal>,
}

impl Court {
    /// What the rules say of facts as they are on a GPU.
    ///
    /// # Errors
    /// A fact that they need is pending: this one.
    pub fn judge(&mut self, facts: Facts) -> Result<Sentence, Field> {
        let verdict = match self.rules.decide(&facts) {
            Decision::Verdict(verdict) => verdict,
            Decision::Pending(field) => return Err(field),
        };
        if let Some(refusal) = verdict.refusal.filter(|refusal| *refusal != Refusal::NoRule) {
            *self.failures.entry(refusal.name()).or_default() += 1;
        }
        let owner = self.payers.admit(&verdict.owner, self.rules.owner_limit());
        if owner != verdict.owner {
            *self.failures.entry(Reserved::Overflow.name()).or_default() += 1;
        }
        let rule = RuleKey { rule: verdict.rule.unwrap_or_default(), evidence: verdict.evidence };
        Ok(Sentence { facts, owner, rule, refusal: verdict.refusal })
    }

    /// Facts as they are on a GPU. An instance that has not been looked up yet has a name: it is pending.
    pub fn on_site(&self, facts: &Facts, site: &Site<'_>) -> Facts {
        let mut facts = on_gpu(facts, site.card, site.mig_uuid.as_deref(), &self.host);
        if site.instance.is_some() && site.mig_uuid.is_none() {
            facts.set_pending(Field::MigInstance);
        }
        facts
    }
}

/// All processes on any GPU.
#[derive(Debug)]
pub struct Claims {
    pub court: Court,
    /// The series of processes and workloads.
    pub register: Register,
    processes: BTreeMap<ProcessKey, Process>,
    by_pid: BTreeMap<u32, ProcessKey>,
}

impl Claims {
    /// No processes yet, and series of processes and workloads up to these limits.
    pub fn new(court: Court, limits: [usize; 2]) -> Self {
        let register = Register::new(limits);
        Self { court, register, processes: BTreeMap::new(), by_pid: BTreeMap::new() }
    }

    /// The living process with this pid, if it is known.
    pub fn living(&self, pid: u32) -> Option<ProcessKey> {
        self.by_pid.get(&pid).copied()
    }

    /// A process came into sight.
    pub fn begin(&mut self, key: ProcessKey) {
        self.by_pid.insert(key.pid, key);
        self.processes.entry(key).or_default();
    }

    /// The ticket of a process on a GPU, for the interval that ends now; with what was opened for it.
    pub fn ticket(&mut self, key: ProcessKey, site: &Site<'_>) -> (Ticket, Option<Opened>) {
        let spot = site.spot();
        if let Some(ticket) = self.decided(key, site, &spot) {
            return (ticket, None);
        }
        let process = self.processes.entry(key).or_default();
        let place = process.places.take(&spot);
        place.left = None;
        let is_named = site.mig_uuid.is_some() && place.mig_uuid != site.mig_uuid;
        if is_named {
            place.mig_uuid.clone_from(&site.mig_uuid);
        }
        if process.given_up {
            place.give_up();
        }
        // What waits for a field is judged again when facts come, or the name of its instance.
        let known = (place.ticket.get().is_some() || place.remark.waits_for.is_some()) && !is_named;
        let opened = if known { None } else { self.judge(key, site.card, site.instance) };
        let place = self.processes.get_mut(&key).and_then(|process| process.places.get_mut(&spot));
        if let Some(place) = place.filter(|place| is_named && place.remark.waits_for.is_some()) {
            // What was said of the instance that had these ids before says nothing of this one.
            place.reopen();
        }
        let place = self.processes.get(&key).and_then(|process| process.places.get(&spot));
        (place.map(|place| Rc::clone(&place.ticket)).unwrap_or_default(), opened)
    }

    /// The ticket of a process that is where it was, under the verdict that it has.
    fn decided(&mut self, key: ProcessKey, site: &Site<'_>, spot: &Spot) -> Option<Ticket> {
        let place = self.processes.get_mut(&key)?.places.get_mut(spot)?;
        let is_named = site.mig_uuid.is_some() && place.mig_uuid != site.mig_uuid;
        let ticket = Some(&place.ticket).filter(|ticket| !is_named && ticket.get().is_some());
        place.left = None;
        ticket.map(Rc::clone)
    }

    /// Facts of a process came, or changed. Verdicts that they change count from the next interval on.
    pub fn learn(&mut self, key: ProcessKey, facts: Arc<Facts>, cards: &[&Card]) -> Vec<Opened> {
        let Some(process) = self.processes.get_mut(&key) else { return Vec::new() };
        process.facts = Some(facts);
        (process.stale, process.given_up) = (false, false);
        self.judge_everywhere(key, cards)
    }

    /// The facts of a process cannot be had: what waits for them is nobody's.
    pub fn give_up(&mut self, key: ProcessKey) {
        if let Some(process) = self.processes.get_mut(&key) {
            // Facts that were read for these rules still count where they cannot be read again.
            process.given_up = process.facts.is_none() || process.stale;
            process.places.iter().for_each(|(_, place)| place.give_up());
        }
    }

    /// The rules changed: every verdict is to be reached anew, from facts that are read anew.
    pub fn reopen(&mut self) {
        for process in self.processes.values_mut() {
            process.stale = true;
            process.places.iter_mut().for_each(Place::reopen);
        }
    }

    /// A process ended: what is known of it by now is all there will be.
    pub fn end(&mut self, key: ProcessKey, at: Microseconds, cards: &[&Card]) -> Vec<Opened> {
        if self.by_pid.get(&key.pid) == Some(&key) {
            self.by_pid.remove(&key.pid);
        }
        let Some(process) = self.processes.get_mut(&key) else { return Vec::new() };
        process.ended = Some(at);
        if process.places.is_empty() {
            self.processes.remove(&key);
            return Vec::new();
        }
        if process.stale {
            // Its facts were read for other rules: what they came to then is the best there is.
            process.places.iter().for_each(|(_, place)| place.settle_for_earlier());
        }
        if process.facts.is_none() {
            self.give_up(key);
        }
        self.judge_everywhere(key, cards)
    }

    /// To whom a process on a GPU is billed now, if that is decided.
    pub fn billing(&self, key: ProcessKey, spot: &Spot) -> Option<&Billing> {
        self.processes.get(&key)?.places.get(spot)?.ticket.get()
    }

    /// The facts of a process, and what was last said of it on a GPU.
    pub fn known(&self, key: ProcessKey, spot: &Spot) -> (Option<Arc<Facts>>, Option<Remark>) {
        let process = self.processes.get(&key);
        let place = process.and_then(|process| process.places.get(spot));
        (process.and_then(|process| process.facts.clone()), place.map(|place| place.remark.clone()))
    }

    /// When a process ended, if it has.
    pub fn ended(&self, key: ProcessKey) -> Option<Microseconds> {
        self.processes.get(&key)?.ended
    }

    /// A process is no longer on a GPU.
    pub fn leave(&mut self, key: ProcessKey, spot: &Spot, at: Microseconds) {
        let process = self.processes.get_mut(&key);
        if let Some(place) = process.and_then(|process| process.places.get_mut(spot)) {
            place.left = Some(at);
        }
    }

    /// Clears the places that were left and that no interval waits for any more, and says which processes are on no
    /// GPU any longer and need not be watched.
    pub fn sweep(&mut self) -> Vec<ProcessKey> {
        let mut idle = Vec::new();
        for (key, process) in &mut self.processes {
            let before = process.places.len();
            process.places.retain(|place| {
                let Some(left) = place.vacated() else { return true };
                self.register.leave(place.series.unwrap_or_default(), left);
                false
            });
            if process.places.is_empty() && before > 0 {
                idle.push(*key);
            }
        }
        for key in &idle {
            self.processes.remove(key);
            if self.by_pid.get(&key.pid) == Some(key) {
                self.by_pid.remove(&key.pid);
            }
        }
        idle
    }

    /// How many processes, places and series there are.
    #[cfg(test)]
    pub fn held(&self) -> [usize; 3] {
        let places = self.processes.values().map(|process| process.places.len()).sum();
        [self.processes.len() + self.by_pid.len(), places, self.register.iter().count()]
    }

    fn judge_everywhere(&mut self, key: ProcessKey, cards: &[&Card]) -> Vec<Opened> {
        let Some(process) = self.processes.get(&key) else { return Vec::new() };
        let card_of = |uuid: &Arc<str>| cards.iter().find(|card| card.uuid == *uuid);
        let spots = process.places.iter().map(|(spot, _)| spot);
        let here = spots.filter_map(|(uuid, instance)| Some((*card_of(uuid)?, *instance)));
        let here: Vec<(&Card, Option<InstanceId>)> = here.collect();
        here.into_iter().filter_map(|(card, instance)| self.judge(key, card, instance)).collect()
    }

    /// Reaches the verdict of a process on a GPU, if its facts are there and nothing it needs is pending.
    fn judge(&mut self, key: ProcessKey, card: &Card, instance: Option<InstanceId>) -> Option<Opened> {
        let process = self.processes.get_mut(&key).filter(|process| !process.stale)?;
        let place = process.places.get_mut(&(Arc::clone(&card.uuid), instance))?;
        let site = Site { card, instance, mig_uuid: place.mig_uuid.clone() };
        let facts = process.facts.as_deref()?;
        let facts = self.court.on_site(facts, &site);
        let judged = match self.court.rules.ignore_waits_for(&facts) {
            Some(field) => Err(field.clone()),
            None => self.court.judge(facts),
        };
        let Sentence { facts, owner, rule, refusal } = match judged {
            Ok(sentence) => sentence,
            Err(field) => {
                place.remark = Remark { waits_for: Some(field), refusal: None };
                return None;
            }
        };
        let role = if self.court.rules.ignores(&facts) { Role::Ignored } else { Role::Holder };
        let enter = |labels: Option<SeriesLabels>| labels.and_then(|labels| self.register.enter(labels));
        let series = *place.series.get_or_insert_with(|| labels(key, card, &facts, &owner).map(enter));
        place.remark = Remark { waits_for: None, refusal };
        let billing = place.decide(Billing { owner, rule, role, series })?;
        Some((Arc::clone(&card.uuid), billing))
    }
}

/// The labels of a process's series on a GPU, and of its workload's, if it is in one.
fn labels(key: ProcessKey, card: &Card, facts: &Facts, owner: &Owner) -> [Option<SeriesLabels>; 2] {
    let labels = |subject| SeriesLabels { uuid: Arc::clone(&card.uuid), subject, owner: Some(owner.clone()) };
    let workload = facts.workload();
    let process = Subject::Process {
        pid: key.pid.to_string(),
        comm: facts.text(&Field::Comm).into(),
        user: facts.text(&Field::User).into(),
        workload: workload.clone().unwrap_or_default(),
    };
    [Some(labels(process)), workload.map(|name| labels(Subject::Workload(name)))]
}

/// A process's facts, with those of the GPU it is on.
pub fn on_gpu(facts: &Facts, card: &Card, mig_uuid: Option<&str>, host: &str) -> Facts {
    let mut facts = facts.clone();
    if card.index != NO_INDEX {
        facts.set(Field::Gpu, card.index.to_string());
    }
    facts.set(Field::GpuUuid, &*card.uuid);
    facts.set(Field::GpuModel, &*card.model);
    facts.set(Field::Host, host);
    mig_uuid.into_iter().for_each(|uuid| facts.set(Field::MigInstance, uuid));
    facts
}
