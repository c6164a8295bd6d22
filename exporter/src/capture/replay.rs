//! The replay: what a capture says, told again as the sampling threads and the identify stage told it.
//!
//! [`Stage`] turns lines into events and keeps which process a pid means; it reads no clock, so that a test replays an
//! hour in a moment. [`Replay`] tells it in the capture's own time, [`Witness`] answers for identify.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wattribute::facts::{Facts, ProcessKey};
use wattribute::rules::RuleSet;
use wattribute::units::Microseconds;

use super::file::Capture;
use super::format::{self, Entry, Header, What};
use super::words::Words;
use crate::account::Event;
use crate::clock::{self, Now};
use crate::identify::{self, Watch};
use crate::sample;

/// What is known of a process by now.
#[derive(Debug, Default)]
struct Known {
    facts: Option<Arc<Facts>>,
    unreadable: Option<&'static str>,
    ended: bool,
}

/// The capture's world as it stands at a moment.
#[derive(Debug)]
pub struct Stage {
    header: Header,
    began: Now,
    words: Words,
    uuids: BTreeMap<String, Arc<str>>,
    /// The process that last had a pid, ended or not: the accountant may ask a moment later.
    by_pid: BTreeMap<u32, ProcessKey>,
    known: BTreeMap<ProcessKey, Known>,
    watched: BTreeSet<ProcessKey>,
    generation: u64,
}

impl Stage {
    /// Before the first line, on the capture's own clocks.
    pub fn new(header: &Header) -> Self {
        let began = Now {
            monotonic: Microseconds(header.boot_us),
            boot: Microseconds(header.boot_us),
            unix: Microseconds(header.unix_us),
        };
        Self {
            header: header.clone(),
            began,
            words: Words::default(),
            uuids: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            known: BTreeMap::new(),
            watched: BTreeSet::new(),
            generation: 0,
        }
    }

    /// Begins now, on this machine's clocks.
    pub fn begin(&mut self, now: Now) {
        self.began = now;
    }

    /// How many GPUs have been seen.
    pub fn gpus(&self) -> u32 {
        u32::try_from(self.uuids.len()).unwrap_or(u32::MAX)
    }

    /// Which process has this pid.
    pub fn key(&self, pid: u32) -> Option<ProcessKey> {
        self.by_pid.get(&pid).copied()
    }

    /// What a line says.
    ///
    /// # Errors
    /// What makes no sense in it.
    pub fn hear(&mut self, entry: Entry) -> Result<Option<Event>, String> {
        match entry.what {
            What::Gpu(line) => {
                let card = line.card();
                self.uuids.insert(card.uuid.to_string(), Arc::clone(&card.uuid));
                Ok(Some(sample::Event::Opened(card).into()))
            }
            What::Calls(lines) => {
                let calls = format::calls(&lines, &mut self.words)?;
                Ok(Some(sample::Event::Called(calls).into()))
            }
            What::DriverRestarted {} => Ok(Some(sample::Event::DriverRestarted.into())),
            What::End { .. } => Ok(None),
            What::Sample(line) => {
                let uuid = self.opened(&line.uuid)?;
                let (monotonic, from, to) = (self.began.monotonic, self.header.unix_us, self.began.unix.0);
                let unix = move |us: u64| Microseconds((us + to).saturating_sub(from));
                let sample = Box::new(line.sample(monotonic, unix, &mut self.words)?);
                Ok(Some(sample::Event::Sampled { uuid, sample }.into()))
            }
            What::Arrived { uuid, running } => {
                let uuid = self.opened(&uuid)?;
                let running = running.into_iter().map(sample::Running::from).collect();
                Ok(Some(sample::Event::Arrived { uuid, running }.into()))
            }
            What::Process(key) => {
                let key = self.here(key.pid, key.start);
                self.by_pid.insert(key.pid, key);
                self.known.entry(key).or_default();
                Ok(None)
            }
            What::Facts(line) => {
                let key = self.here(line.pid, line.start);
                let facts = Arc::new(line.facts()?);
                self.known.entry(key).or_default().facts = Some(facts);
                Ok(self.tell(key).into_iter().next())
            }
            What::Unreadable { pid, start, reason } => {
                let (key, reason) = (self.here(pid, start), self.words.keep(&reason)?);
                self.known.entry(key).or_default().unreadable = Some(reason);
                let event = identify::Event::Failed { process: key, reason };
                Ok(self.watched.contains(&key).then(|| event.into()))
            }
            What::Missing { pid, start, part } => {
                let (process, part) = (self.here(pid, start), self.words.keep(&part)?);
                Ok(Some(identify::Event::Missing { process, part }.into()))
            }
            What::Ended(key) => {
                let process = self.here(key.pid, key.start);
                self.known.entry(process).or_default().ended = true;
                let was_watched = self.watched.remove(&process);
                Ok(was_watched.then(|| identify::Event::Ended { process }.into()))
            }
        }
    }

