//! Identity out of control-group paths: pure, text in, facts out.
//!
//! The law: a fact counts only where the manager that owns it puts it, seen from the root of the machine
//! inwards. What lies inside a container, a job or a user's own manager was named by whoever is in there, so
//! the walk ends at the first such border: of Docker in Docker the outer container is reported, of Slurm in a
//! pod the pod, and of a user's cgroups only the unit that holds them. The one exception is Podman, which has
//! no other place than below a user's own manager or a service: `container_runtime` and `container_id` are
//! there the word of that user, who can borrow another container's id. No job, pod or machine is ever
//! believed there.
//!
//! Not done here: reading files (the `procfs` module), and what schedulers know of a job or pod (the
//! exporter).
//! Callers: the `procfs` module, and the rules' own tests.

mod managers;
mod path;
mod shape;
#[cfg(test)]
mod tests;

use crate::facts::{Facts, Field};
use path::Identity;

/// The values of the field `scheduler`.
pub(crate) const SCHEDULERS: [&str; 6] = ["slurm", "kubernetes", "pbs", "oar", "torque", "htcondor"];

/// Adds to `facts` what `text`, the content of `/proc/<pid>/cgroup`, proves about the process.
///
/// Several lines (cgroup v1, hybrid) are several views of one process. Container, pod, job and virtual
/// machine come out of the line that says most; the unit and the slice out of systemd's own line (`0::` or
/// `name=systemd`), or else the same line. Among lines that say as much, systemd's own comes first, then the
/// order of the file.
///
/// The field `cgroup` holds the line that says most, as the kernel wrote it: `<number>:<controllers>:<path>`.
pub fn derive(text: &str, facts: &mut Facts) {
    let mut views: Vec<View<'_>> = text.lines().filter_map(View::of).collect();
    views.sort_by_key(|view| std::cmp::Reverse((view.identity.rank(), view.hierarchy)));
    let Some(best) = views.first() else { return };
    let units =
        views.iter().filter(|view| view.shows_units()).max_by_key(|view| view.hierarchy).unwrap_or(best);

    facts.set(Field::Cgroup, best.line);
    for (field, value) in &best.identity.names {
        facts.set(field.clone(), value);
    }
    facts.set(Field::SystemdUnit, units.identity.unit.unwrap_or_default());
    facts.set(Field::SystemdSlice, units.identity.slice.unwrap_or_default());
}

/// What else the path of a control group can say: what [`derive()`] sets, where it is there.
pub const DERIVED: [Field; 12] = [
    Field::SystemdUnit,
    Field::SystemdSlice,
    Field::ContainerRuntime,
    Field::ContainerId,
    Field::PodUid,
    Field::Scheduler,
    Field::JobId,
    Field::JobStep,
    Field::JobTask,
    Field::Sluid,
    Field::SlurmNode,
    Field::Vm,
];

/// Whose tree a line shows; systemd keeps units in the unified one, or in `name=systemd` where v1 is in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hierarchy {
    Controller,
    Unified,
    Systemd,
}

/// One line of the file.
struct View<'a> {
    line: &'a str,
    hierarchy: Hierarchy,
    identity: Identity<'a>,
}

impl<'a> View<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let hierarchy = match (number, controllers) {
            ("0", "") => Hierarchy::Unified,
            (_, "name=systemd") => Hierarchy::Systemd,
            _ => Hierarchy::Controller,
        };
        path.starts_with('/').then(|| Self { line, hierarchy, identity: path::identify(path) })
    }

    fn shows_units(&self) -> bool {
        self.hierarchy != Hierarchy::Controller
            && (self.identity.unit.is_some() || self.identity.slice.is_some())
    }
}
