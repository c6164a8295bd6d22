//! What the benches measure: a machine on virtual time, from the samples of its GPUs to the bytes of a scrape and of the
//! state. Without driver, /proc, disk and HTTP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wattribute::facts::{Facts, Field, ProcessKey};
use wattribute::meter::Counter;
use wattribute::rules::{RuleSet, Source};
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use crate::account::occupant::Detail;
use crate::account::snapshot::Snapshot;
use crate::account::{Accountant, Config, Event, Inheritance, Neighbours};
use crate::clock::Now;
use crate::expose::metrics::Exposition;
use crate::expose::rows::{About, RulesStatus, Scrapable};
use crate::expose::{encode, publish};
use crate::identify::{self, Watch};
use crate::sample::{self, Call, Card, Gauges, Processes, Running, Sample, SmSample};
use crate::state::format;

const RULES: &str = "labels: [team]\nrules:\n  - {name: by user, match: ['user=~\"(?P<name>.+)\"'], owner: {team: \"${name}\"}}\n";
const TEAMS: u32 = 12;
/// When virtual time begins, Unix time.
const BEGINS: Microseconds = Microseconds(1_700_000_000_000_000);

/// The texts of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The text format 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A machine with GPUs and processes that compute, all of them known.
pub struct Machine {
    accountant: Accountant,
    published: Arc<Mutex<Arc<Snapshot>>>,
    gpus: u32,
    /// On each GPU.
    processes: u32,
    second: u64,
}

/// Facts are told, not read.
struct Told;

impl Watch for Told {
    fn watch(&self, _: ProcessKey) {}
    fn forget(&self, _: ProcessKey) {}
    fn want(&self, _: &RuleSet, _: u64) {}
}

impl Machine {
    /// So many GPUs, with so many processes on each.
    ///
    /// # Errors
    /// If its rules do not load, which would be a bug.
    pub fn new(gpus: u32, processes: u32) -> Result<Self, String> {
        let source = Source { name: "measured.yaml".into(), text: RULES.into() };
        let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into()));
        let rules = Arc::new(rules.map_err(|problems| problems.to_string())?);
        let published: Arc<Mutex<Arc<Snapshot>>> = Arc::default();
        let sink = Arc::clone(&published);
        let neighbours = Neighbours {
            identify: Box::new(Told),
            key_of: Box::new(|pid| Some(ProcessKey { pid, start: 1 })),
            publish: Box::new(move |snapshot| {
                *sink.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
            }),
        };
        let config = Config {
            begins: Microseconds::ZERO,
            interval: Duration::from_secs(1),
            delay: Duration::from_secs(60),
            host: "node".into(),
            schedulers: [].into(),
            process_series: usize::MAX,
            workload_series: usize::MAX,
            detail: Detail::Teams,
        };
        let accountant = Accountant::new(config, neighbours, rules, |_| Inheritance::default());
        let mut machine = Self { accountant, published, gpus, processes, second: 1 };
        (0..gpus).for_each(|gpu| machine.tell(Event::Source(sample::Event::Opened(card(gpu)))));
        machine.sample();
        (0..gpus * processes).for_each(|number| machine.tell(facts(number)));
        Ok(machine)
    }

    /// A second passes: each GPU is sampled, and a snapshot is made.
    pub fn sample(&mut self) {
        self.second += 1;
        for gpu in 0..self.gpus {
            let sample = Box::new(self.sample_of(gpu));
            self.tell(Event::Source(sample::Event::Sampled { uuid: uuid(gpu), sample }));
        }
        self.accountant.publish(self.now());
    }

    /// What a scrape of the last snapshot says.
    ///
    /// # Errors
    /// If it cannot be written, which would be a bug.
    pub fn encode(&self, text: Text) -> Result<String, std::fmt::Error> {
        let rules = RulesStatus { successful: true, success_timestamp: 0.0 };
        let about = About { source: "nvml", rules, state_write_failed: Some(false) };
        let scrapable: Arc<dyn Exposition> = Arc::new(Scrapable { snapshot: self.snapshot(), about });
        match text {
            Text::Classic => encode::classic(&scrapable),
            Text::OpenMetrics => encode::openmetrics(&scrapable),
        }
    }

    /// What the state file of the last snapshot says.
    ///
    /// # Errors
    /// If it cannot be written, which would be a bug.
    pub fn state(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        format::write(&self.snapshot(), "boot", &mut text)?;
        Ok(text)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Now {
        let at = Microseconds(self.second * Microseconds::SECOND.0);
        Now { monotonic: at, boot: at, unix: BEGINS + at }
    }

    fn tell(&mut self, event: Event) {
        self.accountant.take(event, self.now());
    }

    fn sample_of(&self, gpu: u32) -> Sample {
        let now = self.now();
        let pids = (0..self.processes).map(|number| pid(gpu * self.processes + number));
        let running = |pid| Running { pid, instance: None, memory: Some(512 << 20) };
        let since = Some(now.unix.saturating_sub(Microseconds::SECOND));
        let busy = |pid| SmSample { pid, at: now.unix, since, percent: 1 };
        let processes = Processes {
            running: Some(pids.clone().map(running).collect()),
            utilization: Some(pids.map(busy).collect()),
            strangers_only: false,
        };
        let call = |name| Call { name, took: Duration::from_micros(40), error: None };
        Sample {
            at: now.monotonic,
            unix: now.unix,
            counter: Counter::Value(Millijoules(self.second * 300_017)),
            power: Some(Milliwatts(300_000)),
            processes: Some(processes),
            mig: None,
            gauges: Gauges { utilization: Some(0.64), ..Gauges::default() },
            calls: ["nvmlDeviceGetFieldValues", "nvmlDeviceGetUtilizationRates"].map(call).into(),
        }
    }
}

fn pid(number: u32) -> u32 {
    20_000 + number
}

fn uuid(gpu: u32) -> Arc<str> {
    format!("GPU-6f1e3c2a-0000-4000-8000-{gpu:012}").into()
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

fn facts(number: u32) -> Event {
    let mut facts = Facts::default();
    facts.set(Field::Uid, "1000");
    facts.set(Field::User, format!("team-{}", number % TEAMS));
    facts.set(Field::Comm, "python3");
    facts.set(Field::SystemdUnit, format!("job-{}.service", number % TEAMS));
    let (process, facts) = (ProcessKey { pid: pid(number), start: 1 }, Arc::new(facts));
    Event::Identity(identify::Event::Facts { process, generation: 0, facts })
}

/// The bytes of a compressed scrape.
///
/// # Errors
/// Never for bytes in memory.
pub fn gzip(plain: &[u8]) -> std::io::Result<usize> {
    publish::gzip(plain).map(|packed| packed.len())
}

/// Loads rules files as a reload does; gives how many rules there are.
///
/// # Errors
/// What is wrong with them.
pub fn load(paths: &[PathBuf]) -> Result<usize, String> {
    crate::rules_file::load(paths).map(|rules| rules.rule_count())
}
