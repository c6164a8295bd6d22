//! The managers of control groups and where each puts its own: one function per manager.
//!
//! To add one: write its function, put it into [`MANAGERS`], add a case to the tests.

use super::path::{Names, Place};
use super::shape::{
    batch_job, is_container_id, is_full_container_id, is_name, is_number, is_sluid, is_step, pod_uid,
    unescape,
};
use crate::facts::Field;

/// The first that knows the place decides. A user's own manager comes first: what it finds below is its own.
const MANAGERS: &[fn(Place<'_>) -> Option<Names>] =
    &[user_manager, kubernetes, slurm, pbs, oar, torque, htcondor, virtual_machine, lxc, nspawn, container];

/// What the manager that owns the place states; nothing where none is known.
pub(super) fn identify(place: Place<'_>) -> Option<Names> {
    MANAGERS.iter().find_map(|manager| manager(place))
}

/// `user@1000.service/…/libpod-<id>.scope`: below a user's manager only rootless Podman is heard, on the
/// user's word.
fn user_manager(place: Place<'_>) -> Option<Names> {
    let (unit, own) = place.rest.split_first()?;
    let user = unit.strip_prefix("user@")?.strip_suffix(".service")?;
    let mut containers = own.iter().filter_map(|part| runtime_and_id(part));
    let podman = containers.find(|(runtime, _)| *runtime == "podman");
    is_number(user).then(|| podman.map(container_names).unwrap_or_default())
}

/// By slices `kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`, by folders
/// `kubepods/burstable/pod<uid>/<id>`, or both misconfigured,
/// `kubepods-…-pod<uid>.slice:cri-containerd:<id>`.
fn kubernetes(place: Place<'_>) -> Option<Names> {
    let (uid, container) = if let Some(uid) = place.slices.iter().find_map(|slice| pod_of_slice(slice)) {
        (uid, place.rest.first().and_then(|scope| any_container(scope)))
    } else if let Some((slice, runtime, id)) = colon_form(place) {
        (pod_of_slice(slice)?, container_of(runtime, id))
    } else {
        pod_of_folders(place)?
    };
    let mut names = vec![(Field::Scheduler, "kubernetes".into()), (Field::PodUid, uid)];
    names.extend(container.unwrap_or_default());
    Some(names)
}

fn pod_of_slice(slice: &str) -> Option<String> {
    let (parents, pod) = slice.strip_suffix(".slice")?.rsplit_once('-')?;
    parents.split('-').any(|parent| parent == "kubepods").then(|| pod_uid(pod.strip_prefix("pod")?)).flatten()
}

fn pod_of_folders(place: Place<'_>) -> Option<(String, Option<Names>)> {
    let mut folders = place.rest;
    for optional in [&["kubelet"][..], &["kubepods"], &["burstable", "besteffort"]] {
        folders = match folders {
            [first, rest @ ..] if optional.contains(first) => rest,
            all => all,
        };
    }
    let (pod, inside) = folders.split_first().filter(|_| place.slices.is_empty())?;
    let uid = pod_uid(pod.strip_prefix("pod")?)?;
    Some((uid, inside.first().and_then(|name| any_container(name))))
}

/// `system.slice/slurmstepd.scope/job_211/step_0/user/task_0` (several daemons: `node0_slurmstepd.scope`), or
/// `slurm/uid_1000/job_211/step_0/task_0` (several daemons: `slurm_node0`).
fn slurm(place: Place<'_>) -> Option<Names> {
    let (node, inside) = match (place.slices, place.rest) {
        (_, [scope, inside @ ..]) if scope.ends_with("slurmstepd.scope") => {
            let node = scope.strip_suffix("slurmstepd.scope")?;
            (if node.is_empty() { None } else { Some(node.strip_suffix('_')?) }, inside)
        }
        ([], ["slurm", user, inside @ ..]) if is_slurm_user(user) => (None, inside),
        ([], [root, user, inside @ ..]) if is_slurm_user(user) => {
            (Some(root.strip_prefix("slurm_")?), inside)
        }
        _ => return None,
    };
    let mut names = slurm_job(inside)?;
    names.extend(node.filter(|node| is_name(node)).map(|node| (Field::SlurmNode, node.into())));
    Some(names)
}

fn is_slurm_user(folder: &str) -> bool {
    folder.strip_prefix("uid_").is_some_and(is_number)
}

fn slurm_job(inside: &[&str]) -> Option<Names> {
    let (job, steps) = inside.split_first()?;
    let id = match job.strip_prefix("job_") {
        Some(id) if is_number(id) => (Field::JobId, id.to_owned()),
        None if is_sluid(job) => (Field::Sluid, (*job).to_owned()),
        _ => return None,
    };
    let mut names = vec![(Field::Scheduler, "slurm".into()), id];
    let named =
        |folder: &str, prefix| folder.strip_prefix(prefix).filter(|name| is_step(name)).map(String::from);
    let Some(step) = steps.first().and_then(|folder| named(folder, "step_")) else { return Some(names) };
    names.push((Field::JobStep, step));
    let ([_, "user", task, ..] | [_, task, ..]) = steps else { return Some(names) };
    names.extend(named(task, "task_").map(|task| (Field::JobTask, task)));
    Some(names)
}

/// `pbs_jobs.service/jobid/12345.pbs`, and `jobs` for `jobid` on the unified hierarchy.
fn pbs(place: Place<'_>) -> Option<Names> {
    match place.rest {
        ["pbs_jobs.service" | "pbspro.service", "jobid" | "jobs", job, ..] => batch("pbs", &unescape(job)?),
        _ => None,
    }
}

/// `oar/user_456789`, or `oar.slice/oar-u1000.slice/oar-u1000-j456789.slice`.
fn oar(place: Place<'_>) -> Option<Names> {
    let job = match (place.slices, place.rest) {
        ([], ["oar", job, ..]) => job.rsplit_once('_').filter(|(user, _)| !user.is_empty())?.1,
        ([.., job], _) => {
            let (user, job) = job.strip_prefix("oar-u")?.strip_suffix(".slice")?.split_once("-j")?;
            Some(job).filter(|_| is_number(user))?
        }
        _ => return None,
    };
    is_number(job).then(|| vec![(Field::Scheduler, "oar".into()), (Field::JobId, job.into())])
}

/// `torque/1182.batch.example`.
fn torque(place: Place<'_>) -> Option<Names> {
    match (place.slices, place.rest) {
        ([], ["torque", job, ..]) => batch("torque", job),
        _ => None,
    }
}

fn batch(scheduler: &str, folder: &str) -> Option<Names> {
    Some(vec![(Field::Scheduler, scheduler.into()), (Field::JobId, batch_job(folder)?.into())])
}

/// `htcondor/condor_<execute folder>_slot1`: names a slot, not a job.
fn htcondor(place: Place<'_>) -> Option<Names> {
    match place.rest {
        ["htcondor", slot, ..] | ["condor.service", "htcondor", slot, ..] if slot.starts_with("condor_") => {
            Some(vec![(Field::Scheduler, "htcondor".into())])
        }
        _ => None,
    }
}

/// libvirt's `machine-qemu\x2d1\x2dname.scope` or `machine/qemu-1-name.libvirt-qemu`; Proxmox's
/// `qemu.slice/100.scope`.
fn virtual_machine(place: Place<'_>) -> Option<Names> {
    let name = match (place.slices, place.rest) {
        (["qemu.slice"], [scope, ..]) => scope.strip_suffix(".scope").filter(|id| is_number(id))?.to_owned(),
        ([], ["machine", folder, ..]) => {
            numbered("qemu-", &unescape(folder.strip_suffix(".libvirt-qemu")?)?)?
        }
        (_, [scope, ..]) => numbered("qemu-", &machine(scope)?)?,
        _ => return None,
    };
    Some(vec![(Field::ContainerRuntime, "qemu".into()), (Field::Vm, name)])
}

/// `lxc.payload.name`, `lxc.payload/name` or `lxc/name`; libvirt's `machine-lxc\x2d1\x2dname.scope`.
fn lxc(place: Place<'_>) -> Option<Names> {
    let name = match (place.slices, place.rest) {
        ([], ["lxc" | "lxc.payload", name, ..]) => (*name).to_owned(),
        ([], [payload, ..]) if payload.starts_with("lxc.payload.") => {
            payload.strip_prefix("lxc.payload.")?.to_owned()
        }
        (_, [scope, ..]) => numbered("lxc-", &machine(scope)?)?,
        _ => return None,
    };
    is_name(&name).then(|| container_names(("lxc", &name)))
}

/// `machine-name.scope`, or `systemd-nspawn@name.service`.
fn nspawn(place: Place<'_>) -> Option<Names> {
    let unit = place.rest.first()?;
    let instance = unit.strip_prefix("systemd-nspawn@").and_then(|unit| unit.strip_suffix(".service"));
    let name = instance.map_or_else(|| machine(unit), unescape).filter(|name| is_name(name))?;
    Some(container_names(("nspawn", &name)))
}

/// The name of a machine that systemd registered.
fn machine(scope: &str) -> Option<String> {
    unescape(scope.strip_prefix("machine-")?.strip_suffix(".scope")?)
}

/// The name behind libvirt's `<kind>-<number>-`.
fn numbered(kind: &str, machine: &str) -> Option<String> {
    let (number, name) = machine.strip_prefix(kind)?.split_once('-')?;
    (is_number(number) && !name.is_empty()).then(|| name.to_owned())
}

/// Containers of no scheduler: `docker-<id>.scope` in any slice, or the runtime's folder at the root.
fn container(place: Place<'_>) -> Option<Names> {
    if let Some((_, runtime, id)) = colon_form(place) {
        return container_of(runtime, id);
    }
    let (runtime, id) = match (place.slices, place.rest) {
        (_, [scope, ..]) if scope.ends_with(".scope") => runtime_and_id(scope)?,
        (_, [unit, payload, ..]) if unit.ends_with(".service") => {
            runtime_and_id(payload).filter(|_| payload.starts_with("libpod-payload-"))?
        }
        ([], ["docker" | "actions_job", id, ..] | ["ecs", _, id, ..] | ["ecs", _, _, id, ..])
            if is_full_container_id(id) =>
        {
            ("docker", *id)
        }
        ([], ["default" | "k8s.io", id, ..]) if is_full_container_id(id) => ("containerd", *id),
        ([], ["libpod_parent", name, ..] | ["libpod_parent", _, name, ..]) if name.starts_with("libpod-") => {
            runtime_and_id(name)?
        }
        ([], [name, ..]) => return any_container(name),
        _ => return None,
    };
    Some(container_names((runtime, id)))
}

/// `slice:prefix:id`: how a runtime that manages folders spells a path that was meant for systemd. It stands
/// at the root, or inside the unit of the runtime.
fn colon_form<'a>(place: Place<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    let name = match place.rest {
        ["containerd.service" | "docker.service" | "crio.service" | "k3s.service", name, ..] => name,
        [name, ..] if place.slices.is_empty() => name,
        _ => return None,
    };
    let (slice, rest) = name.split_once(':')?;
    rest.split_once(':').map(|(prefix, id)| (slice, prefix, id))
}

