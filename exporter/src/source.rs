//! Where readings and processes come from: the NVIDIA driver and /proc, or the demo. Opened and started by `serve`.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use nvml_wrapper::error::NvmlError;
use wattribute::facts::ProcessKey;
use wattribute::procfs::Reader;

use crate::account::Event;
use crate::demo::{Demo, DemoProcesses};
use crate::identify::{self, Identify, Proc, Watch};
#[cfg(feature = "kubernetes")]
use crate::kubernetes;
use crate::sample::{Ticks, nvml::Driver};
use crate::settings::{self, no_driver};
use crate::slurm::{self, Ears, Places, Scontrol, Slurm};

/// An opened source.
pub enum Gpus {
    Nvml { driver: Driver, count: u32, machine: settings::Machine },
    Demo(Demo),
}

/// Running sampling threads; each ends when this is dropped, unless the driver holds it.
pub struct Sampling {
    _stops: Vec<Sender<()>>,
}

impl Gpus {
    /// Opens the source.
    ///
    /// # Errors
    /// Why there is nothing to sample, and the way out.
    pub fn open(settings: &settings::Serve) -> Result<Self, String> {
        let settings::Source::Nvml { library } = &settings.source else {
            return Ok(Self::Demo(Demo::begin()));
        };
        let driver = Driver::open(library.as_deref()).map_err(|error| no_driver(&problem(&error)))?;
        let count = driver.count().map_err(|error| no_driver(&problem(&error)))?;
        if count == 0 {
            return Err(no_driver("the NVIDIA driver runs but has no GPU"));
        }
        Ok(Self::Nvml { driver, count, machine: settings.machine.clone() })
    }

    /// As in the metric `source_info`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nvml { .. } => "nvml",
            Self::Demo(_) => "demo",
        }
    }

    /// How many GPUs there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Nvml { count, .. } => *count,
            Self::Demo(demo) => demo.count(),
        }
    }

    /// Starts the identify stage for the processes of this source, for those of this machine with Slurm's behind it
    /// and that of Kubernetes behind both.
    ///
    /// # Errors
    /// If the kernel refuses what it needs.
    pub fn identify(&self, events: Sender<Event>) -> io::Result<Box<dyn Watch>> {
        let hold = |events: &Sender<Event>| {
            let events = events.clone();
            Box::new(move |held| events.send(Event::Allocations(held)).is_ok())
        };
        let holding = hold(&events);
        #[cfg(feature = "kubernetes")]
        let held_by_pods = hold(&events);
        let tell = move |event| events.send(Event::Identity(event)).is_ok();
        Ok(match self {
            #[cfg(feature = "kubernetes")]
            Self::Nvml { machine, .. } => {
                let ears = Ears { tell: Box::new(tell), hold: held_by_pods };
                let begin = |tell| with_slurm(machine, Ears { tell, hold: holding });
                Box::new(kubernetes::spawn(&machine.kubernetes, &machine.procfs, ears, begin)?)
            }
            #[cfg(not(feature = "kubernetes"))]
            Self::Nvml { machine, .. } => {
                Box::new(with_slurm(machine, Ears { tell: Box::new(tell), hold: holding })?)
            }
            Self::Demo(demo) => Box::new(identify::spawn(DemoProcesses(*demo), tell, identify::INTERVAL)?),
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
        }
    }

    /// Starts a sampling thread for each GPU.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn sample(&self, interval: Duration, events: &Sender<Event>) -> io::Result<Sampling> {
        let mut stops = Vec::new();
        for index in 0..self.count() {
            let (stop, stopped) = mpsc::channel();
            let ticks = Ticks { interval, events: events.clone(), stop: stopped };
            let thread = thread::Builder::new().name(format!("gpu-{index}"));
            match self {
                Self::Nvml { driver, .. } => {
                    let driver = driver.clone();
                    thread.spawn(move || driver.drive(index, &ticks))?;
                }
                Self::Demo(demo) => {
                    let demo = *demo;
                    thread.spawn(move || demo.drive(index, &ticks))?;
                }
            }
            stops.push(stop);
        }
        Ok(Sampling { _stops: stops })
    }
}

/// The identify stage for the processes of this machine, with Slurm's behind it.
fn with_slurm(machine: &settings::Machine, ears: Ears) -> io::Result<Slurm<Identify>> {
    let (procfs, job_mapping) = (machine.procfs.clone(), machine.slurm_job_mapping.clone());
    let places = Places { scontrol: Scontrol::find(), procfs, job_mapping };
    slurm::spawn(places, ears, |tell| identify::spawn(Proc::new(&machine.procfs), tell, identify::INTERVAL))
}

/// What is wrong with the driver, in words for a person.
fn problem(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(error) => format!("the driver's library cannot be loaded ({error})"),
        NvmlError::LibRmVersionMismatch => {
            "the driver and its library have different versions, as after an upgrade without a reboot".into()
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".into(),
        error => error.to_string(),
    }
}