    /// The GPU with this uuid.
    fn opened(&self, uuid: &str) -> Result<Arc<str>, String> {
        let found = self.uuids.get(uuid).map(Arc::clone);
        found.ok_or_else(|| format!("it speaks of {uuid:?}, which was not opened"))
    }

    /// A process of the capture, with its start on this machine's clock. One that is older than this machine's boot
    /// started with it.
    fn here(&self, pid: u32, start: u64) -> ProcessKey {
        let age = |ticks: u64, per_second: u64| u128::from(ticks) * 1_000_000 / u128::from(per_second.max(1));
        let started = age(start, self.header.ticks_per_second) + u128::from(self.began.boot.0);
        let started = started.saturating_sub(u128::from(self.header.boot_us));
        let ticks = (started * u128::from(rustix::param::clock_ticks_per_second())).div_ceil(1_000_000);
        ProcessKey { pid, start: u64::try_from(ticks).unwrap_or(u64::MAX).max(1) }
    }

    /// What there is to tell of a watched process.
    fn tell(&self, process: ProcessKey) -> Vec<Event> {
        let Some(known) = self.known.get(&process).filter(|_| self.watched.contains(&process)) else {
            return Vec::new();
        };
        let generation = self.generation;
        let facts = known.facts.clone().map(|facts| identify::Event::Facts { process, generation, facts });
        let failed = known.unreadable.map(|reason| identify::Event::Failed { process, reason });
        facts.or(failed).map(Event::from).into_iter().collect()
    }

    fn watch(&mut self, process: ProcessKey) -> Vec<Event> {
        self.watched.insert(process);
        let mut events = self.tell(process);
        if self.known.get(&process).is_some_and(|known| known.ended) {
            self.watched.remove(&process);
            events.push(identify::Event::Ended { process }.into());
        }
        events
    }

    fn want(&mut self, generation: u64) -> Vec<Event> {
        self.generation = generation;
        self.watched.iter().flat_map(|process| self.tell(*process)).collect()
    }
}

/// Answers for the identify stage with what the capture has said by now.
pub struct Witness {
    stage: Arc<Mutex<Stage>>,
    events: Sender<Event>,
}

impl Witness {
    /// Tells what it is asked on this channel.
    pub fn new(stage: Arc<Mutex<Stage>>, events: Sender<Event>) -> Self {
        Self { stage, events }
    }

    /// Under the lock, so that all is told in the order in which it was heard.
    fn answer(&self, ask: impl FnOnce(&mut Stage) -> Vec<Event>) {
        let mut stage = lock(&self.stage);
        for event in ask(&mut stage) {
            // Nobody listens any more: the exporter is stopping.
            let _ = self.events.send(event);
        }
    }
}

impl Watch for Witness {
    fn watch(&self, process: ProcessKey) {
        self.answer(|stage| stage.watch(process));
    }

    fn forget(&self, process: ProcessKey) {
        lock(&self.stage).watched.remove(&process);
    }

    fn want(&self, _: &RuleSet, generation: u64) {
        self.answer(|stage| stage.want(generation));
    }
}

/// A capture and how far it has been told.
#[derive(Clone, Debug)]
pub struct Replay {
    pub capture: Arc<Capture>,
    pub stage: Arc<Mutex<Stage>>,
}

impl Replay {
    /// Of a capture, before its first line.
    pub fn new(capture: Capture) -> Self {
        let stage = Arc::new(Mutex::new(Stage::new(&capture.header)));
        Self { capture: Arc::new(capture), stage }
    }

    /// The process that has this pid by now.
    pub fn key(&self, pid: u32) -> Option<ProcessKey> {
        lock(&self.stage).key(pid)
    }

    /// The body of the replaying thread: tells the capture in its own time, once. After its end the GPUs are silent.
    pub fn run(&self, events: &Sender<Event>, stop: &Receiver<()>) {
        let began = clock::now();
        lock(&self.stage).begin(began);
        match self.tell(began, events, stop) {
            Ok(()) => {}
            Err(error) => tracing::error!(error, "the capture cannot be replayed any further"),
        }
    }

    fn tell(&self, began: Now, events: &Sender<Event>, stop: &Receiver<()>) -> Result<(), String> {
        let mut lines = self.capture.lines()?;
        while let Some(entry) = lines.next().transpose()? {
            let due = began.monotonic + Microseconds(entry.at_us);
            let wait = Duration::from_micros(due.saturating_sub(clock::monotonic()).0);
            if !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                return Ok(());
            }
            let mut stage = lock(&self.stage);
            let event = stage.hear(entry).map_err(|what| lines.say(&what))?;
            if event.is_some_and(|event| events.send(event).is_err()) {
                return Ok(());
            }
        }
        tracing::warn!("the capture has ended: its gpus are silent from now on, and the counters stand");
        Ok(())
    }
}

/// Nothing that is done under the lock blocks.
fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}
