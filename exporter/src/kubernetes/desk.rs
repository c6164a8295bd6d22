//! What is told of each process in a pod, and of who holds which GPU: all decisions of the stage, without its thread,
//! its clock or its connections.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattribute::facts::{Fact, Facts, Field, ProcessKey};
use wattribute::rules::RuleSet;

use super::kubelet::Holding;
use super::pods::{Known, Pod, Pods};
use crate::allocation::{Allocation, Allocations};
use crate::identify::Event;

/// The fields, beside labels, that the API server knows of every pod.
pub const FIELDS: [Field; 3] = [Field::Namespace, Field::Pod, Field::Container];

/// How long a process that has ended is remembered while its pod is unknown: as long as an interval may wait.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How many such processes are remembered at most.
const MOST_GONE: usize = 4096;

/// Which facts are fetched of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing: nobody may be asked.
    #[default]
    None,
    /// The API server tells: what is not known yet is pending.
    Api,
}

/// All that is known of pods, their processes and their GPUs.
#[derive(Debug, Default)]
pub struct Desk {
    access: Access,
    /// The pod labels that rules name.
    labels: BTreeSet<Box<str>>,
    generation: u64,
    watched: HashMap<ProcessKey, Watched>,
    pods: Pods,
    /// What the kubelet said last, and when.
    holdings: Option<(Vec<Holding>, Instant)>,
    /// What was told of allocations last.
    told: Option<Allocations>,
}

/// A process that the account stage wants to hear of.
#[derive(Debug, Default)]
struct Watched {
    heard: Option<Heard>,
    /// When it ended, or was forgotten; it stays until its pod is known.
    gone: Option<Instant>,
}

/// What was heard last of a process in a pod, and what was told.
#[derive(Debug)]
struct Heard {
    generation: u64,
    facts: Arc<Facts>,
    told: Arc<Facts>,
}

/// What is to be told.
#[derive(Debug, PartialEq)]
pub enum Told {
    Event(Event),
    Allocations(Allocations),
}

impl Desk {
    /// A desk that may ask so much.
    pub fn new(access: Access) -> Self {
        Self { access, ..Self::default() }
    }

    /// What these rules name is wanted from now on. Facts of processes come again by themselves.
    pub fn want(&mut self, rules: &RuleSet, generation: u64) -> Vec<Told> {
        self.labels = rules.wanted_pod_labels().map(Box::from).collect();
        self.generation = generation;
        self.allocate()
    }

    /// A process is watched.
    pub fn watch(&mut self, process: ProcessKey) {
        self.watched.entry(process).or_default().gone = None;
    }

    /// A process is no longer watched.
    pub fn forget(&mut self, process: ProcessKey, now: Instant) {
        let Some(watched) = self.watched.get_mut(&process) else { return };
        if watched.heard.as_ref().is_some_and(|heard| is_pending(&heard.told)) {
            watched.gone.get_or_insert(now);
        } else {
            self.watched.remove(&process);
        }
    }

    /// Takes an event of the stage before, and gives what is to be told instead.
    pub fn hear(&mut self, event: Event, now: Instant) -> Event {
        match event {
            Event::Facts { process, generation, facts } => {
                let told = self.with_pod(&facts);
                if let Some(watched) = self.watched.get_mut(&process) {
                    let is_in_pod = facts.get(&Field::PodUid) != Fact::Absent;
                    watched.heard = is_in_pod.then(|| Heard { generation, facts, told: Arc::clone(&told) });
                }
                Event::Facts { process, generation, facts: told }
            }
            Event::Ended { process } => {
                self.forget(process, now);
                event
            }
            other => other,
        }
    }

    /// The API server listed all pods of this node.
    pub fn list(&mut self, pods: Vec<Pod>, now: Instant) -> Vec<Told> {
        self.pods.replace(pods, now);
        self.news(now, |_| true)
    }

    /// A pod is new or has changed.
    pub fn put(&mut self, pod: Pod, now: Instant) -> Vec<Told> {
        let uids = [pod.uid.clone(), pod.cgroup_uid().to_owned()];
        self.pods.put(pod);
        self.news(now, |uid| uids.iter().any(|own| own == uid))
    }

    /// A pod is there no longer.
    pub fn delete(&mut self, uid: &str, now: Instant) -> Vec<Told> {
        self.pods.delete(uid, now);
        self.news(now, |_| false)
    }

    /// The kubelet answered.
    pub fn hold(&mut self, holdings: Vec<Holding>, now: Instant) -> Vec<Told> {
        self.holdings = Some((holdings, now));
        self.news(now, |_| false)
    }

    /// What is to be told now that pods or holdings have changed; `touched` says which pods' processes it may concern.
    fn news(&mut self, now: Instant, touched: impl Fn(&str) -> bool) -> Vec<Told> {
        let is_touched = |watched: &Watched| {
            watched.heard.as_ref().is_some_and(|heard| touched(heard.facts.text(&Field::PodUid)))
        };
        let concerned = self.watched.iter().filter(|(_, watched)| is_touched(watched));
        let mut concerned: Vec<ProcessKey> = concerned.map(|(process, _)| *process).collect();
        concerned.sort_unstable();
        let mut told: Vec<Told> =
            concerned.into_iter().filter_map(|process| self.complete(process)).collect();
        told.extend(self.allocate());
        self.sweep(now);
        told
    }

