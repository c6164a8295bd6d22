//! `/api/v1/processes` of the running exporter, and the rows of the page: only where they are enabled.

use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use serde_json::Value;
use wattribute_e2e::{Exporter, Flags, Process, Running, Scratch, eventually};

const SOON: Duration = Duration::from_secs(30);
const RULES: &str = "rules:\n  - name: people\n    match: ['uid=\"31031\"']\n    owner: {team: people}\n";

/// An exporter with two GPUs, and the processes on them: of a team, and of nobody.
fn start(scratch: &Scratch, others: &[&str]) -> (Exporter, [Running; 2]) {
    let processes =
        [Process::named("python3").args(&["train.py"]).user(31_031, 31_031), Process::named("stranger")];
    let processes = processes.map(Process::start);
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    let pids = processes.each_ref().map(Running::pid);
    scenario.loads = vec![Load::constant(pids[0], 0, 60), Load::constant(pids[1], 1, 30)];
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        others: others.iter().map(ToString::to_string).collect(),
        ..Flags::with_fake(scratch, &scenario)
    };
    (Exporter::start(scratch, flags).expect("it starts"), processes)
}

#[track_caller]
fn get(exporter: &Exporter, path: &str) -> Value {
    let answer = exporter.get(path, &[]).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn who_is_on_which_gpu_is_told_with_payer_rule_and_evidence() {
    let scratch = Scratch::new("processes");
    let (exporter, processes) = start(&scratch, &["--web.enable-processes"]);
    let listed = eventually(SOON, "both are billed and have energy", || {
        let listed = get(&exporter, "/api/v1/processes");
        let all = (0..2).map(|gpu| &listed["gpus"][gpu]["processes"][0]);
        let is_done = |one: &Value| one["energy_joules"].as_f64() > Some(0.0) && !one["owner"].is_null();
        all.clone().all(is_done).then(|| listed.clone())
    });
    let [ours, stranger] = [0, 1].map(|gpu| &listed["gpus"][gpu]["processes"][0]);
    assert_eq!(ours["pid"], processes[0].pid());
    assert_eq!((&ours["comm"], &ours["owner"]["team"]), (&"python3".into(), &"people".into()));
    assert_eq!((&ours["rule"], &ours["evidence"]), (&"people".into(), &"kernel".into()));
    assert_eq!(
        (&stranger["owner"]["team"], &stranger["refusal"]),
        (&"unattributed".into(), &"no_rule".into())
    );
    assert_eq!((&listed["processes"], &listed["source"]), (&2.into(), &"nvml".into()));
    let one = get(&exporter, "/api/v1/processes?gpu=1");
    assert_eq!((one["gpus"].as_array().map(Vec::len), &one["processes"]), (Some(1), &1.into()));

    let explained = get(&exporter, &format!("/api/v1/processes?pid={}", stranger["pid"]));
    let report = &explained["explanations"][0];
    assert_eq!(
        (&report["rules"][0]["matcher"], &report["rules"][0]["found"]),
        (&"uid=\"31031\"".into(), &"0".into())
    );
    assert_eq!(report["verdict"]["refusal"], "no_rule");

    let page = exporter.get("/", &[]).expect("a page").text();
    assert!(page.contains(&format!("?pid={}", processes[0].pid())), "{page}");
}

#[test]
fn without_the_flag_no_single_process_is_told() {
    let scratch = Scratch::new("processes-closed");
    let (exporter, processes) = start(&scratch, &["--processes.max-series=0"]);
    eventually(SOON, "the team is on the page", || {
        exporter.get("/", &[]).ok().filter(|page| page.text().contains("people")).map(drop)
    });
    for path in ["/api/v1/processes".to_owned(), format!("/api/v1/processes?pid={}", processes[0].pid())] {
        let answer = exporter.get(&path, &[]).expect("an answer");
        assert!(answer.status == 403 && answer.text().contains("--web.enable-processes"), "{answer:?}");
    }
    let page = exporter.get("/", &[]).expect("a page").text();
    assert!(!page.contains("python3") && !page.contains("stranger"), "{page}");
}
