//! What is known of a process: fields, their values, and how far each can be trusted.
//!
//! Facts are plain values. [`crate::cgroup`] and the `procfs` module produce them, [`crate::rules`] reads them.

use std::collections::BTreeMap;
use std::fmt;

/// The identity of a process: a pid that comes back with another start time is another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// The process id in the host's PID namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start: u64,
}

/// How far a fact can be trusted, the most trustworthy first. A verdict carries the weakest it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// Asserted by the kernel, its managers or the driver.
    Kernel,
    /// Asserted by the scheduler (Kubernetes, Slurm).
    Scheduler,
    /// Declared by the process or its user, who may say what they like.
    Declared,
}

impl Evidence {
    /// All classes, the most trustworthy first.
    pub const ALL: [Self; 3] = [Self::Kernel, Self::Scheduler, Self::Declared];

    /// The name of the class.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Scheduler => "scheduler",
            Self::Declared => "declared",
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! fields {
    ($($variant:ident $name:literal $evidence:ident $bound:ident,)*) => {
        /// A name that a matcher may use. See [`Field::parse`].
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the design's table of fields names and explains them")]
        pub enum Field {
            $($variant,)*
            /// A pod label; characters other than letters, digits and `_` are written as `_`.
            PodLabel(Box<str>),
            /// An environment variable of the process.
            Env(Box<str>),
            /// An environment variable of an ancestor.
            AncestorEnv(Box<str>),
        }

        impl Field {
            /// The fields with a fixed name, in the order of the design.
            pub const FIXED: &[Self] = &[$(Self::$variant,)*];

            fn fixed_name(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    _ => None,
                }
            }

            /// How far this field can be trusted.
            #[must_use]
            pub fn evidence(&self) -> Evidence {
                match self {
                    $(Self::$variant => Evidence::$evidence,)*
                    Self::PodLabel(_) => Evidence::Scheduler,
                    Self::Env(_) | Self::AncestorEnv(_) => Evidence::Declared,
                }
            }

            /// Whether the number of its values has no bound, so that it may not become an owner label.
            #[must_use]
            pub fn is_unbounded(&self) -> bool {
                match self {
                    $(Self::$variant => stringify!($bound) == "unbounded",)*
                    _ => false,
                }
            }
        }
    };
}

fields! {
    Uid "uid" Kernel bounded,
    User "user" Kernel bounded,
    Gid "gid" Kernel bounded,
    Group "group" Kernel bounded,
    SystemdUnit "systemd_unit" Kernel bounded,
    SystemdSlice "systemd_slice" Kernel bounded,
    ContainerRuntime "container_runtime" Kernel bounded,
    ContainerId "container_id" Kernel unbounded,
    PodUid "pod_uid" Kernel unbounded,
    Scheduler "scheduler" Kernel bounded,
    JobId "job_id" Kernel unbounded,
    JobStep "job_step" Kernel bounded,
    JobTask "job_task" Kernel bounded,
    Sluid "sluid" Kernel bounded,
    SlurmNode "slurm_node" Kernel bounded,
    Vm "vm" Kernel bounded,
    Gpu "gpu" Kernel bounded,
    GpuUuid "gpu_uuid" Kernel bounded,
    GpuModel "gpu_model" Kernel bounded,
    MigInstance "mig_instance" Kernel bounded,
    Host "host" Kernel bounded,
    Namespace "namespace" Scheduler bounded,
    Pod "pod" Scheduler bounded,
    Container "container" Scheduler bounded,
    SlurmAccount "slurm_account" Scheduler bounded,
    SlurmUser "slurm_user" Scheduler bounded,
    SlurmPartition "slurm_partition" Scheduler bounded,
    SlurmJobName "slurm_job_name" Scheduler bounded,
    Comm "comm" Declared bounded,
    Exe "exe" Declared bounded,
    Cmdline "cmdline" Declared unbounded,
    Cgroup "cgroup" Declared bounded,
    AncestorComm "ancestor_comm" Declared bounded,
    AncestorExe "ancestor_exe" Declared bounded,
    AncestorCmdline "ancestor_cmdline" Declared bounded,
}

impl Field {
    /// The field of this name, if there is one: a fixed name, `pod_label_<name>`, `env_<NAME>` or
    /// `ancestor_env_<NAME>`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(field) = Self::FIXED.iter().find(|field| field.fixed_name() == Some(name)) {
            return Some(field.clone());
        }
        let prefixed = |prefix| name.strip_prefix(prefix).filter(|rest| is_name(rest)).map(Box::from);
        prefixed("ancestor_env_")
            .map(Self::AncestorEnv)
            .or_else(|| prefixed("env_").map(Self::Env))
            .or_else(|| prefixed("pod_label_").map(Self::PodLabel))
    }

    /// Whether this field speaks of the process's ancestors.
    #[must_use]
    pub fn is_of_ancestors(&self) -> bool {
        matches!(self, Self::AncestorComm | Self::AncestorExe | Self::AncestorCmdline | Self::AncestorEnv(_))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodLabel(name) => write!(f, "pod_label_{name}"),
            Self::Env(name) => write!(f, "env_{name}"),
            Self::AncestorEnv(name) => write!(f, "ancestor_env_{name}"),
            fixed => f.write_str(fixed.fixed_name().unwrap_or_default()),
        }
    }
}