    /// The facts of a process, if they are others than those told before.
    fn complete(&mut self, process: ProcessKey) -> Option<Told> {
        let facts = Arc::clone(&self.watched.get(&process)?.heard.as_ref()?.facts);
        let whole = self.with_pod(&facts);
        let watched = self.watched.get_mut(&process)?;
        let heard = watched.heard.as_mut().filter(|heard| heard.told != whole)?;
        heard.told = Arc::clone(&whole);
        let generation = heard.generation;
        if watched.gone.is_some() && !is_pending(&whole) {
            self.watched.remove(&process);
        }
        Some(Told::Event(Event::Facts { process, generation, facts: whole }))
    }

    /// The facts with those of its pod, if it is in one: known, or still to come.
    fn with_pod(&self, facts: &Arc<Facts>) -> Arc<Facts> {
        if self.access == Access::None || facts.get(&Field::PodUid) == Fact::Absent {
            return Arc::clone(facts);
        }
        let mut whole = (**facts).clone();
        let pod = self.pods.of_cgroup(facts.text(&Field::PodUid));
        match pod {
            Some(known) => {
                whole.set(Field::Namespace, &*known.pod.namespace);
                whole.set(Field::Pod, &*known.pod.name);
                set_container(&mut whole, known);
            }
            None => FIELDS.into_iter().for_each(|field| whole.set_pending(field)),
        }
        self.set_labels(&mut whole, pod.map(|known| &known.pod));
        Arc::new(whole)
    }

    fn set_labels(&self, facts: &mut Facts, pod: Option<&Pod>) {
        for label in &self.labels {
            let field = Field::PodLabel(label.clone());
            match pod {
                Some(pod) => facts.set(field, pod.labels.get(&**label).cloned().unwrap_or_default()),
                None => facts.set_pending(field),
            }
        }
    }

    /// All allocations, if they are others than those told before.
    fn allocate(&mut self) -> Vec<Told> {
        let Some((holdings, answered)) = &self.holdings else { return Vec::new() };
        let mut held: BTreeMap<Arc<str>, Vec<Allocation>> = BTreeMap::new();
        for holding in holdings {
            let pod = self.pods.of_name(&holding.namespace, &holding.pod);
            if pod.is_some_and(|known| is_over(known, *answered)) || holding.devices.is_empty() {
                continue;
            }
            let facts = Arc::new(self.facts_of(holding, pod.map(|known| &known.pod)));
            let name = format!("pod:{}/{}/{}", holding.namespace, holding.pod, holding.container);
            let devices = holding.devices.iter();
            let allocations = devices.map(|(device, replicas)| {
                let (device, replicas, facts) = (device.clone(), *replicas, Arc::clone(&facts));
                Allocation { device, replicas, facts }
            });
            held.entry(name.into()).or_default().extend(allocations);
        }
        let told = Allocations { source: "kubernetes", generation: self.generation, held };
        if self.told.as_ref() == Some(&told) {
            return Vec::new();
        }
        self.told = Some(told.clone());
        vec![Told::Allocations(told)]
    }

    fn facts_of(&self, holding: &Holding, pod: Option<&Pod>) -> Facts {
        let mut facts = Facts::default();
        facts.set(Field::Scheduler, "kubernetes");
        facts.set(Field::Namespace, &*holding.namespace);
        facts.set(Field::Pod, &*holding.pod);
        facts.set(Field::Container, &*holding.container);
        if self.access == Access::Api {
            match pod {
                Some(pod) => facts.set(Field::PodUid, pod.cgroup_uid()),
                None => facts.set_pending(Field::PodUid),
            }
            self.set_labels(&mut facts, pod);
        }
        facts
    }

    fn sweep(&mut self, now: Instant) {
        let mut gone: Vec<(Instant, ProcessKey)> =
            self.watched.iter().filter_map(|(process, watched)| Some((watched.gone?, *process))).collect();
        gone.sort_unstable();
        let too_many = gone.len().saturating_sub(MOST_GONE);
        for (number, (since, process)) in gone.into_iter().enumerate() {
            if number < too_many || since + PATIENCE <= now {
                self.watched.remove(&process);
            }
        }
        let heard = self.watched.values().filter_map(|watched| watched.heard.as_ref());
        let needed: BTreeSet<&str> = heard.map(|heard| heard.facts.text(&Field::PodUid)).collect();
        self.pods.sweep(now, |pod| needed.contains(&*pod.uid) || needed.contains(pod.cgroup_uid()));
    }
}

/// The container of a process by its id. While the API server has not told of it, it is pending; of a pod that is over
/// nothing more will be told.
fn set_container(facts: &mut Facts, known: &Known) {
    let id = facts.text(&Field::ContainerId);
    match known.pod.containers.get(id) {
        Some(name) => facts.set(Field::Container, name.clone()),
        None if id.is_empty() || known.deleted.is_some() || known.pod.is_finished => {
            facts.set(Field::Container, "");
        }
        None => facts.set_pending(Field::Container),
    }
}

/// Whether a pod holds nothing any more, whatever the kubelet said: many kubelets go on listing pods that have finished,
/// whose GPUs may be others' by now. A deleted pod is over unless the kubelet named it since.
fn is_over(known: &Known, answered: Instant) -> bool {
    known.pod.is_finished || known.deleted.is_some_and(|at| at > answered)
}

/// Whether something is still to come that this stage brings.
fn is_pending(facts: &Facts) -> bool {
    let is_ours =
        |field: &Field| FIELDS.contains(field) || matches!(field, Field::PodUid | Field::PodLabel(_));
    facts.iter().any(|(field, value)| value.is_none() && is_ours(field))
}
