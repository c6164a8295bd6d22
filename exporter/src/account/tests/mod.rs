//! The account stage on virtual time: a golden scrape, scenes, and random schedules of everything that can go wrong.

mod allocations;
mod captures;
mod golden;
mod mig;
mod scenes;
mod schedules;
mod week;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wattribute::facts::{Evidence, Facts, Field};
use wattribute::meter::Counter;
use wattribute::rules::Source;
use wattribute::units::{Millijoules, Milliwatts};

use super::book::RuleKey;
use super::series::SeriesLabels;
use super::*;
use crate::clock::Now;
use crate::identify::Watch;
use crate::sample::{Card, Gauges, Mig, Processes, Running, Sample, SmSample};
use crate::state::format;

/// In milliseconds, as all times here.
const SECOND: u64 = 1000;
const DELAY: u64 = 5;
const RULES: &str = r#"
labels: [team, project]
idle_watts: {"NVIDIA H100.*": 100}
ignore: ['comm="Xorg"']
rules:
  - name: by user
    match: ['user=~"(?P<name>[a-z]+)-(?P<what>[a-z]+)"']
    owner: {team: "${name}", project: "${what}"}
  - name: by command
    match: ['comm="serve"']
    owner: {team: serving}
"#;

/// An identify stage that does nothing; tests tell the facts themselves.
struct Nobody;

impl Watch for Nobody {
    fn watch(&self, _: ProcessKey) {}
    fn forget(&self, _: ProcessKey) {}
    fn want(&self, _: &RuleSet, _: u64) {}
}

/// The accountant, its machine, and what was published last.
struct World {
    accountant: Accountant,
    /// Start times by pid.
    processes: Arc<Mutex<BTreeMap<u32, u64>>>,
    published: Arc<Mutex<Snapshot>>,
    now: u64,
    /// What every GPU is said to draw; `None` where its counter does what it wants.
    power: Option<Milliwatts>,
}

