//! Where readings and processes come from: the NVIDIA driver and /proc, the demo, or a capture. Opened and started by
//! `serve` and `record`.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use nvml_wrapper::error::NvmlError;
use wattribute::facts::ProcessKey;
use wattribute::procfs::Reader;

use crate::account::Event;
use crate::capture::{Capture, Replay, Witness};
use crate::demo::{Demo, DemoProcesses};
use crate::identify::{self, Identify, Proc, Watch};
#[cfg(feature = "kubernetes")]
use crate::kubernetes;
use crate::sample::session::{self, Orders, Plan, Session};
use crate::sample::{Ticks, nvml::Driver};
use crate::settings::{self, no_driver};
use crate::slurm::{self, Ears, Places, Scontrol, Slurm};

/// An opened source.
pub enum Gpus {
    Nvml { driver: Driver, library: Option<PathBuf>, count: u32, machine: settings::Machine },
    Demo(Demo),
    Capture(Replay),
}

/// Running sampling threads; each ends when this is dropped, unless the driver holds it.
pub struct Sampling {
    _stops: Vec<Sender<()>>,
    /// Of the driver, if there is one.
    session: Option<Session>,
}

impl Sampling {
    /// Where an operator's orders about the driver are taken; `None` where there is no driver.
    pub fn orders(&self) -> Option<Orders> {
        self.session.as_ref().map(Session::orders)
    }
}

impl Gpus {
    /// Opens the source. It takes as long as the driver takes, or a capture is long.
    ///
    /// # Errors
    /// Why there is nothing to sample, and the way out.
    pub fn open(source: &settings::Source, machine: &settings::Machine) -> Result<Self, String> {
        let library = match source {
            settings::Source::Nvml { library } => library,
            settings::Source::Demo => return Ok(Self::Demo(Demo::begin())),
            settings::Source::Capture(path) => {
                let capture = Capture::open(path)?;
                if !capture.is_complete {
                    tracing::warn!(
                        "the capture has no end, since its recorder was killed: what there is is replayed"
                    );
                }
                return Ok(Self::Capture(Replay::new(capture)));
            }
        };
        let driver = Driver::open(library.as_deref()).map_err(|error| no_driver(&problem(&error)))?;
        let count = driver.count().map_err(|error| no_driver(&problem(&error)))?;
        if count == 0 {
            return Err(no_driver("the NVIDIA driver runs but has no GPU"));
        }
        Ok(Self::Nvml { driver, library: library.clone(), count, machine: machine.clone() })
    }

