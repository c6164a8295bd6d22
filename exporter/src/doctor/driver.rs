//! The driver: whether its library opens, which GPUs it has, what each of them can say, and whether the processes that
//! it names are those of /proc. A GPU is sampled as the exporter samples it.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use wattribute::meter::Counter;
use wattribute::procfs::{ReadError, Reader};

use super::finding::{Finding, Outcome, count};
use super::patience::{self, within};
use crate::sample::nvml::Driver;
use crate::sample::{Card, Event, Mig, Sample, Ticks};
use crate::settings::{Serve, Source};
use crate::source::{Gpus, problem};

/// How long the driver may take to open, and then each GPU to be sampled twice.
const OPENING: Duration = Duration::from_secs(5);
const SAMPLING: Duration = Duration::from_secs(8);
/// The time between the two samples: the driver's utilisation is that since the first.
const INTERVAL: Duration = Duration::from_millis(500);
const SAMPLES: usize = 2;

const INSTALL: &str = "install the NVIDIA driver so that nvidia-smi works here; in a container give it the GPUs; \
                       or name the library by --nvml.library; or try --source demo";
const HANGS: &str = "see dmesg for NVRM and Xid lines: the GPU may need a reset, or the machine a reboot";

pub fn examine(settings: &Serve) -> Vec<Finding> {
    let Source::Nvml { library } = &settings.source else { return vec![simulated(settings)] };
    let name = library.clone().unwrap_or_else(|| PathBuf::from("libnvidia-ml.so.1"));
    let name = name.display();
    let library = library.clone();
    let opened = within(OPENING, move || {
        let driver = Driver::open(library.as_deref())?;
        let count = driver.count()?;
        Ok((driver, count))
    });
    let (driver, number) = match opened {
        None => {
            let found = format!("{name}: it hangs: not open within {OPENING:?}");
            return vec![Finding::failure("driver", found, HANGS)];
        }
        Some(Err(error)) => {
            return vec![Finding::failure("driver", format!("{name}: {}", problem(&error)), INSTALL)];
        }
        Some(Ok((_, 0))) => {
            let found = format!("{name}: the driver runs but has no GPU");
            return vec![Finding::failure(
                "driver",
                found,
                "see lspci and nvidia-smi -L; in a container give it the GPUs",
            )];
        }
        Some(Ok(opened)) => opened,
    };
    let until = Instant::now() + SAMPLING;
    let sampling = (0..number).map(|index| {
        let driver = driver.clone();
        patience::begin(move || Gpu::ask(&driver, index, until))
    });
    let sampling: Vec<_> = sampling.collect();
    // A little longer than each gives the driver: which says how far it came.
    let heard = sampling.into_iter().map(|gpu| gpu.until(until + INTERVAL).unwrap_or_default());
    let gpus: Vec<Gpu> = heard.collect();
    let version = gpus.iter().find_map(|gpu| Some(&gpu.card.as_ref()?.driver_version));
    let version = version.map_or("of unknown version", |version| version.as_str());
    let mut findings = vec![Finding::ok("driver", format!("{name}: driver {version}, {}", gpus_of(number)))];
    findings.extend(gpus.iter().zip(0..).map(|(gpu, index)| gpu.judge(index)));
    findings.extend(processes(&gpus, &settings.machine.procfs));
    findings
}

/// The demo, or a capture, which is to open.
fn simulated(settings: &Serve) -> Finding {
    match Gpus::open(&settings.source, &settings.machine) {
        Ok(gpus) => {
            Finding::ok("driver", format!("not needed: {} of the {}", gpus_of(gpus.count()), gpus.name()))
        }
        Err(error) => Finding::failure("driver", error, "see --source"),
    }
}

fn gpus_of(number: u32) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "GPU", "GPUs")
}

/// What a GPU said.
#[derive(Default)]
struct Gpu {
    card: Option<Card>,
    sample: Option<Box<Sample>>,
    /// Errors of calls, each once.
    errors: Vec<String>,
    persistent: Option<bool>,
    /// Whether everything was answered in time.
    is_complete: bool,
}

