//! The simulated driver: resolves handles, applies faults, keeps the journal. [`crate::abi`] puts C around it.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::code::Code;
use crate::fault::Call;
use crate::journal::{Entry, Journal};
use crate::scenario::Scenario;

/// How often the scenario file is looked at, and a hanging call looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// A handle is (GPU + 1) × this, plus MIG instance + 1.
const HANDLE_STEP: usize = 0x1000;

/// A device: a GPU by its position in the scenario, or one of its MIG instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub gpu: usize,
    pub mig: Option<usize>,
}

impl Place {
    pub fn handle(self) -> usize {
        (self.gpu + 1) * HANDLE_STEP + self.mig.map_or(0, |mig| mig + 1)
    }

    fn of_handle(handle: usize) -> Option<Self> {
        let gpu = (handle / HANDLE_STEP).checked_sub(1)?;
        Some(Self { gpu, mig: (handle % HANDLE_STEP).checked_sub(1) })
    }
}

/// How a call names its device.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    System,
    Index(usize),
    Uuid(String),
    Handle(usize),
}

/// One call at one moment: everything an answer is made of.
pub(crate) struct Visit {
    pub call: &'static str,
    pub scenario: Arc<Scenario>,
    pub now_us: u64,
    /// Unix time in µs at scenario time 0.
    pub unix_epoch_us: u64,
    pub place: Option<Place>,
    /// What is wrong with the whole driver.
    driver_error: Option<Code>,
}

/// An answer that may be one number, for the journal.
pub(crate) trait Worth {
    fn worth(&self) -> Option<u64> {
        None
    }
}

struct Loaded {
    scenario: Arc<Scenario>,
    stamp: Stamp,
    looked: Instant,
}

/// What changes when a file does.
type Stamp = Option<(SystemTime, u64, u64)>;

pub(crate) struct Driver {
    clients: AtomicU32,
    /// CLOCK_MONOTONIC in µs, when the library was loaded.
    loaded_us: u64,
    /// The same, when the first of the clients initialised it.
    began_us: AtomicU64,
    path: Option<PathBuf>,
    /// Unix time less CLOCK_MONOTONIC, fixed when the library is loaded.
    unix_offset_us: u64,
    loaded: Mutex<Option<Loaded>>,
    journal: Option<Journal>,
}

impl Driver {
    pub fn from_env() -> Self {
        let journal = env::var_os("FAKE_NVML_JOURNAL").map(PathBuf::from);
        Self {
            clients: AtomicU32::new(0),
            loaded_us: clock::monotonic_us(),
            began_us: AtomicU64::new(0),
            path: env::var_os("FAKE_NVML_SCENARIO").map(PathBuf::from),
            unix_offset_us: clock::unix_us().saturating_sub(clock::monotonic_us()),
            loaded: Mutex::new(None),
            journal: journal.and_then(|path| Journal::append_to(&path).ok()),
        }
    }

