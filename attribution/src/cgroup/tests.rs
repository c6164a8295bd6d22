//! Real paths of the families in `tests/fixtures/cgroups.yaml`, and look-alikes that must not be believed.

use super::*;
use crate::facts::Fact;
use proptest::prelude::*;

const A: &str = "2fa3e04b676df750842faf017052dd37ea0cc5bc7259a3487a1718c7fe100c94";
const B: &str = "a09343ca97901516c25036e2b954421254f8c68b384b536064e8999f0c4ed18d";
const POD: &str = "kubepods-burstable-pod2c9f8a79_5391_454b_88cb_86190881cb96.slice";
const IN_POD: &str = "scheduler=kubernetes pod_uid=2c9f8a79-5391-454b-88cb-86190881cb96";
const USER: &str = "user.slice/user-1000.slice/user@1000.service";

const RUNTIMES: [&str; 7] = ["docker", "podman", "cri-o", "containerd", "lxc", "nspawn", "qemu"];

fn derived(text: &str) -> Facts {
    let mut facts = Facts::default();
    derive(text, &mut facts);
    facts
}

/// Every fact but the `cgroup` itself, units apart, as `name=value` in order of the names; `A`, `B`, `POD`
/// and `USER` stand for the constants.
#[track_caller]
fn check(path: &str, want: &str) {
    let text = filled(path);
    let text = if text.starts_with('/') { format!("0::{text}\n") } else { text };
    let facts = derived(&text);
    let hidden = [Field::Cgroup, Field::SystemdUnit, Field::SystemdSlice];
    let shown = facts.iter().filter(|(field, _)| !hidden.contains(field));
    let mut got: Vec<String> =
        shown.map(|(field, value)| format!("{field}={}", value.unwrap_or("?"))).collect();
    got.sort();
    let want = filled(want);
    let mut want: Vec<&str> = want.split_whitespace().collect();
    want.sort_unstable();
    assert_eq!(got, want, "{text}");
}

#[track_caller]
fn check_unit(text: &str, slice: &str, unit: &str) {
    let facts = derived(&filled(text));
    assert_eq!((facts.text(&Field::SystemdSlice), facts.text(&Field::SystemdUnit)), (slice, unit), "{text}");
}