impl Gpu {
    /// Samples it twice.
    fn ask(driver: &Driver, index: u32, until: Instant) -> Self {
        let mut gpu = Self::default();
        let (events, inbox) = mpsc::channel::<Event>();
        let (_stop, stop) = mpsc::channel();
        let own = driver.clone();
        let sample = move || {
            if let Ok(uuid) = own.uuid(index) {
                own.drive((index, &uuid), &Ticks { interval: INTERVAL, events, stop });
            }
        };
        if thread::Builder::new().spawn(sample).is_err() {
            return gpu;
        }
        let mut samples = 0;
        while samples < SAMPLES {
            match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Opened(card)) => gpu.card = Some(card),
                Ok(Event::Sampled { sample, .. }) => {
                    gpu.note(&sample.calls);
                    gpu.sample = Some(sample);
                    samples += 1;
                }
                Ok(Event::Called(calls)) => gpu.note(&calls),
                Ok(Event::Arrived { .. } | Event::DriverRestarted) => {}
                Err(RecvTimeoutError::Timeout) => return gpu,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if gpu.card.is_none() && !gpu.errors.is_empty() {
                break;
            }
        }
        gpu.persistent = driver.is_persistent(index).ok();
        gpu.is_complete = true;
        gpu
    }

    fn note(&mut self, calls: &[crate::sample::Call]) {
        let lacks = |error: &&str| ["not_supported", "function_not_found"].contains(error);
        for call in calls {
            let Some(error) = call.error.filter(|error| !lacks(error)) else { continue };
            let error = format!("{}: {error}", call.name);
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }

    fn judge(&self, index: u32) -> Finding {
        let errors =
            || if self.errors.is_empty() { String::new() } else { format!(" ({})", self.errors.join(", ")) };
        let (Some(card), Some(sample)) = (&self.card, &self.sample) else {
            let found = match self.is_complete {
                true => format!("{index}: the driver does not open it{}", errors()),
                false => format!("{index}: it hangs: no sample within {SAMPLING:?}{}", errors()),
            };
            return Finding::failure("gpu", found, HANGS);
        };
        let mut finding = Finding::ok("gpu", format!("{index}: {}", card.model));
        let points = [energy(sample), list(sample), utilization(sample), persistence(self.persistent)];
        let hangs = (!self.is_complete).then_some((Outcome::Failure, "calls hang".to_owned(), HANGS));
        for (outcome, found, advice) in points.into_iter().flatten().chain(hangs) {
            finding.found += &format!(", {found}");
            if outcome > finding.outcome {
                finding.advice = Some(advice.to_owned());
                finding.outcome = outcome;
            }
        }
        finding.found += &errors();
        finding
    }
}

/// How bad, what is there, and what to do.
type Point = Option<(Outcome, String, &'static str)>;

fn energy(sample: &Sample) -> Point {
    let power =
        "its energy is taken from power × time (docs/accounting.md): nothing to mend on GPUs before Volta";
    Some(match (sample.counter, sample.power) {
        (Counter::Value(_), _) => (Outcome::Ok, "energy counter".into(), ""),
        (Counter::Unsupported, Some(_)) => (Outcome::Warning, "no energy counter".into(), power),
        (Counter::Unsupported, None) => (
            Outcome::Failure,
            "neither energy counter nor power".into(),
            "its energy cannot be accounted: see docs/driver.md",
        ),
        (Counter::Failed, _) => (Outcome::Failure, "the energy counter cannot be read".into(), HANGS),
    })
}

fn list(sample: &Sample) -> Point {
    Some(match sample.processes.as_ref().map(|processes| &processes.running) {
        Some(Some(running)) => (Outcome::Ok, count(running.len(), "process", "processes"), ""),
        Some(None) => {
            let advice =
                "only allocations by a scheduler can hold it: without them its energy is unattributed";
            (Outcome::Warning, "no list of processes".into(), advice)
        }
        None => (Outcome::Failure, "its list of processes cannot be read".into(), HANGS),
    })
}

fn utilization(sample: &Sample) -> Point {
    if let Some(Mig { instances, .. }) = &sample.mig {
        let basis = if instances.iter().any(|one| one.activity.is_some()) {
            "activity (GPM)"
        } else {
            "memory and slices"
        };
        return Some((
            Outcome::Ok,
            format!("MIG: {}, split by {basis}", count(instances.len(), "instance", "instances")),
            "",
        ));
    }
    let processes = sample.processes.as_ref()?;
    Some(match (&processes.running, &processes.utilization) {
        (None, _) => return None,
        (_, Some(_)) => (Outcome::Ok, "utilisation by process".into(), ""),
        (_, None) => {
            let advice = "its energy is split by memory, an estimate: wattribute_gpu_split_basis says so";
            (Outcome::Warning, "no utilisation by process".into(), advice)
        }
    })
}

fn persistence(is_on: Option<bool>) -> Point {
    let advice = "nvidia-smi -pm 1, or run nvidia-persistenced: else the driver may unload when nothing holds the GPU, and \
                  its counter begins at zero";
    Some(match is_on? {
        true => (Outcome::Ok, "persistence mode on".into(), ""),
        false => (Outcome::Warning, "persistence mode off".into(), advice),
    })
}

/// Whether /proc has the processes that the driver names.
fn processes(gpus: &[Gpu], procfs: &std::path::Path) -> Option<Finding> {
    let lists = gpus.iter().filter_map(|gpu| gpu.sample.as_ref()?.processes.as_ref()?.running.as_ref());
    let pids: std::collections::BTreeSet<u32> = lists.flatten().map(|one| one.pid).collect();
    if pids.is_empty() {
        return None;
    }
    let reader = Reader::new(procfs);
    let missing = pids.iter().filter(|pid| reader.key(**pid) == Err(ReadError::Vanished)).count();
    let (all, procfs) = (pids.len(), procfs.display());
    Some(match missing {
        0 => Finding::ok("processes", format!("{procfs} has all {all} that the driver names")),
        _ if missing == all => Finding::failure(
            "processes",
            format!(
                "{procfs} has none of the {all} that the driver names: another PID namespace, or hidepid"
            ),
            "run in the host's PID namespace (Kubernetes: hostPID: true; Docker: --pid=host), or mount the host's /proc \
             and name it by --path.procfs",
        ),
        _ => Finding::warning(
            "processes",
            format!("{procfs} lacks {missing} of the {all} that the driver names"),
            "they may have ended just now: try again; else see the findings on hidepid and the PID namespace",
        ),
    })
}
