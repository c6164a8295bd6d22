//! `explain` of real processes: what it reads, what it may not, and that no process commands the terminal.

use std::os::unix::process::CommandExt;
use std::process::Command;

use fake_nvml::{Gpu, Load, Scenario};
use serde_json::Value;
use wattribute_e2e::{Flags, Process, Scratch, wattribute};

use crate::console::{Done, finish, run};

const RULES: &str = r#"labels: [team, project]
rules:
  - name: key holders
    match: ['env_WATT_TEAM=~".+"']
    owner: {team: "${env_WATT_TEAM}"}
  - name: by model
    match: ['gpu_model=~"Nothing.*"']
    owner: {team: none}
  - name: everybody
    match: ['comm=~".+"']
    owner: {team: all}
"#;

const WITHOUT_VARIABLES: &str =
    "rules:\n  - name: all\n    match: ['comm=~\".+\"']\n    owner: {team: all}\n";

/// Explains a pid by these rules, with more arguments.
#[track_caller]
fn explain(scratch: &Scratch, rules: &str, pid: u32, more: &[&str]) -> Done {
    let rules = scratch.write("rules.yaml", rules).display().to_string();
    let pid = pid.to_string();
    run(&[&["explain", "--pid", &pid, "--rules.file", &rules][..], more].concat(), &[])
}

#[track_caller]
fn json(done: &Done) -> Value {
    done.check(0, &[]);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// The fact of this name.
fn fact<'a>(report: &'a Value, field: &str) -> &'a Value {
    let facts = report["facts"].as_array().into_iter().flatten();
    facts.clone().find(|fact| fact["field"] == field).unwrap_or(&Value::Null)
}

#[test]
fn a_process_is_explained_with_the_source_of_every_fact() {
    let scratch = Scratch::new("explain-pid");
    let process = Process::named("python3").args(&["train.py"]).user(31_021, 31_021).start();
    let (done, pid) = (explain(&scratch, RULES, process.pid(), &["--format=json"]), process.pid());
    let report = json(&done);
    assert_eq!(report["process"]["pid"], pid);
    assert_eq!(fact(&report, "uid")["source"], format!("/proc/{pid}/status"));
    assert_eq!(fact(&report, "cmdline")["value"], "python3 train.py");
    assert_eq!(fact(&report, "env_WATT_TEAM")["state"], "absent");
    assert_eq!(report["rules"][0]["matcher"], "env_WATT_TEAM=~\".+\"");
    assert_eq!(report["rules"][2]["outcome"], "decides");
    assert_eq!(report["rules"][2]["line"], 9);
    assert_eq!(report["verdict"]["owner"]["team"], "all");
    let text = explain(&scratch, RULES, pid, &[]);
    text.check(0, &[]);
    for part in ["FACTS", "RULES", "VERDICT", "team=all", "rules.yaml:9", "on declared evidence"] {
        assert!(text.stdout.contains(part), "{part} in\n{}", text.stdout);
    }
}

#[test]
fn a_command_line_does_not_command_the_terminal() {
    let scratch = Scratch::new("explain-hostile");
    let process = Process::named("evil").args(&["\u{1b}[2J\u{9b}31m", "a\nb"]).start();
    let pid = process.pid();
    let is_clean = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    let plain = explain(&scratch, RULES, pid, &[]);
    assert!(is_clean(&plain.stdout) && plain.stdout.contains(r"\u{1b}[2J"), "{:?}", plain.stdout);
    let json_text = explain(&scratch, RULES, pid, &["--format=json"]);
    assert!(is_clean(&json_text.stdout), "{:?}", json_text.stdout);
    assert_eq!(fact(&json(&json_text), "cmdline")["value"], "evil \u{1b}[2J\u{9b}31m a\nb");
    assert!(explain(&scratch, RULES, pid, &["--color=always"]).stdout.contains("\u{1b}[1mFACTS"));
}

