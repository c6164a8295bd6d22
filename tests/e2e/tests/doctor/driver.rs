//! Of the driver, its GPUs, and the processes that it names.

use fake_nvml::{Code, Effect, Fault, Gpu, Load, Scenario};
use wattribute_e2e::{Flags, Process, Scratch};

use crate::answer::ask;

fn scenario(gpus: u32) -> Scenario {
    Scenario::starting_now((0..gpus).map(Gpu::numbered).collect())
}

#[test]
fn a_machine_that_is_well_is_said_to_be() {
    let scratch = Scratch::new("doctor-well");
    let process = Process::named("python3").args(&["--token=hunter2"]).env("WATT_KEY", "hunter2").start();
    let mut scenario = scenario(2);
    scenario.loads.push(Load::constant(process.pid(), 1, 40));
    let rules = "rules:\n  - name: key\n    match: ['env_WATT_KEY=~\".+\"', 'cmdline=~\".+\"', 'uid=\"0\"']\n    owner: {team: a}\n";
    let rules = format!("--rules.file={}", scratch.write("rules.yaml", rules).display());
    let folder = scratch.path("state");
    let state = format!("--state.dir={}", folder.display());
    let answer = ask(&Flags::with_fake(&scratch, &scenario), &[&rules, &state]);
    answer.check(0, ("driver", "ok"), &["2 GPUs", &scenario.driver_version]);
    answer.check(0, ("gpu", "ok"), &["0: NVIDIA H100", "energy counter", "0 processes"]);
    answer.check(0, ("gpu", "ok"), &["1: NVIDIA H100", "1 process,", "utilisation by process"]);
    answer.check(0, ("processes", "ok"), &["has all 1"]);
    answer.check(0, ("hidepid", "ok"), &[]).check(0, ("state", "ok"), &["it will be made"]);
    answer.check(0, ("listen address", "ok"), &["is free"]);
    assert!(!folder.exists(), "it left a folder behind");
    assert!(!answer.stdout.contains("hunter2"), "{}", answer.stdout);
}

#[test]
fn without_a_driver_or_a_gpu_it_says_what_to_install() {
    let scratch = Scratch::new("doctor-none");
    let missing = scratch.path("libnvidia-ml.so.1");
    let flags = Flags { nvml_library: Some(missing), ..Flags::default() };
    ask(&flags, &[]).check(1, ("driver", "failure"), &["cannot be loaded", "--nvml.library", "nvidia-smi"]);
    // Without a scenario the fake says that the driver is not loaded.
    let flags = Flags { nvml_library: fake_nvml::library().ok(), ..Flags::default() };
    ask(&flags, &[]).check(1, ("driver", "failure"), &["not loaded"]);
    let flags = Flags::with_fake(&scratch, &scenario(0));
    ask(&flags, &[]).check(1, ("driver", "failure"), &["has no GPU"]);
}

#[test]
fn a_gpu_that_cannot_do_all_is_a_warning_which_strict_makes_a_failure() {
    let scratch = Scratch::new("doctor-old");
    let mut scenario = scenario(1);
    scenario.gpus[0].counter = false;
    let flags = Flags::with_fake(&scratch, &scenario);
    ask(&flags, &[]).check(0, ("gpu", "warning"), &["no energy counter", "power × time"]);
    ask(&flags, &["--strict"]).check(1, ("gpu", "warning"), &["no energy counter"]);
    scenario.gpus[0] = Gpu { persistence: false, ..Gpu::numbered(0) };
    let flags = Flags::with_fake(&scratch, &scenario);
    ask(&flags, &[]).check(0, ("gpu", "warning"), &["persistence mode off", "nvidia-smi -pm 1"]);
}

#[test]
fn a_gpu_that_says_nothing_of_processes_is_named() {
    let scratch = Scratch::new("doctor-silent");
    let mut scenario = scenario(3);
    let calls = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let lists = calls(&["nvmlDeviceGetComputeRunningProcesses_v3"]);
    let error = |calls, code| Effect::Error { calls, code };
    scenario.faults = vec![
        Fault::new(0, 0.0, error(lists, Code::UNKNOWN)),
        Fault::new(1, 0.0, Effect::Hang { calls: calls(&["nvmlDeviceGetPowerUsage", "nvmlDeviceGetName"]) }),
    ];
    let answer = ask(&Flags::with_fake(&scratch, &scenario), &[]);
    answer.check(1, ("gpu", "failure"), &["0: ", "list of processes cannot be read", "unknown"]);
    answer.check(1, ("gpu", "failure"), &["1: ", "hangs"]);
    answer.check(1, ("gpu", "ok"), &["2: NVIDIA H100"]);
}

#[test]
fn a_driver_that_hangs_is_said_to_hang() {
    let scratch = Scratch::new("doctor-hangs");
    let mut scenario = scenario(1);
    let hang = Effect::Hang { calls: vec!["nvmlInit_v2".into()] };
    scenario.faults = vec![Fault { gpu: None, ..Fault::new(0, 0.0, hang) }.until(3600.0)];
    let answer = ask(&Flags::with_fake(&scratch, &scenario), &[]);
    answer.check(1, ("driver", "failure"), &["hangs", "dmesg"]);
    // The others are examined all the same.
    answer.check(1, ("listen address", "ok"), &["is free"]);
}