    /// As in the metric `source_info`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nvml { .. } => "nvml",
            Self::Demo(_) => "demo",
            Self::Capture(_) => "capture",
        }
    }

    /// How many GPUs there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Nvml { count, .. } => *count,
            Self::Demo(demo) => demo.count(),
            Self::Capture(replay) => replay.capture.gpus,
        }
    }

    /// The time between two samples: as asked for, but a capture has its own.
    pub fn interval(&self, asked: Duration) -> Duration {
        match self {
            Self::Nvml { .. } | Self::Demo(_) => asked,
            Self::Capture(replay) => Duration::from_micros(replay.capture.header.interval_us),
        }
    }

    /// The machine's name.
    pub fn host(&self) -> String {
        match self {
            Self::Nvml { .. } | Self::Demo(_) => {
                rustix::system::uname().nodename().to_string_lossy().into_owned()
            }
            Self::Capture(replay) => replay.capture.header.host.clone(),
        }
    }

    /// The schedulers of this machine that will say what they have allocated, as [`crate::allocation::Allocations`]
    /// names them.
    pub fn schedulers(&self) -> BTreeSet<&'static str> {
        let Self::Nvml { machine, .. } = self else { return BTreeSet::new() };
        let Some(schedulers) = &machine.schedulers else { return BTreeSet::new() };
        let lists = Scontrol::find().is_some_and(|scontrol| scontrol.can_list());
        let here = [
            ("slurm", lists),
            ("prolog", schedulers.slurm_job_mapping.is_some()),
            #[cfg(feature = "kubernetes")]
            ("kubernetes", schedulers.kubernetes.pod_resources_socket.exists()),
        ];
        here.into_iter().filter(|(_, is_here)| *is_here).map(|(name, _)| name).collect()
    }

    /// Starts the identify stage for the processes of this source, for those of this machine with Slurm's behind it
    /// and that of Kubernetes behind both.
    ///
    /// # Errors
    /// If the kernel refuses what it needs.
    pub fn identify(&self, events: Sender<Event>) -> io::Result<Box<dyn Watch>> {
        let told = events.clone();
        let tell = move |event| told.send(Event::Identity(event)).is_ok();
        Ok(match self {
            Self::Nvml { machine, .. } => with_schedulers(machine, Box::new(tell), &events)?,
            Self::Demo(demo) => Box::new(identify::spawn(DemoProcesses(*demo), tell, identify::INTERVAL)?),
            Self::Capture(replay) => Box::new(Witness::new(Arc::clone(&replay.stage), events)),
        })
    }

    /// What tells which process has a pid now.
    pub fn keys(&self) -> Box<dyn Fn(u32) -> Option<ProcessKey> + Send> {
        match self {
            Self::Nvml { machine, .. } => {
                let reader = Reader::new(&machine.procfs);
                Box::new(move |pid| reader.key(pid).ok())
            }
            Self::Demo(demo) => {
                let demo = *demo;
                Box::new(move |pid| demo.key(pid))
            }
            Self::Capture(replay) => {
                let replay = replay.clone();
                Box::new(move |pid| replay.key(pid))
            }
        }
    }

    /// Starts the sampling: a thread for each GPU, or the replay. The source is given away, so that the driver can be
    /// let go of.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn sample(self, interval: Duration, events: &Sender<Event>) -> io::Result<Sampling> {
        let mut stops = Vec::new();
        let mut begin = |name: String, run: Box<dyn FnOnce(Receiver<()>) + Send>| {
            let (stop, stopped) = mpsc::channel();
            stops.push(stop);
            thread::Builder::new().name(name).spawn(move || run(stopped))
        };
        let events = events.clone();
        match self {
            Self::Nvml { driver, library, .. } => {
                let session = Some(session::start(driver, Plan { library, interval, events })?);
                return Ok(Sampling { _stops: stops, session });
            }
            Self::Demo(demo) => {
                for index in 0..demo.count() {
                    let events = events.clone();
                    let run = move |stop| demo.drive(index, &Ticks { interval, events, stop });
                    begin(format!("gpu-{index}"), Box::new(run))?;
                }
            }
            Self::Capture(replay) => {
                begin("replay".into(), Box::new(move |stop| replay.run(&events, &stop)))?;
            }
        }
        Ok(Sampling { _stops: stops, session: None })
    }
}

/// Takes an event of the identify stage.
type Tell = Box<dyn Fn(identify::Event) -> bool + Send + Sync>;

/// The identify stage for the processes of this machine, with the schedulers' stages behind it.
fn with_schedulers(
    machine: &settings::Machine,
    tell: Tell,
    events: &Sender<Event>,
) -> io::Result<Box<dyn Watch>> {
    let Some(schedulers) = &machine.schedulers else {
        return Ok(Box::new(identify::spawn(Proc::new(&machine.procfs), tell, identify::INTERVAL)?));
    };
    let hold = || {
        let events = events.clone();
        Box::new(move |held| events.send(Event::Allocations(held)).is_ok())
    };
    #[cfg(feature = "kubernetes")]
    {
        let begin = |tell| with_slurm(machine, schedulers, Ears { tell, hold: hold() });
        let ears = Ears { tell, hold: hold() };
        Ok(Box::new(kubernetes::spawn(&schedulers.kubernetes, &machine.procfs, ears, begin)?))
    }
    #[cfg(not(feature = "kubernetes"))]
    Ok(Box::new(with_slurm(machine, schedulers, Ears { tell, hold: hold() })?))
}

/// The identify stage with Slurm's behind it.
fn with_slurm(
    machine: &settings::Machine,
    schedulers: &settings::Schedulers,
    ears: Ears,
) -> io::Result<Slurm<Identify>> {
    let (procfs, job_mapping) = (machine.procfs.clone(), schedulers.slurm_job_mapping.clone());
    let places = Places { scontrol: Scontrol::find(), procfs, job_mapping };
    slurm::spawn(places, ears, |tell| identify::spawn(Proc::new(&machine.procfs), tell, identify::INTERVAL))
}

/// What is wrong with the driver, in words for a person.
pub fn problem(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(error) => format!("the driver's library cannot be loaded ({error})"),
        NvmlError::LibRmVersionMismatch => {
            "the driver and its library have different versions, as after an upgrade without a reboot".into()
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".into(),
        error => error.to_string(),
    }
}