/// A container by the name of its cgroup, with or without its runtime.
fn any_container(name: &str) -> Option<Names> {
    if is_full_container_id(name) {
        return Some(vec![(Field::ContainerId, name.into())]);
    }
    runtime_and_id(name).map(container_names)
}

fn container_of(prefix: &str, id: &str) -> Option<Names> {
    Some(container_names((runtime(prefix)?, id))).filter(|_| is_container_id(id))
}

/// `<prefix>-<id>`, with or without `.scope`. Prefixes with `conmon` are the container's monitor, not the
/// container.
fn runtime_and_id(name: &str) -> Option<(&'static str, &str)> {
    let (prefix, id) = name.strip_suffix(".scope").unwrap_or(name).rsplit_once('-')?;
    Some((runtime(prefix)?, id)).filter(|_| is_container_id(id))
}

fn runtime(prefix: &str) -> Option<&'static str> {
    Some(match prefix {
        "docker" => "docker",
        "libpod" | "libpod-payload" => "podman",
        "crio" => "cri-o",
        "cri-containerd" | "nerdctl" => "containerd",
        _ => return None,
    })
}

fn container_names((runtime, id): (&str, &str)) -> Names {
    vec![(Field::ContainerRuntime, runtime.into()), (Field::ContainerId, id.into())]
}
