//! Names in a capture: pseudonyms, the same for the same name within one capture, or the real ones.
//!
//! What is not known to be harmless is hidden or left out; a field that is not named here is left out. Command lines,
//! environments and pod labels are left out whatever was asked for: nobody knows what stands in them.

use std::collections::BTreeMap;

use wattribute::facts::{Facts, Field};

use super::format::{FactsLine, Key, NamesAre};

/// Folders and units that are the same on every machine.
const PLACES: &[&str] = &[
    "",
    "0::",
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib64",
    "libexec",
    "local",
    "opt",
    "system.slice",
    "user.slice",
    "machine.slice",
    "init.scope",
    "kubepods.slice",
    "kubepods",
    "docker",
    "slurmstepd.scope",
];
/// Programs that everybody has. As folders they are hidden: people are called `julia`, and machines `node12`.
const PROGRAMS: &[&str] = &[
    "python",
    "python3",
    "bash",
    "sh",
    "java",
    "node",
    "julia",
    "ruby",
    "perl",
    "Xorg",
    "Xwayland",
    "gnome-shell",
    "systemd",
    "containerd-shim",
    "nvidia-smi",
    "nvidia-persistenced",
    "nvidia-cuda-mps-server",
    "nvidia-cuda-mps-control",
    "dcgm-exporter",
    "nv-hostengine",
    "tritonserver",
    "vllm",
    "ollama",
    "torchrun",
];
/// The steps of a job that have a name of Slurm's own.
const STEPS: &[&str] = &["batch", "extern", "interactive"];
const UNITS: &[&str] = &["service", "scope", "slice"];

/// What stands for names.
#[derive(Debug)]
pub enum Names {
    Real,
    Hidden(Pseudonyms),
}

