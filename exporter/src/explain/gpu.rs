//! The facts of the GPU that a process is on: asked of the driver, and only if a rule names one of them or a GPU is
//! given. The driver may hang, so that another thread asks it.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use wattribute::facts::{Fact, Facts, Field};
use wattribute::rules::RuleSet;

use super::subject::Subject;
use crate::cli::Explain;

/// How long the driver may take.
const PATIENCE: Duration = Duration::from_secs(5);
const FIELDS: [Field; 3] = [Field::Gpu, Field::GpuUuid, Field::GpuModel];

/// A GPU, as the rules see it.
struct Found {
    index: u32,
    uuid: String,
    model: String,
    /// Whether the driver lists the process on it.
    has_process: bool,
}

/// Adds the facts of the GPU that was given, else of the one that the process is on; what a file says of it stays.
pub fn add(subject: &mut Subject, typed: &Explain, rules: &RuleSet) {
    let is_asked_for = typed.gpu.is_some() || FIELDS.iter().any(|field| rules.wants(field));
    let is_described = FIELDS.iter().any(|field| subject.facts.get(field) != Fact::Absent);
    let nobody = subject.origin.pid().is_none() && typed.gpu.is_none();
    if !is_asked_for || is_described || nobody {
        return;
    }
    let found = ask(typed.nvml_library.as_deref(), subject.origin.pid());
    let note = match (found, &typed.gpu) {
        (Ok(gpus), Some(given)) => {
            let is_given = |gpu: &&Found| gpu.uuid == *given || gpu.index.to_string() == *given;
            match gpus.iter().find(is_given) {
                Some(gpu) => {
                    set(&mut subject.facts, gpu);
                    return;
                }
                None => format!("there is no GPU {given}: nvidia-smi -L lists them"),
            }
        }
        (Ok(gpus), None) => match gpus.iter().filter(|gpu| gpu.has_process).collect::<Vec<_>>()[..] {
            [] => "the process is on no GPU, whose facts are absent: choose one with --gpu".to_owned(),
            [gpu] => {
                set(&mut subject.facts, gpu);
                return;
            }
            [gpu, ..] => {
                set(&mut subject.facts, gpu);
                "the process is on several GPUs, of which this is the first: choose with --gpu".to_owned()
            }
        },
        (Err(problem), Some(given)) => {
            let field =
                if given.bytes().all(|byte| byte.is_ascii_digit()) { Field::Gpu } else { Field::GpuUuid };
            subject.facts.set(field, given.as_str());
            format!("{problem}: of the GPU nothing is known but --gpu")
        }
        (Err(problem), None) => format!("{problem}: the facts of the GPU are absent: give --gpu"),
    };
    subject.notes.push(note);
}

fn set(facts: &mut Facts, gpu: &Found) {
    facts.set(Field::Gpu, gpu.index.to_string());
    facts.set(Field::GpuUuid, &*gpu.uuid);
    facts.set(Field::GpuModel, &*gpu.model);
}

fn ask(library: Option<&Path>, pid: Option<u32>) -> Result<Vec<Found>, String> {
    let (sender, answer) = mpsc::channel();
    let library = library.map(Path::to_owned);
    // It is left alone where it hangs: this program ends soon.
    thread::spawn(move || sender.send(list(library.as_deref(), pid)));
    match answer.recv_timeout(PATIENCE) {
        Ok(found) => found.map_err(|error| format!("the NVIDIA driver cannot be asked ({error})")),
        Err(_) => Err("the NVIDIA driver does not answer".into()),
    }
}

fn list(library: Option<&Path>, pid: Option<u32>) -> Result<Vec<Found>, NvmlError> {
    let name = library.map_or(OsStr::new("libnvidia-ml.so.1"), Path::as_os_str);
    let nvml = Nvml::builder().lib_path(name).init()?;
    let gpus = (0..nvml.device_count()?).filter_map(|index| {
        let device = nvml.device_by_index(index).ok()?;
        let (uuid, model) = (device.uuid().ok()?, device.name().unwrap_or_default());
        Some(Found { index, uuid, model, has_process: pid.is_some_and(|pid| has_process(&device, pid)) })
    });
    Ok(gpus.collect())
}

fn has_process(device: &Device<'_>, pid: u32) -> bool {
    let lists = [device.running_compute_processes(), device.running_graphics_processes()];
    lists.into_iter().flatten().flatten().any(|process| process.pid == pid)
}
