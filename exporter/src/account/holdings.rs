//! Who holds which GPU by a scheduler's word: what each scheduler said last, and the tickets of its allocations.
//!
//! An interval takes the tickets of the allocations that are known when its last sample comes, each for the whole of
//! it. An allocation is judged by the same rules as a process, from what the scheduler says of its holder; `ignore:`
//! is about processes and does not apply. A holder that several schedulers name on the same GPU counts once.
//! Not done here: asking the schedulers (`slurm`, `kubernetes`), and dividing (the library's split).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use wattribute::facts::{Evidence, Facts};
use wattribute::split::Role;
use wattribute::units::Microseconds;

use super::claims::{Billing, Claims, Opened, Place, Sentence, Ticket};
use super::series::{SeriesLabels, Subject};
use crate::allocation::{Allocations, Device};
use crate::sample::Card;

/// How long a GPU that a scheduler names may be unknown before that is counted: at the start GPUs are still opened.
const PATIENCE: Microseconds = Microseconds(10_000_000);
/// The reason under which an allocation of a GPU that this machine does not have is counted.
const UNKNOWN_GPU: &str = "allocation_unknown_gpu";

/// Everything that schedulers have allocated.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The rules' generation in force.
    generation: u64,
    /// By scheduler, what it said last.
    said: BTreeMap<&'static str, Allocations>,
    /// By GPU UUID and holder.
    holds: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Hold>>,
    /// Allocations of GPUs that are not here, since when; `None` once they have been counted.
    strangers: BTreeMap<Stranger, Option<Microseconds>>,
}

