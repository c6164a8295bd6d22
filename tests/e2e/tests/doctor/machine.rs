//! Of rules, state, listen addresses and the machine; and how the answer looks.

use std::fs;
use std::net::TcpListener;

use fake_nvml::{Gpu, Scenario};
use wattribute_e2e::{Exporter, Flags, Scratch, wattribute};

use crate::answer::{ask, run};

fn flags(scratch: &Scratch) -> Flags {
    Flags::with_fake(scratch, &Scenario::starting_now(vec![Gpu::numbered(0)]))
}

#[test]
fn rules_are_loaded_linted_and_tested() {
    let scratch = Scratch::new("doctor-rules");
    let check = |text: &str, code, outcome, words: &[&str]| {
        let file = format!("--rules.file={}", scratch.write("rules.yaml", text).display());
        ask(&flags(&scratch), &[&file]).check(code, ("rules", outcome), words);
    };
    let rule = "rules:\n  - name: one\n    match: ['user=\"ann\"']\n    owner: {team: a}\n";
    let tested = format!("{rule}tests:\n  - name: ann\n    process: {{user: ann}}\n    owner: {{team: a}}\n");
    check(&tested, 0, "ok", &["1 rule, 1 test: all hold"]);
    check("rules: [{nmae: x}]\n", 1, "failure", &["rules.yaml:1", "nmae", "wattribute check"]);
    let wrong = format!("{rule}tests:\n  - name: bob\n    process: {{user: bob}}\n    owner: {{team: a}}\n");
    check(&wrong, 1, "failure", &["1 fail", "bob"]);
    let again = rule.replace("rules:\n", "").replace("one", "two");
    let twice = tested.replace("tests:\n", &format!("{again}tests:\n"));
    check(&twice, 0, "warning", &["1 warning", "two"]);
    ask(&flags(&scratch), &[]).check(0, ("rules", "warning"), &["none are given", "--rules.file"]);
}

#[test]
fn an_exporter_that_runs_is_known_by_its_port_and_its_state() {
    let scratch = Scratch::new("doctor-running");
    let flags = Flags { state_dir: Some(scratch.path("state")), ..flags(&scratch) };
    let exporter = Exporter::start(&scratch, flags.clone()).expect("it starts");
    let address = format!("--web.listen-address={}", exporter.address());
    let state = format!("--state.dir={}", scratch.path("state").display());
    let answer = ask(&flags, &[&address, &state]);
    answer.check(0, ("listen address", "ok"), &["an exporter runs here"]);
    answer.check(0, ("state", "ok"), &["the exporter that runs here has it"]);
    ask(&flags, &[&state]).check(1, ("state", "failure"), &["another wattribute has it"]);
    drop(exporter);
    ask(&flags, &[&state]).check(0, ("state", "ok"), &["accounts of an earlier run"]);
    fs::write(scratch.path("state/state.json"), "{").expect("our own");
    ask(&flags, &[&state]).check(0, ("state", "warning"), &["cannot be used", "sets it aside"]);
}

#[test]
fn a_port_of_somebody_else_and_a_state_that_cannot_be_are_failures() {
    let scratch = Scratch::new("doctor-taken");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("--web.listen-address={}", taken.local_addr().expect("an address"));
    ask(&flags(&scratch), &[&address]).check(1, ("listen address", "failure"), &["is taken", "ss -ltnp"]);
    let state = format!("--state.dir={}", scratch.write("file", "").display());
    ask(&flags(&scratch), &[&state]).check(1, ("state", "failure"), &["ot a directory"]);
    let passing = "--state.dir=/dev/shm/wattribute-doctor-test";
    ask(&flags(&scratch), &[passing]).check(0, ("disk", "warning"), &["tmpfs"]);
}

#[test]
fn a_low_limit_of_files_is_named() {
    let scratch = Scratch::new("doctor-files");
    let flags = flags(&scratch);
    let script = format!("#!/bin/sh\nulimit -n 256\nexec {} \"$@\"\n", wattribute().display());
    let program = scratch.write("limited", &script);
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("our own");
    let arguments = crate::answer::arguments(&flags, &[]);
    run(&program, &arguments, &flags.env).check(
        0,
        ("open files", "warning"),
        &["at most 256", "LimitNOFILE"],
    );
}

#[test]
fn flags_that_cannot_be_meant_are_exit_2_and_the_demo_needs_nothing() {
    let none = Flags::default();
    let answer = ask(&none, &["--source=demo", "--state.dir=/nonexistent"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
    assert!(answer.stderr.contains("--state.dir"), "{answer:?}");
    ask(&none, &["--source=demo"]).check(0, ("driver", "ok"), &["not needed"]);
    ask(&none, &["--source=/nonexistent"]).check(1, ("driver", "failure"), &["/nonexistent"]);
}

#[test]
fn for_people_it_is_aligned_text_with_colours_on_demand_only() {
    let text = |others: &[&str]| {
        let fixed = ["doctor", "--source=demo", "--web.listen-address=127.0.0.1:0"];
        let arguments: Vec<String> = fixed.iter().chain(others).map(ToString::to_string).collect();
        run(&wattribute(), &arguments, &[]).stdout
    };
    let plain = text(&[]);
    assert!(plain.starts_with("ok       driver          not needed") && !plain.contains('\u{1b}'), "{plain}");
    assert!(plain.trim_end().lines().last().is_some_and(|line| line.contains("0 failed")), "{plain}");
    assert!(text(&["--color=always"]).contains("\u{1b}[32m"));
}