fn filled(text: &str) -> String {
    let replacements = [("<A>", A), ("<B>", B), ("<POD>", POD), ("<IN_POD>", IN_POD), ("<USER>", USER)];
    replacements.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn containers_of_no_scheduler() {
    check("/docker/<A>", "container_runtime=docker container_id=<A>");
    check("/system.slice/docker-0123456789ab.scope", "container_runtime=docker container_id=0123456789ab");
    check("/user.slice/user-1000.slice/docker-<A>.scope", "container_runtime=docker container_id=<A>");
    check("/system.slice/nerdctl-<A>.scope", "container_runtime=containerd container_id=<A>");
    check("/default/<A>", "container_runtime=containerd container_id=<A>");
    check("/ecs/0123abcd/<A>", "container_runtime=docker container_id=<A>");
    check("/ecs/cluster/0123abcd/<A>", "container_runtime=docker container_id=<A>");
    check("/ecstasks.slice/ecstasks-1.slice/docker-<A>.scope", "container_runtime=docker container_id=<A>");
    check("/system.slice:docker:<A>", "container_runtime=docker container_id=<A>");
    check("/libpod_parent/libpod-<A>", "container_runtime=podman container_id=<A>");
    check("/system.slice/web.service/libpod-payload-<A>", "container_runtime=podman container_id=<A>");
    check(
        "/machine.slice/machine-libpod_pod_<B>.slice/libpod-<A>.scope/container",
        "container_runtime=podman container_id=<A>",
    );
    check("/docker/buildkit/n4eu0udvbz9vfzjy71jkvgkwh", "");
}

#[test]
fn of_nested_containers_the_outer_one_counts() {
    check("/docker/<A>/docker/<B>", "container_runtime=docker container_id=<A>");
    check("/system.slice/docker-<A>.scope/docker/<B>", "container_runtime=docker container_id=<A>");
    check("/docker/<A>/kubelet.slice/kubelet-<POD>/x.scope", "container_runtime=docker container_id=<A>");
    check(
        "/system.slice/docker-<A>.scope/kubepods.slice/<POD>/crio-<B>.scope",
        "container_runtime=docker container_id=<A>",
    );
    check(
        "/docker/<A>/system.slice/slurmstepd.scope/job_5/step_0",
        "container_runtime=docker container_id=<A>",
    );
    check("/lxc.payload.box/docker/<A>", "container_runtime=lxc container_id=box");
    check(
        "/machine.slice/machine-box.scope/payload/system.slice/docker-<A>.scope",
        "container_runtime=nspawn container_id=box",
    );
}

#[test]
fn pods() {
    check("/kubepods.slice/kubepods-burstable.slice/<POD>/crio-conmon-<A>.scope", IN_POD);
    check(
        "/kubepods.slice/<POD>/cri-containerd-<A>.scope/system.slice/slurmstepd.scope/job_5",
        "<IN_POD> container_runtime=containerd container_id=<A>",
    );
    check("/kubepods.slice/kubepods-burstable.slice/<POD>/cri-containerd-aa.scope", IN_POD);
    check(
        "/kubepods-burstable-pod2c9f8a79_5391_454b_88cb_86190881cb96.slice:cri-containerd:<A>",
        "<IN_POD> container_runtime=containerd container_id=<A>",
    );
    check(
        "/system.slice/containerd.service/<POD>:cri-containerd:<A>",
        "<IN_POD> container_runtime=containerd container_id=<A>",
    );
    check(
        "/kubelet/kubepods/besteffort/pod2c9f8a79-5391-454b-88cb-86190881cb96/<A>",
        "<IN_POD> container_id=<A>",
    );
    check(
        "/kubepods/pod2c9f8a79-5391-454b-88cb-86190881cb96/crio-<A>",
        "<IN_POD> container_runtime=cri-o container_id=<A>",
    );
    check("/kubepods/besteffort/pod2c9f8a79-5391-454b-88cb-86190881cb96/crio-conmon-<A>", IN_POD);
    check(
        "/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice",
        "scheduler=kubernetes pod_uid=0123456789abcdef0123456789abcdef",
    );
}

#[test]
fn seen_from_another_cgroup_namespace() {
    check("/../../<POD>/cri-containerd-<A>.scope", "<IN_POD> container_runtime=containerd container_id=<A>");
    check("/../../pod2c9f8a79-5391-454b-88cb-86190881cb96/<A>", "<IN_POD> container_id=<A>");
    check("/../burstable/pod2c9f8a79-5391-454b-88cb-86190881cb96/<A>", "<IN_POD> container_id=<A>");
    check("/../crio-<A>.scope", "container_runtime=cri-o container_id=<A>");
    check("/../<A>", "container_id=<A>");
    check(
        "/../../slurmstepd.scope/job_7/step_0/user/task_1",
        "scheduler=slurm job_id=7 job_step=0 job_task=1",
    );
    check("/../../../../<USER>/app.slice/docker-<A>.scope", "");
    check_unit("0::/../../<USER>/x", "user.slice", "user@1000.service");
    check_unit("0::/../<POD>/crio-<A>.scope", "", &format!("crio-{A}.scope"));
    check("/..", "");
}

#[test]
fn jobs() {
    check(
        "/slurm_node-1/uid_5/job_6/step_batch/task_0",
        "scheduler=slurm job_id=6 job_step=batch job_task=0 slurm_node=node-1",
    );
    check("/system.slice/slurmstepd.scope/job_6/step_0+1/user", "scheduler=slurm job_id=6 job_step=0+1");
    check("/system.slice/slurmstepd.scope/job_6/step_0/slurm", "scheduler=slurm job_id=6 job_step=0");
    check(
        "/system.slice/slurmstepd.scope/job_6/step_0/user/task_0/docker-<A>.scope",
        "scheduler=slurm job_id=6 job_step=0 job_task=0",
    );
    check("/system.slice/slurmstepd.scope/system", "");
    check("/pbs_jobs.service/jobid/12345[7].pbs", "scheduler=pbs job_id=12345[7]");
    check("/torque/1182[3].batch", "scheduler=torque job_id=1182[3]");
    check("/oar/some_user_99", "scheduler=oar job_id=99");
    check(
        "/oar.slice/oar-u1000.slice/oar-u1000-j456.slice/oar-u1000-j456-s1.scope",
        "scheduler=oar job_id=456",
    );
    check("/system.slice/condor.service/htcondor/condor_execute_slot1_2@host", "scheduler=htcondor");
}

#[test]
fn machines() {
    check("/qemu.slice/100.scope", "container_runtime=qemu vm=100");
    check("/machine/qemu-3-web.libvirt-qemu/vcpu0", "container_runtime=qemu vm=web");
    check(r"/machine.slice/machine-qemu\x2d3\x2dmy\x3abox.scope", "container_runtime=qemu vm=my:box");
    check(r"/machine.slice/machine-lxc\x2d3\x2dbox.scope", "container_runtime=lxc container_id=box");
    check(r"/machine.slice/machine-my\x2dbox.scope", "container_runtime=nspawn container_id=my-box");
    check("/machine.slice/systemd-nspawn@box.service/payload", "container_runtime=nspawn container_id=box");
    check("/lxc/101/ns/init.scope", "container_runtime=lxc container_id=101");
    check("/lxc.monitor.box", "");
    check(r"/machine.slice/machine-qemu\x2d3\x2da\x0ab.scope", "");
    check(r"/machine.slice/machine-qemu\x2d3\x2d\xff.scope", "");
}

#[test]
fn what_a_user_names_is_not_believed() {
    for own in [
        "docker-<A>.scope",
        "app.slice/docker-<A>.scope",
        "kubepods.slice/<POD>/crio-<A>.scope",
        "kubepods/pod2c9f8a79-5391-454b-88cb-86190881cb96/<A>",
        "slurmstepd.scope/job_211/step_0/user/task_0",
        "system.slice/slurmstepd.scope/job_211",
        "slurm/uid_0/job_211",
        "job_211/step_0",
        "pbs_jobs.service/jobid/5.pbs",
        "oar/root_5",
        "torque/5.host",
        "machine.slice/machine-box.scope",
        "lxc.payload.box",
        "<A>",
        "libpod-conmon-<A>.scope",
        "libpod-zz.scope",
    ] {
        check(&format!("/<USER>/{own}"), "");
        check_unit(&format!("0::/<USER>/{own}"), "user.slice", "user@1000.service");
    }
    check("/<USER>/app.slice/web.service/libpod-payload-<A>", "container_runtime=podman container_id=<A>");
    check(
        "/<USER>/user.slice/libpod-<A>.scope/kubepods.slice/<POD>",
        "container_runtime=podman container_id=<A>",
    );
}

#[test]
fn a_name_in_the_wrong_place_or_of_the_wrong_shape_is_not_believed() {
    check("/user.slice/user-1000.slice/session-3.scope/docker/<A>", "");
    check("/system.slice/mine.service/docker-<A>.scope", "");
    check("/system.slice/mine.service/kubepods.slice/<POD>/crio-<A>.scope", "");
    check("/system.slice/mine.service/slurm/uid_0/job_211", "");
    check("/system.slice/mine.service/job_211/step_0", "");
    check("/system.slice/docker-<A>0.scope", "");
    check("/system.slice/docker-ABCDEFABCDEF.scope", "");
    check("/system.slice/crio-conmon-<A>.scope", "");
    check("/machine.slice/libpod-conmon-<A>.scope", "");
    check("/system.slice/slurmstepd.scope/job_", "");
    check("/system.slice/slurmstepd.scope/job_1x", "");
    check("/system.slice/xslurmstepd.scope/job_1", "");
    check("/slurm/job_1", "");
    check("/slurm/uid_x/job_1", "");
    check("/kubepods.slice/kubepods-podnope.slice", "");
    check("/evil.slice/evil-pod2c9f8a79_5391_454b_88cb_86190881cb96.slice", "");
    check("/oar/5", "");
}

#[test]
fn units_and_slices_are_the_system_managers() {
    check_unit("0::/init.scope", "", "init.scope");
    check_unit("0::/gpu.slice/gpu-team.slice/train.service/worker", "gpu.slice", "train.service");
    check_unit("0::/system.slice/ssh.service (deleted)", "system.slice", "ssh.service");
    check_unit(
        r"0::/system.slice/system-gpu\x2dx.slice/gpu\x2dx@1.service",
        "system.slice",
        r"gpu\x2dx@1.service",
    );
    check_unit("0::/docker/<A>/system.slice/ssh.service", "", "");
    check_unit("0::/system.slice", "system.slice", "");
    check_unit("0::/", "", "");
    check_unit("", "", "");
}

#[test]
fn of_several_lines_the_one_that_says_most_counts() {
    let slurm_v1 = "9:freezer:/slurm/uid_5/job_6/step_0\n4:memory:/slurm/uid_5/job_6/step_0/task_0\n\
                    1:name=systemd:/system.slice/slurmd.service\n0::/\n";
    check(slurm_v1, "scheduler=slurm job_id=6 job_step=0");
    check_unit(slurm_v1, "system.slice", "slurmd.service");
    assert_eq!(derived(slurm_v1).text(&Field::Cgroup), "9:freezer:/slurm/uid_5/job_6/step_0");

    let hybrid = "12:cpu,cpuacct:/user.slice\n1:name=systemd:/<USER>/a.service\n0::/<USER>/a.service\n";
    check_unit(hybrid, "user.slice", "user@1000.service");
    assert_eq!(derived(&filled(hybrid)).text(&Field::Cgroup), filled("1:name=systemd:/<USER>/a.service"));

    let docker_v1 = "3:cpuset:/docker/<A>\n1:name=systemd:/system.slice/docker.service\n";
    check(docker_v1, "container_runtime=docker container_id=<A>");
    check_unit(docker_v1, "system.slice", "docker.service");
    assert_eq!(derived("9:pids:/\n4:memory:/own/x\n0::/\n").text(&Field::Cgroup), "4:memory:/own/x");
}

#[test]
fn a_removed_cgroup_still_names_its_container() {
    check("/system.slice/docker-<A>.scope (deleted)", "container_runtime=docker container_id=<A>");
}

#[test]
fn a_colon_in_a_path_is_part_of_it() {
    assert_eq!(derived("0::/a:b:c").text(&Field::Cgroup), "0::/a:b:c");
}

fn part() -> impl Strategy<Value = String> {
    let names = [
        "..",
        "system.slice",
        "user.slice",
        "user-1.slice",
        "user@1.service",
        "docker",
        "kubepods",
        "kubepods.slice",
        "burstable",
        "slurm",
        "uid_1",
        "job_1",
        "step_0",
        "user",
        "task_0",
        "slurmstepd.scope",
        "n_slurmstepd.scope",
        "pbs_jobs.service",
        "jobid",
        "1.pbs",
        "oar",
        "u_1",
        "torque",
        "lxc",
        "lxc.payload.x",
        "machine.slice",
        "machine",
        r"machine-qemu\x2d1\x2dx.scope",
        "machine-x.scope",
        "htcondor",
        "condor_1",
        "sFNDM35NQ39R00",
        "qemu.slice",
        "1.scope",
        "qemu-1-x.libvirt-qemu",
        "ecs",
        "default",
    ];
    let filled =
        ["<A>", "<POD>", "docker-<A>.scope", "libpod-<A>.scope", "<POD>:cri-containerd:<A>"].map(filled);
    prop_oneof![
        4 => prop::sample::select(names.map(String::from).into_iter().chain(filled).collect::<Vec<_>>()),
        1 => r"[a-z0-9_:.\\-]{0,12}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        derived(&text);
    }

    #[test]
    fn no_value_that_is_not_in_the_path(parts in prop::collection::vec(part(), 0..9)) {
        let text = format!("0::/{}", parts.join("/")).replace('\n', " ");
        let unescaped: Vec<String> = text.split('/').filter_map(shape::unescape).collect();
        let facts = derived(&text);
        for (field, value) in facts.iter() {
            let value = value.expect("nothing is pending");
            let dashed = text.replace('_', "-");
            let known = match field {
                Field::Scheduler => SCHEDULERS.contains(&value),
                Field::ContainerRuntime => RUNTIMES.contains(&value),
                Field::PodUid => dashed.contains(value),
                _ => text.contains(value) || unescaped.iter().any(|part| part.contains(value)),
            };
            prop_assert!(known, "{field}={value:?} of {text:?}");
        }
    }

    #[test]
    fn below_a_users_manager_only_podman_is_heard(parts in prop::collection::vec(part(), 0..6)) {
        let text = format!("0::/{USER}/{}", parts.join("/")).replace('\n', " ");
        let facts = derived(&text);
        for field in [Field::Scheduler, Field::JobId, Field::Sluid, Field::PodUid, Field::Vm] {
            prop_assert_eq!(facts.get(&field), Fact::Absent);
        }
        prop_assert!(["", "podman"].contains(&facts.text(&Field::ContainerRuntime)));
        prop_assert_eq!(facts.text(&Field::SystemdUnit), "user@1000.service");
    }
}