/// Scheduler, holder, and the GPU that is not here.
type Stranger = (&'static str, Arc<str>, Device);

/// A holder's part of one GPU.
#[derive(Debug, Default)]
struct Hold {
    replicas: u64,
    facts: Arc<Facts>,
    /// Whether the facts are to come anew before they count: the rules have changed.
    stale: bool,
    place: Place,
}

/// What a scheduler says of a holder on one GPU.
struct Word {
    replicas: u64,
    facts: Arc<Facts>,
    /// Whether it was said for the rules in force.
    fresh: bool,
}

impl Holdings {
    /// A scheduler says what it has allocated now. What it says for other rules than those in force is not heard: it
    /// will say it again.
    pub fn hear(
        &mut self,
        said: Allocations,
        claims: &mut Claims,
        cards: &[&Card],
        at: Microseconds,
    ) -> Vec<Opened> {
        if said.generation != self.generation {
            return Vec::new();
        }
        self.said.insert(said.source, said);
        self.arrange(claims, cards, at)
    }

    /// Brings the holds up to what the schedulers say, with the GPUs that are here.
    pub fn arrange(&mut self, claims: &mut Claims, cards: &[&Card], at: Microseconds) -> Vec<Opened> {
        let words = self.words(cards, at);
        for (uuid, holders) in &mut self.holds {
            let said = words.get(uuid);
            let gone = |holder: &Arc<str>| said.is_none_or(|said| !said.contains_key(holder));
            holders.iter_mut().filter(|(holder, _)| gone(holder)).for_each(|(_, hold)| hold.end(at));
        }
        let mut opened = Vec::new();
        for card in cards {
            for (holder, word) in words.get(&card.uuid).into_iter().flatten() {
                let holders = self.holds.entry(Arc::clone(&card.uuid)).or_default();
                let hold = holders.entry(Arc::clone(holder)).or_default();
                opened.extend(hold.take(word, card, claims).map(|billing| (Arc::clone(&card.uuid), billing)));
            }
        }
        opened
    }

    /// The rules changed: every verdict is to be reached anew, from what the schedulers say for them.
    pub fn reopen(&mut self, generation: u64) {
        self.generation = generation;
        for hold in self.holds.values_mut().flat_map(BTreeMap::values_mut) {
            hold.stale = true;
            hold.place.reopen();
        }
    }

    /// The allocations on a GPU, for the interval that ends now: replicas and ticket of each.
    pub fn tickets(&self, uuid: &Arc<str>) -> Vec<(u64, Ticket)> {
        let holds = self.holds.get(uuid).into_iter().flat_map(BTreeMap::values);
        let present = holds.filter(|hold| hold.place.left.is_none());
        present.map(|hold| (hold.replicas, Rc::clone(&hold.place.ticket))).collect()
    }

    /// Clears what ended and is waited for no more, and counts allocations of GPUs that are not here.
    pub fn sweep(&mut self, claims: &mut Claims, now: Microseconds) {
        for holders in self.holds.values_mut() {
            holders.retain(|_, hold| {
                let Some(left) = hold.place.vacated() else { return true };
                claims.register.leave(hold.place.series.unwrap_or_default(), left);
                false
            });
        }
        for since in self.strangers.values_mut() {
            if since.take_if(|since| now.saturating_sub(*since) >= PATIENCE).is_some() {
                *claims.court.failures.entry(UNKNOWN_GPU).or_default() += 1;
            }
        }
    }

    /// What the schedulers say of each GPU that is here, by holder; the others are noted as strangers.
    fn words(&mut self, cards: &[&Card], at: Microseconds) -> BTreeMap<Arc<str>, BTreeMap<Arc<str>, Word>> {
        let mut words: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Word>> = BTreeMap::new();
        let mut strangers = BTreeMap::new();
        for said in self.said.values() {
            let fresh = said.generation == self.generation;
            for (holder, allocations) in &said.held {
                let mut whole: BTreeMap<&Arc<str>, Word> = BTreeMap::new();
                for one in allocations {
                    let Some(card) = cards.iter().find(|card| is_of(&one.device, card)) else {
                        let stranger = (said.source, Arc::clone(holder), one.device.clone());
                        let since = self.strangers.get(&stranger).copied().unwrap_or(Some(at));
                        strangers.insert(stranger, since);
                        continue;
                    };
                    let nothing = || Word { replicas: 0, facts: Arc::clone(&one.facts), fresh };
                    whole.entry(&card.uuid).or_insert_with(nothing).replicas += one.replicas.max(1);
                }
                for (uuid, word) in whole {
                    let holders = words.entry(Arc::clone(uuid)).or_default();
                    match holders.get(holder) {
                        Some(other) if other.worth() >= word.worth() => {}
                        _ => drop(holders.insert(Arc::clone(holder), word)),
                    }
                }
            }
        }
        self.strangers = strangers;
        words
    }
}

impl Word {
    /// Which of two schedulers' words on the same holder counts: the one for the rules in force, then the one that
    /// knows more.
    fn worth(&self) -> (bool, usize) {
        (self.fresh, self.facts.iter().filter(|(_, value)| value.is_some()).count())
    }
}

impl Hold {
    /// Takes what a scheduler says; gives the verdict where it is a new one.
    fn take(&mut self, word: &Word, card: &Card, claims: &mut Claims) -> Option<Billing> {
        self.place.left = None;
        self.replicas = word.replicas;
        if !word.fresh {
            self.stale = true;
            return None;
        }
        let is_known = !self.stale && self.facts == word.facts && self.place.ticket.get().is_some();
        (self.stale, self.facts) = (false, Arc::clone(&word.facts));
        if is_known { None } else { self.judge(card, claims) }
    }

    fn judge(&mut self, card: &Card, claims: &mut Claims) -> Option<Billing> {
        let Sentence { facts, owner, mut rule, .. } = claims.court.judge(&self.facts, card).ok()?;
        // A process's facts may be the kernel's; these are all a scheduler's word.
        rule.evidence = rule.evidence.map(|evidence| evidence.max(Evidence::Scheduler));
        let series = *self.place.series.get_or_insert_with(|| {
            let (uuid, owner) = (Arc::clone(&card.uuid), Some(owner.clone()));
            let labels = |name| SeriesLabels { uuid, subject: Subject::Workload(name), owner };
            [None, facts.workload().and_then(|name| claims.register.enter(labels(name)))]
        });
        self.place.decide(Billing { owner, rule, role: Role::Holder, series })
    }

    /// The scheduler no longer names it: what is known of it by now is all there will be.
    fn end(&mut self, at: Microseconds) {
        if self.place.left.is_none() {
            self.place.left = Some(at);
            if self.stale {
                self.place.settle_for_earlier();
            }
        }
    }
}

/// Whether a scheduler's device is this GPU or an instance of it. An instance whose name does not say its GPU
/// (`MIG-` and a UUID of its own) is of none.
fn is_of(device: &Device, card: &Card) -> bool {
    match device {
        Device::Index(index) => *index == card.index,
        Device::Uuid(uuid) if *uuid == card.uuid => true,
        // As drivers before R470 name an instance: MIG-GPU-…/1/0.
        Device::Uuid(uuid) => uuid
            .strip_prefix("MIG-")
            .and_then(|name| name.split_once('/'))
            .is_some_and(|(gpu, _)| *gpu == *card.uuid),
    }
}