#[test]
fn the_gpu_is_asked_of_the_driver_if_a_rule_names_it() {
    let scratch = Scratch::new("explain-gpu");
    let process = Process::named("python3").start();
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    scenario.loads.push(Load::constant(process.pid(), 1, 50));
    let flags = Flags::with_fake(&scratch, &scenario);
    let library = format!("--nvml.library={}", flags.nvml_library.clone().expect("the fake").display());
    let rules = scratch.write("rules.yaml", RULES).display().to_string();
    let pid = process.pid().to_string();
    let ask = |more: &[&str]| {
        let args = ["explain", "--pid", &pid, "--rules.file", &rules, "--format=json", &library];
        json(&run(&[&args[..], more].concat(), &flags.env))
    };
    assert_eq!(fact(&ask(&[]), "gpu_uuid")["value"], *scenario.gpus[1].uuid);
    assert_eq!(fact(&ask(&["--gpu=0"]), "gpu_uuid")["value"], *scenario.gpus[0].uuid);
    let chosen = ask(&["--gpu", &scenario.gpus[0].uuid]);
    assert_eq!(fact(&chosen, "gpu")["value"], "0");
    assert!(ask(&["--gpu=7"])["notes"][0].as_str().is_some_and(|note| note.contains("no GPU 7")));
    // Without a driver it goes on, and says so.
    let none = explain(&scratch, RULES, process.pid(), &["--format=json", "--nvml.library=/nonexistent.so"]);
    assert!(json(&none)["notes"][0].as_str().is_some_and(|note| note.contains("--gpu")), "{none:?}");
}

#[test]
fn a_pid_that_is_nobodys_is_one_line() {
    let scratch = Scratch::new("explain-nobody");
    let process = Process::named("gone").start();
    let pid = process.pid();
    process.end();
    let done = explain(&scratch, RULES, pid, &[]);
    done.check(1, &[&format!("pid {pid}: there is no such process"), "hidepid"]);
    assert_eq!((done.stdout.as_str(), done.stderr.lines().count()), ("", 1));
    explain(&scratch, RULES, u32::MAX, &["--format=json"]).check(1, &["there is no such process"]);
}

#[test]
fn who_may_not_read_the_environment_is_told_so() {
    let scratch = Scratch::new("explain-unprivileged");
    let process = Process::named("python3").env("WATT_TEAM", "vision").user(31_022, 31_022).start();
    // Where another user may run it and read them.
    let open = Scratch::below(&std::env::temp_dir(), "wattribute-explain");
    let (program, rules) = (open.path("wattribute"), open.write("rules.yaml", RULES));
    std::fs::copy(wattribute(), &program).expect("a copy");
    Command::new("chmod").args(["-R", "a+rX"]).arg(open.path("")).status().expect("chmod");
    let mut command = Command::new(program);
    command.args(["explain", "--format=json", "--pid", &process.pid().to_string(), "--rules.file"]);
    command.arg(rules).uid(31_023).gid(31_023).current_dir("/");
    let report = json(&finish(command));
    let notes = report["notes"].to_string();
    assert!(notes.contains("environ") && notes.contains("run as root"), "{notes}");
    // It may be there: what cannot be seen is not absent, and no later rule is asked.
    assert_eq!(fact(&report, "env_WATT_TEAM")["state"], "pending");
    assert_eq!(report["verdict"]["waits_for"], "env_WATT_TEAM");
    assert_eq!(fact(&report, "uid")["value"], "31022");
    let by_root = json(&explain(&scratch, RULES, process.pid(), &["--format=json"]));
    assert_eq!(fact(&by_root, "env_WATT_TEAM")["value"], "vision");
    assert_eq!(by_root["verdict"]["owner"]["team"], "vision");
}

#[test]
fn a_variable_that_no_rule_names_is_not_read() {
    let scratch = Scratch::new("explain-unnamed");
    let process = Process::named("python3").env("WATT_TEAM", "hunter2").start();
    for format in ["--format=text", "--format=json"] {
        let done = explain(&scratch, WITHOUT_VARIABLES, process.pid(), &[format]);
        done.check(0, &[]);
        assert!(!(done.stdout + &done.stderr).contains("hunter2"));
    }
}