/// What is known of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// There is no such fact; matchers read it as the empty string.
    Absent,
    /// It is still being fetched: a verdict that would read it waits.
    Pending,
    /// Its value, never empty.
    Known(&'a str),
}

/// Everything known of one process on one GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    fields: BTreeMap<Field, Option<String>>,
    ancestors: Vec<BTreeMap<Field, String>>,
}

impl Facts {
    /// Sets a field; an empty value makes it absent. Fields of ancestors belong in [`Facts::push_ancestor`].
    pub fn set(&mut self, field: Field, value: impl Into<String>) {
        let value = value.into();
        if value.is_empty() {
            self.fields.remove(&field);
        } else {
            self.fields.insert(field, Some(value));
        }
    }

    /// Marks a field as still being fetched.
    pub fn set_pending(&mut self, field: Field) {
        self.fields.insert(field, None);
    }

    /// Adds the next ancestor, nearest first, by its fields `ancestor_*`.
    pub fn push_ancestor(&mut self, fields: BTreeMap<Field, String>) {
        self.ancestors.push(fields);
    }

    /// What is known of a field of the process itself.
    #[must_use]
    pub fn get(&self, field: &Field) -> Fact<'_> {
        match self.fields.get(field) {
            None => Fact::Absent,
            Some(None) => Fact::Pending,
            Some(Some(value)) => Fact::Known(value),
        }
    }

    /// The value of a field, empty where it is absent or pending.
    #[must_use]
    pub fn text(&self, field: &Field) -> &str {
        self.fields.get(field).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The values of an `ancestor_*` field, nearest ancestor first; an ancestor without it gives "".
    pub fn of_ancestors<'a>(&'a self, field: &'a Field) -> impl Iterator<Item = &'a str> {
        self.ancestors.iter().map(|fields| fields.get(field).map_or("", String::as_str))
    }

    /// All fields of the process itself, by name order; `None` is pending.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, Option<&str>)> {
        self.fields.iter().map(|(field, value)| (field, value.as_deref()))
    }

    /// The job, pod, container or unit the process belongs to, as in the label `workload`.
    #[must_use]
    pub fn workload(&self) -> Option<String> {
        let known = |field| Some(self.text(&field)).filter(|value| !value.is_empty());
        if let (Some(scheduler), Some(job)) = (known(Field::Scheduler), known(Field::JobId)) {
            return Some(format!("{scheduler}:{job}"));
        }
        if let (Some(namespace), Some(pod)) = (known(Field::Namespace), known(Field::Pod)) {
            return Some(format!("pod:{namespace}/{pod}"));
        }
        if let Some(id) = known(Field::ContainerId) {
            return Some(format!("container:{}", id.get(..12).unwrap_or(id)));
        }
        known(Field::SystemdUnit).map(|unit| format!("unit:{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixed_name_parses_back() {
        for field in Field::FIXED {
            assert_eq!(Field::parse(&field.to_string()).as_ref(), Some(field));
        }
    }

    #[test]
    fn a_prefix_needs_a_name() {
        assert_eq!(Field::parse("env_"), None);
        assert_eq!(Field::parse("env_A-B"), None);
        assert_eq!(Field::parse("env_TEAM"), Some(Field::Env("TEAM".into())));
    }

    #[track_caller]
    fn check_workload(fields: &[(&str, &str)], want: Option<&str>) {
        let mut facts = Facts::default();
        for (name, value) in fields {
            facts.set(Field::parse(name).expect("a field"), *value);
        }
        assert_eq!(facts.workload().as_deref(), want);
    }

    #[test]
    fn a_workload_is_named_by_the_most_specific_manager() {
        check_workload(
            &[("scheduler", "slurm"), ("job_id", "211"), ("systemd_unit", "a.scope")],
            Some("slurm:211"),
        );
        check_workload(&[("namespace", "ns"), ("pod", "p"), ("container_id", "abc")], Some("pod:ns/p"));
        check_workload(&[("container_id", "0123456789abcdef")], Some("container:0123456789ab"));
        check_workload(&[("systemd_unit", "x.service")], Some("unit:x.service"));
        check_workload(&[], None);
    }
}
