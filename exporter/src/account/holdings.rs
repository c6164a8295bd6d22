//! Who holds which GPU by a scheduler's word: what each scheduler said last, and the tickets of its allocations.
//!
//! An interval takes the tickets of the allocations that are known when its last sample comes, each for the whole of
//! it. An allocation is judged by the same rules as a process, from what the scheduler says of its holder; `ignore:`
//! is about processes and does not apply. A holder that several schedulers name on the same GPU counts once.
//! Not done here: asking the schedulers (`slurm`, `kubernetes`), and dividing (the library's split).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use wattribute::facts::{Evidence, Facts};
use wattribute::split::{InstanceId, Role};
use wattribute::units::Microseconds;

use super::claims::{Billing, Claims, Opened, Sentence, Site};
use super::place::{Place, Ticket};
use super::series::{SeriesLabels, Subject};
use crate::allocation::{Allocations, Device};
use crate::sample::{Card, Mig};

/// How long a GPU that a scheduler names may be unknown before that is counted: at the start GPUs are still opened.
const PATIENCE: Microseconds = Microseconds(10_000_000);
/// The reason under which an allocation of a GPU that this machine does not have is counted.
const UNKNOWN_GPU: &str = "allocation_unknown_gpu";

/// The source whose indices are of `gres.conf`.
const SLURM: &str = "slurm";

/// Everything that schedulers have allocated.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The rules' generation in force.
    generation: u64,
    /// The schedulers that are here and have not spoken yet.
    awaited: BTreeSet<&'static str>,
    /// By scheduler, what it said last.
    said: BTreeMap<&'static str, Allocations>,
    /// By GPU UUID and holder.
    holds: BTreeMap<Arc<str>, BTreeMap<Holder, Hold>>,
    /// The MIG instances that exist: GPU and id, by UUID.
    instances: BTreeMap<Arc<str>, (Arc<str>, InstanceId)>,
    /// The GPUs that are in MIG mode.
    divided: BTreeSet<Arc<str>>,
    /// Allocations of GPUs that are not here, since when; `None` once they have been counted.
    strangers: BTreeMap<Stranger, Option<Microseconds>>,
}

/// The GPUs that are here, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub cards: &'a [&'a Card],
    pub at: Microseconds,
}

/// Scheduler, holder, and the GPU that is not here.
type Stranger = (&'static str, Arc<str>, Device);

/// A holder's name, and the MIG instance that it holds; `None`: the whole GPU.
type Holder = (Arc<str>, Option<InstanceId>);

/// What an allocation holds of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub replicas: u64,
    /// `None`: the whole GPU.
    pub instance: Option<InstanceId>,
}

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
    /// The MIG instance, as the scheduler names it.
    mig_uuid: Option<Arc<str>>,
}

impl Holdings {
    /// Nothing is held yet; these schedulers are to be heard before anything is divided.
    pub fn awaiting(awaited: BTreeSet<&'static str>) -> Self {
        Self { awaited, ..Self::default() }
    }

