//! The process that is explained: its facts, where each is from, and what could not be found out.

use std::fs;
use std::path::Path;

use wattribute::facts::{Fact, Facts, Field, ProcessKey};
use wattribute::procfs::{ReadError, Reader};
use wattribute::rules::{self, RuleSet, Source};

use super::gpu;
use crate::cli::Explain;
use crate::clock;
use crate::slurm::{self, Answer, Scontrol, Stepd};

/// A process and what is known of it.
pub struct Subject {
    pub facts: Facts,
    pub origin: Origin,
    /// Unix time in seconds.
    pub start_time: Option<f64>,
    /// What could not be found out, in sentences.
    pub notes: Vec<String>,
}

/// Where facts are from.
pub enum Origin {
    /// A process that is or was there.
    Process {
        pid: u32,
        /// Where /proc is.
        procfs: String,
    },
    /// A file that describes one.
    File(String),
}

impl Origin {
    /// The pid of a process that is no description.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Process { pid, .. } => Some(*pid),
            Self::File(_) => None,
        }
    }

    /// Where a field is from, in words by which a person can look it up.
    pub fn source(&self, field: &Field, facts: &Facts) -> String {
        let (pid, procfs) = match self {
            Self::Process { pid, procfs } => (pid, procfs),
            Self::File(name) => return name.clone(),
        };
        let of = |key: &str, field| match facts.text(&field) {
            "" => key.to_owned(),
            value => format!("{key} {value}"),
        };
        let part = |file: &str| format!("{procfs}/{pid}/{file}");
        let parent = |file: &str| format!("{procfs}/<parents>/{file}");
        match field {
            Field::Uid | Field::Gid => part("status"),
            Field::User => of("getent passwd", Field::Uid),
            Field::Group => of("getent group", Field::Gid),
            Field::Gpu | Field::GpuUuid | Field::GpuModel | Field::MigInstance => "nvidia-smi -L".into(),
            Field::Host => "uname -n".into(),
            Field::Namespace | Field::Pod | Field::Container | Field::PodLabel(_) => {
                of("Kubernetes, pod UID", Field::PodUid)
            }
            Field::SlurmAccount | Field::SlurmUser | Field::SlurmPartition | Field::SlurmJobName => {
                of("scontrol show job", Field::JobId)
            }
            Field::Comm => part("comm"),
            Field::Exe => part("exe"),
            Field::Cmdline => part("cmdline"),
            Field::Env(_) => part("environ"),
            Field::AncestorComm => parent("comm"),
            Field::AncestorExe => parent("exe"),
            Field::AncestorCmdline => parent("cmdline"),
            Field::AncestorEnv(_) => parent("environ"),
            // What the control group's path proves.
            _ => part("cgroup"),
        }
    }
}

/// Finds what was asked for.
///
/// # Errors
/// Why there is nothing to explain, and the way out.
pub fn find(typed: &Explain, rules: &RuleSet) -> Result<Subject, String> {
    let mut subject = match (&typed.subject.process, typed.subject.pid) {
        (Some(file), _) => described(file),
        (None, Some(pid)) => living(&typed.procfs, pid, rules),
        (None, None) => Err("neither --pid nor --process is given: give one".into()),
    }?;
    gpu::add(&mut subject, typed, rules);
    Ok(subject)
}

fn described(file: &Path) -> Result<Subject, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}: see --process"))?;
    let source = Source { name: name.clone(), text };
    let facts = rules::process(&source).map_err(|problems| problems.to_string())?;
    Ok(Subject { facts, origin: Origin::File(name), start_time: None, notes: Vec::new() })
}

fn living(procfs: &Path, pid: u32, rules: &RuleSet) -> Result<Subject, String> {
    let mut reader = Reader::new(procfs);
    let say = |error| refusal(pid, error);
    let key = reader.key(pid).map_err(say)?;
    let reading = reader.facts(key, rules.wanted_env()).map_err(say)?;
    let mut notes: Vec<String> = reading
        .unread
        .iter()
        .map(|part| {
            format!(
                "{} of pid {pid} or a parent could not be read, and what it says is pending: run as root",
                part.name()
            )
        })
        .collect();
    let mut facts = reading.facts;
    facts.set(Field::Host, rustix::system::uname().nodename().to_string_lossy());
    facts = Stepd::new(procfs).resolve(&facts).unwrap_or(facts);
    if slurm::is_wanted(rules) {
        notes.extend(add_job(&mut facts));
    }
    notes.extend(await_pod(&mut facts, pid, rules));
    let origin = Origin::Process { pid, procfs: procfs.display().to_string() };
    Ok(Subject { facts, origin, start_time: Some(start_time(key)), notes })
}

fn refusal(pid: u32, error: ReadError) -> String {
    match error {
        ReadError::Vanished => {
            format!("pid {pid}: there is no such process, or /proc hides it (hidepid): run as root")
        }
        ReadError::Denied => format!("pid {pid}: it may not be read: run as root, or as its user"),
        ReadError::Unreadable => format!("pid {pid}: its stat makes no sense: look at --path.procfs"),
    }
}

fn start_time(key: ProcessKey) -> f64 {
    let now = clock::now();
    (now.unix.saturating_sub(now.boot) + clock::started(key)).as_seconds()
}

/// Only the running exporter asks Kubernetes: of a process in a pod, what rules want to know of it is pending here.
pub(super) fn await_pod(facts: &mut Facts, pid: u32, rules: &RuleSet) -> Option<String> {
    let fixed =
        [Field::Namespace, Field::Pod, Field::Container].into_iter().filter(|field| rules.wants(field));
    let labels = rules.wanted_pod_labels().map(|label| Field::PodLabel(label.into()));
    let wanted: Vec<Field> = fixed.chain(labels).collect();
    if facts.text(&Field::PodUid).is_empty() || wanted.is_empty() {
        return None;
    }
    wanted.into_iter().for_each(|field| facts.set_pending(field));
    Some(format!(
        "what Kubernetes says of the pod is not known here: ask /api/v1/processes?pid={pid} of the running exporter"
    ))
}

/// Adds what Slurm says of the process's job, if it is in one; gives what it does not say.
pub(super) fn add_job(facts: &mut Facts) -> Option<String> {
    if facts.get(&Field::JobId) == Fact::Pending {
        *facts = slurm::pending(facts);
        let sluid = facts.text(&Field::Sluid);
        return Some(format!("the job of sluid {sluid} is not known: its slurmstepd was not found in /proc"));
    }
    let job = slurm::job_of(facts)?;
    let answer = Scontrol::find().map(|mut scontrol| scontrol.ask(job));
    let problem = match answer {
        Some(Answer::Known(job)) if slurm::set_job(facts, Some(&job)) => return None,
        Some(Answer::Known(_)) => "is another user's than the process",
        Some(Answer::Unknown) => "is unknown to Slurm, or hidden from this user (PrivateData)",
        Some(Answer::None) => {
            *facts = slurm::pending(facts);
            "cannot be asked for: Slurm's controller gives no clear answer"
        }
        None => "cannot be asked for: there is no scontrol in PATH, or no slurm.conf",
    };
    Some(format!("job {job} {problem}"))
}
