//! Of Slurm and Kubernetes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use fake_kube::{ApiServer, Container, Kubelet, Manner, Pod};
use fake_nvml::{Gpu, Scenario};
use wattribute_e2e::{Flags, Scratch};

use crate::answer::{Answer, ask};

fn flags(scratch: &Scratch) -> Flags {
    Flags::with_fake(scratch, &Scenario::starting_now(vec![Gpu::numbered(0)]))
}

#[test]
fn a_node_of_kubernetes_is_asked_as_the_exporter_asks() {
    let scratch = Scratch::new("doctor-kubernetes");
    let (socket, account) = (scratch.path("kubelet.sock"), scratch.path("account"));
    fs::create_dir(&account).expect("a folder");
    let kubelet =
        Kubelet::start(&socket, &[Container::with_gpus("speech", "train", &[&Gpu::numbered(0).uuid])]);
    let api = ApiServer::start(&account, &[Pod::numbered(1, "speech", "train")]);
    let mut flags = flags(&scratch);
    flags.env.extend(api.environment().into_iter().map(|(name, value)| (name, value.into())));
    let places = [
        format!("--kubernetes.pod-resources-socket={}", socket.display()),
        format!("--kubernetes.service-account={}", account.display()),
    ];
    let places = places.each_ref().map(String::as_str);
    let answer = ask(&flags, &places);
    answer.check(0, ("kubelet", "ok"), &["PodResources v1", "1 container"]).check(
        0,
        ("API server", "ok"),
        &["1 pod"],
    );
    api.refuse(Some(403));
    kubelet.behave(Manner::Garbage);
    let answer = ask(&flags, &places);
    answer.check(1, ("API server", "failure"), &["403", "list"]).check(
        1,
        ("kubelet", "failure"),
        &["no list of pods"],
    );
    drop(kubelet);
    api.refuse(None);
    ask(&flags, &places).check(0, ("kubelet", "warning"), &["no socket", "pod-resources"]);
    flags.env.push(("NODE_NAME".into(), "".into()));
    ask(&flags, &places).check(1, ("API server", "failure"), &["NODE_NAME"]);
}

/// The doctor on a node whose `scontrol` and `squeue` are these scripts.
fn with_slurm(scontrol: &str, squeue: &str) -> Answer {
    let scratch = Scratch::new("doctor-slurm");
    for (name, script) in [("scontrol", scontrol), ("squeue", squeue)] {
        let path = scratch.write(name, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own");
    }
    let mut flags = flags(&scratch);
    let own = scratch.path("").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    flags.env.push(("PATH".into(), OsString::from(format!("{own}:{path}"))));
    flags.env.push(("SLURM_CONF".into(), scratch.write("slurm.conf", "").into()));
    ask(&flags, &[])
}

const CONFIG: &str = "printf 'Configuration data as of x\\nGresTypes               = gpu\\nPrivateData             = none\\nProctrackType           = proctrack/cgroup\\n'";

#[test]
fn a_node_of_slurm_is_asked_by_scontrol_and_squeue() {
    let answer = with_slurm(CONFIG, "echo '211|2026-11-01T00:00:00'; echo '212|2026-11-01T00:00:00'");
    answer.check(0, ("Slurm", "ok"), &["proctrack/cgroup", "GRES gpu"]).check(
        0,
        ("Slurm", "ok"),
        &["2 jobs"],
    );
    let answer = with_slurm(CONFIG, "exit 1");
    answer.check(1, ("Slurm", "failure"), &["does not list", "SLURMD_NODENAME"]);
    let answer = with_slurm(&CONFIG.replace("cgroup", "linuxproc").replace("= gpu", "= (null)"), "true");
    answer.check(0, ("Slurm", "warning"), &["proctrack/linuxproc", "proctrack/cgroup"]);
    answer.check(0, ("Slurm", "warning"), &["GresTypes=(null)", "gres.conf"]);
}

#[test]
fn a_controller_that_is_away_or_hangs_is_said_to() {
    let answer = with_slurm(
        "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1",
        "true",
    );
    answer.check(1, ("Slurm", "failure"), &["Unable to contact", "scontrol ping"]);
    with_slurm("exec sleep 600", "true").check(1, ("Slurm", "failure"), &["hangs"]);
}