/// Which pseudonym stands for what, by kind of name.
#[derive(Debug, Default)]
pub struct Pseudonyms(BTreeMap<&'static str, BTreeMap<String, usize>>);

impl Names {
    /// Pseudonyms, none given yet.
    pub fn hidden() -> Self {
        Self::Hidden(Pseudonyms::default())
    }

    /// What the header says of them.
    pub fn are(&self) -> NamesAre {
        match self {
            Self::Real => NamesAre::Real,
            Self::Hidden(_) => NamesAre::Pseudonyms,
        }
    }

    /// The machine's name.
    pub fn host(&mut self, name: &str) -> String {
        match self {
            Self::Real => name.into(),
            Self::Hidden(hidden) => hidden.word("host", name),
        }
    }

    /// The uuid of a GPU, or of a MIG instance.
    pub fn uuid(&mut self, uuid: &str) -> String {
        match self {
            Self::Real => uuid.into(),
            Self::Hidden(hidden) if uuid.starts_with("MIG-") => hidden.uuid("MIG", uuid),
            Self::Hidden(hidden) => hidden.uuid("GPU", uuid),
        }
    }

    /// The facts of a process.
    pub fn facts(&mut self, key: Key, facts: &Facts) -> FactsLine {
        let known = facts.iter().filter_map(|(field, value)| Some((field, value?)));
        let fields = known.filter_map(|(field, value)| Some((field.to_string(), self.value(field, value)?)));
        let fields = fields.collect();
        let mut ancestors: Vec<BTreeMap<String, String>> = Vec::new();
        for field in [Field::AncestorComm, Field::AncestorExe] {
            for (place, value) in facts.of_ancestors(&field).enumerate() {
                if ancestors.len() <= place {
                    ancestors.push(BTreeMap::new());
                }
                if let Some(value) = self.value(&field, value).filter(|value| !value.is_empty()) {
                    ancestors[place].insert(field.to_string(), value);
                }
            }
        }
        FactsLine { pid: key.pid, start: key.start, fields, ancestors }
    }

    /// A field's value as it may be written; `None` where it may not.
    fn value(&mut self, field: &Field, value: &str) -> Option<String> {
        let is_private = matches!(
            field,
            Field::Cmdline
                | Field::AncestorCmdline
                | Field::Env(_)
                | Field::AncestorEnv(_)
                | Field::PodLabel(_)
        );
        match self {
            _ if is_private => None,
            Self::Real => Some(value.into()),
            Self::Hidden(hidden) => hidden.value(field, value),
        }
    }
}

impl Pseudonyms {
    fn value(&mut self, field: &Field, value: &str) -> Option<String> {
        Some(match field {
            Field::User | Field::SlurmUser => self.word("user", value),
            Field::Group => self.word("group", value),
            Field::Uid => self.id("uid", value),
            Field::Gid => self.id("gid", value),
            Field::SystemdUnit | Field::SystemdSlice => self.unit(value),
            Field::ContainerRuntime | Field::Scheduler => value.into(),
            Field::ContainerId => format!("{:012x}{:052}", self.number("container id", value), 0),
            Field::PodUid => self.uuid("pod", value).split_off("pod-".len()),
            Field::JobId => self.number("job", value).to_string(),
            Field::JobStep | Field::JobTask if is_step(value) => value.into(),
            Field::SlurmNode => self.word("node", value),
            Field::Vm => self.word("vm", value),
            Field::Namespace => self.word("namespace", value),
            Field::Pod => self.word("pod", value),
            Field::Container => self.word("container", value),
            Field::SlurmAccount => self.word("account", value),
            Field::SlurmPartition => self.word("partition", value),
            Field::SlurmJobName => self.word("jobname", value),
            Field::Comm | Field::AncestorComm => self.program("program", value),
            Field::Exe | Field::AncestorExe => self.exe(value),
            Field::Cgroup => self.path(value),
            _ => return None,
        })
    }

    /// Which one of its kind it is, from 1.
    fn number(&mut self, kind: &'static str, name: &str) -> usize {
        let table = self.0.entry(kind).or_default();
        let next = table.len() + 1;
        *table.entry(name.into()).or_insert(next)
    }

    /// `user-1`. The administrator is nobody in particular.
    fn word(&mut self, kind: &'static str, name: &str) -> String {
        if name.is_empty() || name == "root" {
            return name.into();
        }
        format!("{kind}-{}", self.number(kind, name))
    }

    /// A number for a number; the administrator's stays.
    fn id(&mut self, kind: &'static str, id: &str) -> String {
        if id == "0" { id.into() } else { (100_000 + self.number(kind, id)).to_string() }
    }

    fn uuid(&mut self, kind: &'static str, uuid: &str) -> String {
        format!("{kind}-00000000-0000-0000-0000-{:012}", self.number(kind, uuid))
    }

    /// `unit-1.service`.
    fn unit(&mut self, unit: &str) -> String {
        if PLACES.contains(&unit) {
            return unit.into();
        }
        let number = self.number("unit", unit);
        let kind = unit.rsplit('.').next().filter(|kind| UNITS.contains(kind));
        kind.map_or_else(|| format!("unit-{number}"), |kind| format!("unit-{number}.{kind}"))
    }

    /// Each part by itself, so that what lies together does so still.
    fn path(&mut self, path: &str) -> String {
        let parts: Vec<String> = path
            .split('/')
            .map(|part| if PLACES.contains(&part) { part.into() } else { self.word("path", part) })
            .collect();
        parts.join("/")
    }

    /// A path whose last part is a program.
    fn exe(&mut self, exe: &str) -> String {
        match exe.rsplit_once('/') {
            Some((folder, program)) => format!("{}/{}", self.path(folder), self.program("path", program)),
            None => self.program("path", exe),
        }
    }

    fn program(&mut self, kind: &'static str, name: &str) -> String {
        if is_everybodys(name) { name.into() } else { self.word(kind, name) }
    }
}

/// A program that everybody has, or one with the number of a version behind it: `python3.11`.
fn is_everybodys(program: &str) -> bool {
    let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    PROGRAMS.contains(&program) || (program.len() - stem.len() <= 4 && PROGRAMS.contains(&stem))
}

fn is_step(step: &str) -> bool {
    STEPS.contains(&step) || (step.len() <= 6 && step.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[(&str, &str)], want: &[(&str, &str)]) {
        let mut facts = Facts::default();
        fields.iter().for_each(|(name, value)| facts.set(Field::parse(name).expect("a field"), *value));
        let line = Names::hidden().facts(Key { pid: 1, start: 1 }, &facts);
        let want: BTreeMap<String, String> =
            want.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(line.fields, want);
    }

    #[test]
    fn users_are_numbered_and_root_stays() {
        check(
            &[
                ("user", "alice"),
                ("uid", "1003"),
                ("group", "physics"),
                ("gid", "0"),
                ("slurm_user", "alice"),
            ],
            &[
                ("user", "user-1"),
                ("uid", "100001"),
                ("group", "group-1"),
                ("gid", "0"),
                ("slurm_user", "user-1"),
            ],
        );
        check(&[("user", "root"), ("uid", "0")], &[("user", "root"), ("uid", "0")]);
    }

    #[test]
    fn paths_keep_their_shape_and_what_is_the_same_everywhere() {
        check(
            &[
                ("exe", "/home/alice/env/bin/python3.11"),
                ("comm", "python3"),
                ("cgroup", "0::/user.slice/alice/x"),
            ],
            &[
                ("exe", "/path-1/path-2/path-3/bin/python3.11"),
                ("comm", "python3"),
                ("cgroup", "0::/user.slice/path-2/path-4"),
            ],
        );
    }

    #[test]
    fn a_person_is_hidden_who_is_called_as_a_program_is() {
        check(
            &[
                ("exe", "/home/julia/ruby/bin/julia"),
                ("comm", "julia"),
                ("cgroup", "0::/user.slice/julia/node12"),
                ("systemd_unit", "java"),
            ],
            &[
                ("exe", "/path-1/path-2/path-3/bin/julia"),
                ("comm", "julia"),
                ("cgroup", "0::/user.slice/path-2/path-4"),
                ("systemd_unit", "unit-1"),
            ],
        );
    }

    #[test]
    fn units_jobs_and_containers_are_numbered() {
        check(
            &[
                ("systemd_unit", "alice@7.service"),
                ("systemd_slice", "system.slice"),
                ("container_runtime", "docker"),
            ],
            &[
                ("systemd_unit", "unit-1.service"),
                ("systemd_slice", "system.slice"),
                ("container_runtime", "docker"),
            ],
        );
        check(
            &[("scheduler", "slurm"), ("job_id", "4711"), ("job_step", "batch"), ("job_task", "secret-name")],
            &[("scheduler", "slurm"), ("job_id", "1"), ("job_step", "batch")],
        );
        check(&[("container_id", "fe0123456789")], &[("container_id", &format!("000000000001{:052}", 0))]);
        check(&[("pod_uid", "8f2c")], &[("pod_uid", "00000000-0000-0000-0000-000000000001")]);
    }

    #[test]
    fn what_may_hold_anything_is_left_out() {
        check(
            &[("cmdline", "train --token=s3cret"), ("env_TOKEN", "s3cret"), ("pod_label_owner", "alice")],
            &[],
        );
        let mut facts = Facts::default();
        facts.set(Field::Cmdline, "train --token=s3cret");
        facts.push_ancestor([(Field::AncestorCmdline, "s3cret".into())].into());
        let line = Names::Real.facts(Key { pid: 1, start: 1 }, &facts);
        assert!(!serde_json::to_string(&line).expect("json").contains("s3cret"));
    }
}
