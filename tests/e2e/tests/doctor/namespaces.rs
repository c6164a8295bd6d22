//! What another user, another PID namespace or a /proc that hides may see.

use std::fs;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{Flags, Foreign, Process, Running, Scratch, require};

use crate::answer::{arguments, ask, run};

const RULES: &str = "rules:\n  - name: by variable\n    match: ['env_WATT_TEAM=~\".+\"']\n    owner: {team: a}\n  - name: by user\n    match: ['user=\"daemon\"']\n    owner: {team: b}\n";

/// A GPU with a process of another user on it.
fn world() -> (Running, Scenario) {
    let process = Process::named("python3").user(31_001, 31_001).env("WATT_TEAM", "hunter2").start();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(process.pid(), 0, 40));
    (process, scenario)
}

#[test]
fn a_user_without_capabilities_learns_which_rules_cannot_be_decided() {
    let (_process, scenario) = world();
    let foreign = Foreign::new("wattribute-doctor", &scenario);
    let flags = foreign.flags();
    let rules = format!("--rules.file={}", foreign.write("rules.yaml", RULES).display());
    let answer = run(&foreign.program(), &arguments(&flags, &[&rules]), &flags.env);
    let words = ["uid 31999", "environ", "by variable", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
    answer.check(0, ("permissions", "warning"), &words).check(0, ("processes", "ok"), &["has all 1"]);
    assert!(!answer.stdout.contains("by user:") && !answer.stdout.contains("hunter2"), "{}", answer.stdout);
    let state = format!("--state.dir={}", foreign.path("state").display());
    let answer = run(&foreign.program(), &arguments(&flags, &[&state]), &flags.env);
    answer.check(1, ("state", "failure"), &["ermission denied", "StateDirectory"]);
    answer.check(1, ("permissions", "ok"), &["no rule asks for it"]);
}

#[test]
fn root_reads_everybody() {
    let (_process, scenario) = world();
    let scratch = Scratch::new("doctor-root");
    let rules = format!("--rules.file={}", scratch.write("rules.yaml", RULES).display());
    let answer = ask(&Flags::with_fake(&scratch, &scenario), &[&rules]);
    answer.check(0, ("permissions", "ok"), &["uid 0", "all of other users can be read"]);
}

/// A shell script that mounts a /proc of its own and then becomes this program.
fn hiding(foreign: &Foreign, program: &str) -> std::path::PathBuf {
    let _ = (require("unshare"), fs::create_dir(foreign.path("proc")).ok());
    let place = foreign.path("proc").display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -c 'mount -t proc -o hidepid=2 proc {place} && exec \
         {program} \"$@\" --path.procfs={place}' sh \"$@\"\n"
    );
    foreign.write("hiding", &script)
}

#[test]
fn a_proc_that_hides_is_named_unless_it_hides_nothing_from_us() {
    let (_process, scenario) = world();
    let foreign = Foreign::new("wattribute-doctor-hidden", &scenario);
    let flags = foreign.flags();
    let unprivileged = foreign.program().display().to_string();
    let answer = run(&hiding(&foreign, &unprivileged), &arguments(&flags, &[]), &flags.env);
    answer.check(1, ("hidepid", "failure"), &["hidepid=", "hidden", "CAP_SYS_PTRACE"]);
    answer.check(1, ("processes", "failure"), &["none of the 1"]);
    let root = foreign.path("wattribute").display().to_string();
    let answer = run(&hiding(&foreign, &root), &arguments(&flags, &[]), &flags.env);
    answer.check(0, ("hidepid", "ok"), &["hidepid=", "sees pid 1"]).check(
        0,
        ("processes", "ok"),
        &["has all 1"],
    );
}

#[test]
fn another_pid_namespace_is_named_and_that_the_drivers_processes_are_not_in_it() {
    let (_process, scenario) = world();
    let foreign = Foreign::new("wattribute-doctor-inside", &scenario);
    let flags = foreign.flags();
    let program = foreign.path("wattribute").display().to_string();
    let script = format!("#!/bin/sh\nexec unshare --pid --fork --mount-proc {program} \"$@\"\n");
    let answer = run(&foreign.write("inside", &script), &arguments(&flags, &[]), &flags.env);
    answer.check(1, ("PID namespace", "warning"), &["not the host's", "hostPID"]);
    answer.check(1, ("processes", "failure"), &["none of the 1", "--pid=host"]);
}

#[test]
fn a_folder_that_is_no_proc_is_named() {
    let scratch = Scratch::new("doctor-no-proc");
    let flags = Flags::with_fake(&scratch, &Scenario::starting_now(vec![Gpu::numbered(0)]));
    let place = format!("--path.procfs={}", scratch.path("").display());
    ask(&flags, &[&place]).check(1, ("/proc", "failure"), &["it is no /proc", "--path.procfs"]);
}