    /// One more client.
    pub fn init(&self, call: &'static str) -> Result<(), Code> {
        self.answer(call, &Target::System, |_| {
            if self.clients.fetch_add(1, Ordering::Relaxed) == 0 {
                self.began_us.store(clock::monotonic_us(), Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// One client less.
    pub fn shutdown(&self, call: &'static str) -> Result<(), Code> {
        if self.clients.load(Ordering::Relaxed) == 0 {
            return Err(Code::UNINITIALIZED);
        }
        // Also from a driver that has gone.
        self.clients.fetch_sub(1, Ordering::Relaxed);
        let visit = self.arrive(call, &Target::System)?;
        self.note(&visit, (call, None, None));
        Ok(())
    }

    /// Answers a call, if there is a client at all.
    pub fn visit<T: Worth>(
        &self,
        call: &'static str,
        target: &Target,
        read: impl FnOnce(&Visit) -> Result<T, Code>,
    ) -> Result<T, Code> {
        if self.clients.load(Ordering::Relaxed) == 0 {
            return Err(Code::UNINITIALIZED);
        }
        self.answer(call, target, read)
    }

    fn answer<T: Worth>(
        &self,
        call: &'static str,
        target: &Target,
        read: impl FnOnce(&Visit) -> Result<T, Code>,
    ) -> Result<T, Code> {
        let visit = self.arrive(call, target)?;
        let answer = visit.passed().and_then(|()| read(&visit));
        let value = answer.as_ref().ok().and_then(Worth::worth);
        self.note(&visit, (call, answer.as_ref().err().copied(), value));
        answer
    }

    /// Adds an answer to the journal.
    pub fn note(&self, visit: &Visit, (call, error, value): (&str, Option<Code>, Option<u64>)) {
        let Some(journal) = &self.journal else { return };
        let entry = Entry {
            t_us: visit.now_us,
            pid_of_caller: std::process::id(),
            call: call.into(),
            gpu: visit.place.map(|place| place.gpu),
            code: error.unwrap_or(Code::SUCCESS).0,
            value,
        };
        // A journal that cannot be written must not change what the program under test sees.
        journal.write(&entry).ok();
    }

    /// Waits out latency and hanging; the visit is of the moment after.
    fn arrive(&self, call: &'static str, target: &Target) -> Result<Visit, Code> {
        let mut visit = self.moment(call, target)?;
        let delay = visit.scenario.latency_us(visit.as_call(), visit.now_us);
        if delay > 0 {
            thread::sleep(Duration::from_micros(delay));
            visit = self.moment(call, target)?;
        }
        while visit.scenario.hangs(visit.as_call(), visit.now_us) {
            thread::sleep(GLANCE);
            visit = self.moment(call, target)?;
        }
        Ok(visit)
    }

    fn moment(&self, call: &'static str, target: &Target) -> Result<Visit, Code> {
        let scenario = self.scenario()?;
        let now_us = scenario.now_us();
        let place = resolve(&scenario, target, now_us)?;
        let unix_epoch_us = self.unix_offset_us + scenario.epoch_us;
        let since = |at_us: u64| at_us.saturating_sub(scenario.epoch_us);
        let is_client = self.clients.load(Ordering::Relaxed) > 0;
        let began_us = is_client.then(|| since(self.began_us.load(Ordering::Relaxed)));
        let driver_error = scenario.driver_error(since(self.loaded_us), began_us, now_us);
        Ok(Visit { call, scenario, now_us, unix_epoch_us, place, driver_error })
    }

    /// The scenario in force; read again where the file has changed.
    fn scenario(&self) -> Result<Arc<Scenario>, Code> {
        let path = self.path.as_ref().ok_or(Code::DRIVER_NOT_LOADED)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.looked.elapsed() < GLANCE) {
            return Ok(Arc::clone(&loaded.scenario));
        }
        let stamp = stamp(path);
        let known = loaded.as_ref().map(|loaded| (loaded.stamp, Arc::clone(&loaded.scenario)));
        let scenario = match known {
            Some((old, scenario)) if old == stamp => scenario,
            known => self.read(path, known.map(|(_, scenario)| scenario))?,
        };
        *loaded = Some(Loaded { scenario: Arc::clone(&scenario), stamp, looked: Instant::now() });
        Ok(scenario)
    }

    fn read(&self, path: &std::path::Path, last: Option<Arc<Scenario>>) -> Result<Arc<Scenario>, Code> {
        let error = match Scenario::load(path) {
            Ok(scenario) => return Ok(Arc::new(scenario)),
            Err(error) => error,
        };
        eprintln!("fake NVML: {error}");
        let scenario = last.ok_or(Code::UNKNOWN)?;
        let (now_us, place) = (scenario.now_us(), None);
        let visit = Visit { call: "scenario", scenario, now_us, unix_epoch_us: 0, place, driver_error: None };
        self.note(&visit, (visit.call, Some(Code::UNKNOWN), None));
        Ok(visit.scenario)
    }
}

impl Worth for usize {}

impl Visit {
    fn as_call(&self) -> Call {
        Call { name: self.call, gpu: self.place.map(|place| place.gpu) }
    }

    /// Whether faults let the call through.
    fn passed(&self) -> Result<(), Code> {
        let absent = self.place.is_some_and(|place| self.scenario.is_absent(place.gpu, self.now_us));
        let error = self.driver_error.or_else(|| self.scenario.error(self.as_call(), self.now_us));
        error.or(absent.then_some(Code::GPU_IS_LOST)).map_or(Ok(()), Err)
    }

    /// The GPUs that are there, by position; their place in this list is their index.
    pub fn present(&self) -> Vec<usize> {
        present(&self.scenario, self.now_us)
    }
}

fn present(scenario: &Scenario, now_us: u64) -> Vec<usize> {
    (0..scenario.gpus.len()).filter(|gpu| !scenario.is_absent(*gpu, now_us)).collect()
}

fn stamp(path: &std::path::Path) -> Stamp {
    let meta = path.metadata().ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

fn resolve(scenario: &Scenario, target: &Target, now_us: u64) -> Result<Option<Place>, Code> {
    let whole = |gpu| Place { gpu, mig: None };
    match target {
        Target::System => Ok(None),
        Target::Index(index) => {
            let gpu = present(scenario, now_us).get(*index).copied();
            gpu.map(|gpu| Some(whole(gpu))).ok_or(Code::INVALID_ARGUMENT)
        }
        Target::Uuid(uuid) => places(scenario)
            .find(|(place, own)| own == uuid && !scenario.is_absent(place.gpu, now_us))
            .map(|(place, _)| Some(place))
            .ok_or(Code::NOT_FOUND),
        Target::Handle(handle) => Place::of_handle(*handle)
            .filter(|place| places(scenario).any(|(known, _)| known == *place))
            .map(Some)
            .ok_or(Code::INVALID_ARGUMENT),
    }
}

/// Every device with its uuid.
fn places(scenario: &Scenario) -> impl Iterator<Item = (Place, &str)> {
    scenario.gpus.iter().enumerate().flat_map(|(gpu, card)| {
        let instances = card.mig.iter().enumerate();
        let instances = instances.map(move |(mig, own)| (Place { gpu, mig: Some(mig) }, own.uuid.as_str()));
        std::iter::once((Place { gpu, mig: None }, card.uuid.as_str())).chain(instances)
    })
}