    /// Whether a scheduler has yet to say for the first time what it has allocated.
    pub fn awaits_word(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Waits no longer for those that have not spoken; says whether there were any.
    pub fn stop_waiting(&mut self) -> bool {
        !std::mem::take(&mut self.awaited).is_empty()
    }

    /// A scheduler says what it has allocated now. Said for other rules than those in force, it tells who holds, and
    /// not yet who pays: that waits until the scheduler says it for these rules.
    pub fn hear(&mut self, said: Allocations, claims: &mut Claims, now: Scene<'_>) -> Vec<Opened> {
        self.awaited.remove(said.source);
        self.said.insert(said.source, said);
        self.arrange(claims, now)
    }

    /// A GPU is divided anew by MIG; to be followed by [`Self::arrange`].
    pub fn divide(&mut self, uuid: &Arc<str>, mig: Option<&Mig>) {
        self.instances.retain(|_, (gpu, _)| gpu != uuid);
        self.divided.remove(uuid);
        self.divided.extend(mig.map(|_| Arc::clone(uuid)));
        let own = mig.iter().flat_map(|mig| &mig.instances);
        self.instances.extend(own.map(|own| (Arc::clone(&own.uuid), (Arc::clone(uuid), own.id))));
    }

    /// Brings the holds up to what the schedulers say, with the GPUs that are here.
    pub fn arrange(&mut self, claims: &mut Claims, Scene { cards, at }: Scene<'_>) -> Vec<Opened> {
        let words = self.words(cards, at);
        for (uuid, holders) in &mut self.holds {
            let said = words.get(uuid);
            let gone = |holder: &Holder| said.is_none_or(|said| !said.contains_key(holder));
            holders.iter_mut().filter(|(holder, _)| gone(holder)).for_each(|(_, hold)| hold.end(at));
        }
        let mut opened = Vec::new();
        for card in cards {
            for (holder, word) in words.get(&card.uuid).into_iter().flatten() {
                let holders = self.holds.entry(Arc::clone(&card.uuid)).or_default();
                let hold = holders.entry(holder.clone()).or_default();
                let mig_uuid = word.mig_uuid.clone();
                let site = Site { card, instance: holder.1, mig_uuid };
                opened
                    .extend(hold.take(word, &site, claims).map(|billing| (Arc::clone(&card.uuid), billing)));
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

    /// The allocations on a GPU, for the interval that ends now: what each holds, and its ticket.
    pub fn tickets(&self, uuid: &Arc<str>) -> Vec<(Part, Ticket)> {
        let present =
            self.holds.get(uuid).into_iter().flatten().filter(|(_, hold)| hold.place.left.is_none());
        let part = |((_, instance), hold): (&Holder, &Hold)| {
            (Part { replicas: hold.replicas, instance: *instance }, Rc::clone(&hold.place.ticket))
        };
        present.map(part).collect()
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
    fn words(&mut self, cards: &[&Card], at: Microseconds) -> BTreeMap<Arc<str>, BTreeMap<Holder, Word>> {
        let mut words: BTreeMap<Arc<str>, BTreeMap<Holder, Word>> = BTreeMap::new();
        let mut strangers = BTreeMap::new();
        for said in self.said.values() {
            let fresh = said.generation == self.generation;
            for (holder, allocations) in &said.held {
                let mut whole: BTreeMap<(&Arc<str>, Option<InstanceId>), Word> = BTreeMap::new();
                for one in allocations {
                    let Some((card, instance)) = self.find(said.source, &one.device, cards) else {
                        let stranger = (said.source, Arc::clone(holder), one.device.clone());
                        let since = self.strangers.get(&stranger).copied().unwrap_or(Some(at));
                        strangers.insert(stranger, since);
                        continue;
                    };
                    let mig_uuid = instance.and_then(|_| name(&one.device));
                    let nothing = || Word { replicas: 0, facts: Arc::clone(&one.facts), fresh, mig_uuid };
                    whole.entry((&card.uuid, instance)).or_insert_with(nothing).replicas +=
                        one.replicas.max(1);
                }
                for ((uuid, instance), word) in whole {
                    let holders = words.entry(Arc::clone(uuid)).or_default();
                    let holder = (Arc::clone(holder), instance);
                    match holders.get_mut(&holder) {
                        Some(other) => other.merge(word),
                        None => drop(holders.insert(holder, word)),
                    }
                }
            }
        }
        self.strangers = strangers;
        words
    }

    /// The GPU that a scheduler's device is, or is an instance of. Where MIG divides any GPU, Slurm's own indices count
    /// instances too, and are not NVML's.
    fn find<'a>(
        &self,
        source: &str,
        device: &Device,
        cards: &[&'a Card],
    ) -> Option<(&'a Card, Option<InstanceId>)> {
        let card = |uuid: &str| cards.iter().find(|card| *card.uuid == *uuid).copied();
        match device {
            Device::Index(_) if source == SLURM && !self.divided.is_empty() => None,
            Device::Index(index) => Some((cards.iter().find(|card| card.index == *index)?, None)),
            Device::Uuid(uuid) => match (self.instances.get(uuid), before_r470(uuid)) {
                (Some((gpu, instance)), _) => Some((card(gpu)?, Some(*instance))),
                (None, Some((gpu, instance))) => Some((card(gpu)?, Some(instance))),
                (None, None) => Some((card(uuid)?, None)),
            },
        }
    }
}

/// The GPU and the instance in a name as drivers before R470 gave them: `MIG-GPU-…/1/0`.
fn before_r470(uuid: &str) -> Option<(&str, InstanceId)> {
    let mut parts = uuid.strip_prefix("MIG-")?.split('/');
    let gpu = parts.next()?;
    let mut number = || parts.next()?.parse().ok();
    Some((gpu, InstanceId { gpu: number()?, compute: number()? }))
}

fn name(device: &Device) -> Option<Arc<str>> {
    match device {
        Device::Uuid(uuid) => Some(Arc::clone(uuid)),
        Device::Index(_) => None,
    }
}

impl Word {
    /// Two schedulers' words on the same holder are one: the facts are those for the rules in force, then those of the
    /// one that knows more.
    fn merge(&mut self, other: Self) {
        let replicas = self.replicas.max(other.replicas);
        if other.worth() > self.worth() {
            *self = other;
        }
        self.replicas = replicas;
    }

    fn worth(&self) -> (bool, usize) {
        (self.fresh, self.facts.iter().filter(|(_, value)| value.is_some()).count())
    }
}

impl Hold {
    /// Takes what a scheduler says; gives the verdict where it is a new one.
    fn take(&mut self, word: &Word, site: &Site<'_>, claims: &mut Claims) -> Option<Billing> {
        self.place.left = None;
        self.replicas = word.replicas;
        if !word.fresh {
            self.stale = true;
            return None;
        }
        let is_known = !self.stale && self.facts == word.facts && self.place.ticket.get().is_some();
        (self.stale, self.facts) = (false, Arc::clone(&word.facts));
        if is_known { None } else { self.judge(site, claims) }
    }

    fn judge(&mut self, site: &Site<'_>, claims: &mut Claims) -> Option<Billing> {
        let Sentence { facts, owner, mut rule, .. } =
            claims.court.judge(claims.court.on_site(&self.facts, site)).ok()?;
        // A process's facts may be the kernel's; these are all a scheduler's word.
        rule.evidence = rule.evidence.map(|evidence| evidence.max(Evidence::Scheduler));
        let series = *self.place.series.get_or_insert_with(|| {
            let (uuid, owner) = (Arc::clone(&site.card.uuid), Some(owner.clone()));
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
