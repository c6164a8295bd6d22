//! Who pays for a job: a real Slurm of one node, and programs that answer as badly as a controller can.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod holders;
mod machine;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster::{Cluster, Job};
use fake_nvml::{Gpu, Load, Scenario};
use machine::Machine;
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Scrape, Scratch, team_mj, wattribute};

const RULES: &str = r#"
labels: [team, project]
rules:
  - name: account
    match: ['scheduler="slurm"', 'slurm_partition="gpu"', 'slurm_user="daemon"']
    owner: {team: "${slurm_account}", project: "${slurm_job_name}"}
  - name: whoever it is
    match: ['uid=~".+"']
    owner: {team: wrong}
"#;
const REPLY: &str = "JobId=7 JobName=train UserId=daemon(1) GroupId=daemon(1) Account=astro QOS=normal Partition=gpu AllocNode:Sid=login:1";

/// An exposition delay in which an answer comes, be the machine slow.
const LONG: Duration = Duration::from_secs(15);
/// One in which no answer comes when a program is given five seconds.
const SHORT: Duration = Duration::from_secs(4);

/// An exporter that watches one process on one GPU.
struct Watch {
    exporter: Exporter,
    scenario: Scenario,
    auditor: Auditor,
}

impl Watch {
    /// `path` has the `slurm.conf`, or a `scontrol` that stands in for the real one; the delay is the exposition's.
    fn start(scratch: &Scratch, machine: &Machine, pid: u32, (path, delay): (&Path, Duration)) -> Self {
        let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
        scenario.loads = vec![Load::constant(pid, 0, 50)];
        let mut flags = Flags {
            rules_files: vec![scratch.write("rules.yaml", RULES)],
            exposition_delay: Some(delay),
            others: vec![format!("--path.procfs={}", machine.procfs().display())],
            ..Flags::with_fake(scratch, &scenario)
        };
        let mut paths = path.as_os_str().to_owned();
        paths.push(":/usr/bin:/bin");
        flags.env.push(("PATH".into(), paths));
        flags.env.push(("SLURM_CONF".into(), path.join("slurm.conf").into()));
        let exporter = Exporter::start(scratch, flags).expect("it starts");
        Self { exporter, scenario, auditor: Auditor::default() }
    }

    /// The scrape in which a team has paid for a while; it reconciled, and so did every one before.
    #[track_caller]
    fn until_it_pays(&mut self, team: &str) -> Scrape {
        let uuid = &self.scenario.gpus[0].uuid;
        let pays = |scrape: &Scrape| team_mj(scrape, team, uuid) > 200_000;
        self.auditor.until(&self.exporter, &format!("{team} pays"), pays)
    }

    #[track_caller]
    fn energy(&self, scrape: &Scrape, team: &str) -> u64 {
        team_mj(scrape, team, &self.scenario.gpus[0].uuid)
    }
}

/// A `scontrol` that is this shell script, and a node of a cluster.
fn script(scratch: &Scratch, text: &str) {
    scratch.write("slurm.conf", "");
    let path = scratch.write("scontrol", &format!("#!/bin/sh\n[ $1 = --json ] && exit 1\n{text}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn failures(scrape: &Scrape, reason: &str) -> u64 {
    let value = scrape.value("wattribute_identify_failures_total", &[("reason", reason)]);
    value.map_or(0, |value| value.parse().expect("a count"))
}

#[test]
fn the_account_of_a_real_job_pays() {
    let cluster = Cluster::start();
    let scratch = Scratch::new("slurm-real");
    let job =
        cluster.submit(&["--uid=daemon", "--gid=daemon", "--account=astro", "--job-name=train lr=0.1 QOS"]);
    let machine = Machine::with_job(&scratch, job.pid, job.id);
    let mut watch = Watch::start(&scratch, &machine, job.pid, (&cluster.folder(), LONG));
    let scrape = watch.until_it_pays("astro");
    assert_eq!((watch.energy(&scrape, "wrong"), watch.energy(&scrape, "unattributed")), (0, 0));
    let labels = [("project", "train lr=0.1 QOS"), ("kind", "active")];
    assert_eq!(scrape.find("wattribute_team_energy_joules_total", &labels).len(), 1);
    let rule = [("rule", "account"), ("evidence", "scheduler")];
    assert!(scrape.millijoules("wattribute_rule_energy_joules_total", &rule) > Some(0));
    let explained = explain(&scratch, &machine, &job, &cluster.folder());
    assert!(explained.contains("slurm_account") && explained.contains("astro"), "{explained}");
}

/// What `explain --pid` prints of a job's process.
fn explain(scratch: &Scratch, machine: &Machine, job: &Job, folder: &Path) -> String {
    let mut command = Command::new(wattribute());
    command.args(["explain", "--pid", &job.pid.to_string(), "--path.procfs"]).arg(machine.procfs());
    command.arg("--rules.file").arg(scratch.path("rules.yaml")).env("SLURM_CONF", folder.join("slurm.conf"));
    let output = command.output().expect("a program");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_controller_that_is_slow_delays_the_verdict_and_changes_nothing() {
    let scratch = Scratch::new("slurm-slow");
    let process = Process::named("python3").user(1, 1).start();
    let machine = Machine::with_job(&scratch, process.pid(), 7);
    script(&scratch, &format!("sleep 2; echo '{REPLY}'"));
    let mut watch = Watch::start(&scratch, &machine, process.pid(), (&scratch.path(""), LONG));
    let scrape = watch.until_it_pays("astro");
    assert_eq!((watch.energy(&scrape, "wrong"), watch.energy(&scrape, "unattributed")), (0, 0));
}

#[test]
fn a_controller_that_never_answers_leaves_the_energy_unattributed_and_counted() {
    let scratch = Scratch::new("slurm-never");
    let process = Process::named("python3").user(1, 1).start();
    let machine = Machine::with_job(&scratch, process.pid(), 7);
    script(&scratch, "sleep 1000");
    let mut watch = Watch::start(&scratch, &machine, process.pid(), (&scratch.path(""), SHORT));
    watch.until_it_pays("unattributed");
    let counted = |scrape: &Scrape| {
        ["slurm_unreachable", "facts_never_came"].iter().all(|reason| failures(scrape, reason) > 0)
    };
    let scrape = watch.auditor.until(&watch.exporter, "the failures are counted", counted);
    assert_eq!((watch.energy(&scrape, "wrong"), watch.energy(&scrape, "astro")), (0, 0));
}