fn rules() -> Arc<RuleSet> {
    let source = Source { name: "test.yaml".into(), text: RULES.into() };
    Arc::new(RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules"))
}

fn card(index: u32) -> Card {
    Card {
        uuid: uuid(index),
        index,
        model: "NVIDIA H100 80GB HBM3".into(),
        pci_bus_id: format!("00000000:{index:02x}:00.0"),
        driver_version: "580.1".into(),
        max_power: Some(Milliwatts(700_000)),
    }
}

fn uuid(index: u32) -> Arc<str> {
    format!("GPU-{index}").into()
}

fn facts(fields: &[(Field, &str)]) -> Arc<Facts> {
    let mut facts = Facts::default();
    fields.iter().for_each(|(field, value)| facts.set(field.clone(), *value));
    Arc::new(facts)
}

impl World {
    fn new(now: u64, state: Option<&str>) -> Self {
        Self::beside(&[], now, state)
    }

    /// With these schedulers, which have not spoken yet.
    fn beside(schedulers: &[&'static str], now: u64, state: Option<&str>) -> Self {
        let published = Arc::new(Mutex::new(Snapshot::default()));
        let processes: Arc<Mutex<BTreeMap<u32, u64>>> = Arc::default();
        let (sink, known) = (Arc::clone(&published), Arc::clone(&processes));
        let neighbours = Neighbours {
            identify: Box::new(Nobody),
            key_of: Box::new(move |pid| {
                let start = known.lock().expect("a lock").get(&pid).copied()?;
                Some(ProcessKey { pid, start })
            }),
            publish: Box::new(move |snapshot| *sink.lock().expect("a lock") = snapshot),
        };
        let config = Config {
            begins: Microseconds(now * 1000),
            interval: Duration::from_secs(1),
            delay: Duration::from_secs(DELAY),
            host: "node".into(),
            schedulers: schedulers.iter().copied().collect(),
            process_series: 3,
            workload_series: 3,
            detail: occupant::Detail::Processes,
        };
        let accountant = Accountant::new(config, neighbours, rules(), |enter| {
            let state = state.map(|text| format::read(text).expect("a sound state"));
            state.map_or_else(Inheritance::default, |state| {
                state.inherit(("boot", Microseconds(now * 1000)), enter)
            })
        });
        Self { accountant, processes, published, now, power: Some(Milliwatts(300_000)) }
    }

    fn clock(&self) -> Now {
        let at = Microseconds(self.now * 1000);
        Now { monotonic: at, boot: at, unix: at + Microseconds(1_700_000_000_000_000) }
    }

    fn tell(&mut self, event: impl Into<Event>) {
        let now = self.clock();
        self.accountant.take(event.into(), now);
    }

    /// A process starts now.
    fn start(&mut self, pid: u32) -> ProcessKey {
        let start = self.now / 10;
        self.processes.lock().expect("a lock").insert(pid, start);
        ProcessKey { pid, start }
    }

    fn end(&mut self, process: ProcessKey) {
        self.processes.lock().expect("a lock").remove(&process.pid);
        self.tell(identify::Event::Ended { process });
    }

    fn learn(&mut self, process: ProcessKey, fields: &[(Field, &str)]) {
        let (generation, facts) = (self.accountant.generation, facts(fields));
        self.tell(identify::Event::Facts { process, generation, facts });
    }

    /// A GPU says: counter in mJ, and (pid, percent) of who is on it, each with as many GiB as its pid has tens.
    fn sample(&mut self, gpu: u32, counter: Counter, on: &[(u32, u32)]) {
        let at = self.clock().unix;
        let memory = |pid: u32| Some(u64::from(pid / 10).max(1) << 30);
        let running =
            on.iter().map(|(pid, _)| Running { pid: *pid, instance: None, memory: memory(*pid) }).collect();
        let busy = on.iter().filter(|(_, percent)| *percent > 0);
        let busy = busy.map(|&(pid, percent)| SmSample { pid, at, since: None, percent }).collect();
        let (running, utilization) = (Some(running), Some(busy));
        self.sample_of(gpu, counter, Processes { running, utilization, strangers_only: false });
    }

    fn sample_of(&mut self, gpu: u32, counter: Counter, processes: Processes) {
        self.sample_as(gpu, counter, (processes, None));
    }

    /// GPU 0 says how MIG has divided it.
    fn sample_divided(&mut self, mig: Option<Mig>, counter: Counter, processes: Processes) {
        self.sample_as(0, counter, (processes, mig));
    }

    fn sample_as(&mut self, gpu: u32, counter: Counter, (processes, mig): (Processes, Option<Mig>)) {
        let clock = self.clock();
        let gauges = Gauges { utilization: Some(0.5), temperature_celsius: Some(40), ..Gauges::default() };
        let sample = Sample {
            at: clock.monotonic,
            unix: clock.unix,
            counter,
            power: self.power,
            processes: Some(processes),
            mig,
            gauges,
            calls: Vec::new(),
        };
        self.tell(sample::Event::Sampled { uuid: uuid(gpu), sample: Box::new(sample) });
    }

    /// The energy of each team so far, visible or not, in millijoules.
    fn teams(&mut self) -> BTreeMap<String, u64> {
        let snapshot = self.publish();
        let mut all = snapshot.visible;
        all.add(&snapshot.hidden);
        let mut teams = BTreeMap::new();
        for (owner, one) in all.ledger.gpus().flat_map(|(_, account)| &account.owners) {
            *teams.entry(owner.team().to_owned()).or_default() += (one.active + one.idle).0;
        }
        teams.into_iter().filter(|(_, energy)| *energy > 0).collect()
    }

    /// Publishes, and gives what was published.
    fn publish(&mut self) -> Snapshot {
        let now = self.clock();
        self.accountant.note_silence(now.monotonic);
        self.accountant.publish(now);
        self.published.lock().expect("a lock").clone()
    }
}

/// What the state file would say.
fn state_of(snapshot: &Snapshot) -> String {
    let mut text = Vec::new();
    format::write(snapshot, "boot", &mut text).expect("a state");
    String::from_utf8(text).expect("JSON")
}

fn value(millijoules: u64) -> Counter {
    Counter::Value(Millijoules(millijoules))
}
