//! What keeps the exporter from starting, and what does not.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, PATIENCE, Scratch, device_mj, eventually, readings};

use crate::console::run;

#[test]
fn without_a_driver_the_problem_and_the_demo_are_named() {
    let scratch = Scratch::new("no-driver");
    let missing = format!("--nvml.library={}", scratch.path("libnvidia-ml.so.1").display());
    run(&[&missing], &[]).check(1, &["libnvidia-ml.so.1", "--source demo"]);
    let fake = fake_nvml::library().expect("it is built");
    let fake = format!("--nvml.library={}", fake.display());
    // Without a scenario the fake says that the driver is not loaded.
    run(&[&fake], &[]).check(1, &["driver is not loaded", "--source demo"]);
    run(&["serve", "--source=nvml", &fake], &[]).check(1, &["driver is not loaded"]);
}

#[test]
fn without_a_gpu_the_demo_is_named() {
    let scratch = Scratch::new("no-gpu");
    let flags = Flags::with_fake(&scratch, &Scenario::starting_now(vec![]));
    let fake = format!("--nvml.library={}", flags.nvml_library.expect("the fake").display());
    run(&[&fake], &flags.env).check(1, &["no GPU", "--source demo"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let flag = format!("--web.listen-address={address}");
    run(&["--source=demo", &flag], &[]).check(1, &[&address]);
}

#[test]
fn a_wrong_flag_is_exit_2_with_the_right_one() {
    run(&["--sample.intervall=1s"], &[]).check(2, &["--sample.interval"]);
    run(&["serve", "--log.level=loud"], &[]).check(2, &["--log.level", "loud", "debug"]);
    run(&["--sample.interval=soon"], &[]).check(2, &["--sample.interval", "500ms"]);
    run(&["explain"], &[]).check(2, &["--process"]);
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_the_way_out() {
    let listen = "--web.listen-address=127.0.0.1:0";
    let done = run(&["--source=demo", listen, "--sample.interval=10s", "--exposition.delay=5s"], &[]);
    assert!(matches!(done.code, Some(1 | 2)), "{done:?}");
    done.check(done.code.unwrap_or(1), &["--exposition.delay", "20s"]);
}

#[test]
fn a_state_folder_has_one_exporter() {
    let scratch = Scratch::new("state-taken");
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    let state_dir = Some(scratch.path("state"));
    let flags = Flags { state_dir, ..Flags::with_fake(&scratch, &scenario) };
    let first = Exporter::start(&scratch, flags.clone()).expect("it starts");
    let Err(second) = Exporter::start(&scratch, flags) else { panic!("a second exporter started") };
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        second.stderr.contains("--state.dir") && second.stderr.contains("another wattribute"),
        "{second:?}"
    );
    drop(first.scrape());
}

#[test]
fn a_state_folder_that_cannot_be_is_named() {
    let scratch = Scratch::new("state-file");
    let file = scratch.write("file", "").display().to_string();
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    let flags = Flags { state_dir: Some(file.clone().into()), ..Flags::with_fake(&scratch, &scenario) };
    let Err(exit) = Exporter::start(&scratch, flags) else { panic!("it started") };
    assert_eq!(exit.status.code(), Some(1), "{exit:?}");
    assert!(exit.stderr.contains("--state.dir") && exit.stderr.contains(&file), "{exit:?}");
}

#[test]
fn simulated_energy_is_not_kept() {
    let folder = "--state.dir=/nonexistent/state";
    run(&["--source=demo", "--web.listen-address=127.0.0.1:0", folder], &[])
        .check(2, &["--state.dir", "simulated"]);
}

#[test]
fn a_corrupt_state_is_set_aside_and_accounting_begins_at_zero() {
    let texts = ["", "{", "null", "[1]", "{\"version\": 1}", "{\"version\": 99}", "\u{0}\u{0}\u{0}\u{0}"];
    for text in texts {
        let scratch = Scratch::new("state-corrupt");
        let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
        let state = scratch.path("state");
        fs::create_dir(&state).expect("a folder");
        fs::write(state.join("state.json"), text).expect("a file");
        let delay = Some(Duration::from_secs(2));
        let flags = Flags {
            state_dir: Some(state.clone()),
            exposition_delay: delay,
            ..Flags::with_fake(&scratch, &scenario)
        };
        let exporter = Exporter::start(&scratch, flags).expect("it starts");
        // The auditor wants every series to begin at 0.
        Auditor::default().scrape(&exporter);
        let aside: Vec<_> = fs::read_dir(&state)
            .expect("a folder")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().contains("unusable"))
            .collect();
        assert_eq!(aside.len(), 1, "{text:?}: {aside:?}");
        assert_eq!(fs::read_to_string(&aside[0]).expect("a file"), text);
        assert!(exporter.stderr().contains("state"), "{text:?}: {}", exporter.stderr());
        assert_eq!(exporter.scrape().value("wattribute_state_write_failed", &[]), Some("0"));
    }
}

#[test]
fn a_state_that_lies_is_set_aside() {
    let scratch = Scratch::new("state-lies");
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(1_000_000, 0, 50));
    let (state_dir, delay) = (Some(scratch.path("state")), Some(Duration::from_secs(2)));
    let flags = Flags { state_dir, exposition_delay: delay, ..Flags::with_fake(&scratch, &scenario) };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let uuid = scenario.gpus[0].uuid.as_str();
    eventually(PATIENCE, "energy is visible", || (device_mj(&exporter.scrape(), uuid) > 0).then_some(()));
    exporter.kill9();
    let file = scratch.path("state/state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("a state")).expect("JSON");
    let energy = &mut state["visible"]["gpus"][uuid]["energy"];
    *energy = (energy.as_u64().expect("mJ") + 1).into();
    fs::write(&file, state.to_string()).expect("a file");
    let restarted_us = scenario.now_us();
    exporter.restart().expect("it starts");
    let shown = device_mj(&Auditor::default().scrape(&exporter), uuid);
    let all = readings(&scratch.path("journal.jsonl"), 0);
    let again = all.iter().find(|reading| reading.t_us > restarted_us).expect("a reading");
    assert!(all.iter().any(|reading| reading.mj.checked_sub(again.mj) == Some(shown)), "{shown} mJ");
    assert!(exporter.stderr().contains("accounting begins at zero"), "{}", exporter.stderr());
}

#[test]
fn a_state_that_cannot_be_written_is_said_and_leaves_no_old_one() {
    let scratch = Scratch::new("state-full");
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    let (state_dir, delay) = (Some(scratch.path("state")), Some(Duration::from_secs(2)));
    let flags = Flags { state_dir, exposition_delay: delay, ..Flags::with_fake(&scratch, &scenario) };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (file, obstacle) = (scratch.path("state/state.json"), scratch.path("state/state.json.tmp"));
    let until = |failed: &str| {
        eventually(PATIENCE, "the gauge says whether it can be written", || {
            (exporter.scrape().value("wattribute_state_write_failed", &[]) == Some(failed)).then_some(())
        });
    };
    until("0");
    // A folder is in the way.
    eventually(PATIENCE, "a moment between two writes", || fs::create_dir(&obstacle).ok());
    until("1");
    assert!(!file.exists());
    let before = device_mj(&exporter.scrape(), &scenario.gpus[0].uuid);
    eventually(PATIENCE, "accounting goes on", || {
        (device_mj(&exporter.scrape(), &scenario.gpus[0].uuid) > before).then_some(())
    });
    fs::remove_dir(&obstacle).expect("our own");
    until("0");
    assert!(file.exists());
}

#[test]
fn every_flag_has_a_variable() {
    let scratch = Scratch::new("variables");
    let env = [("WATTRIBUTE_SOURCE", "demo"), ("WATTRIBUTE_WEB_TELEMETRY_PATH", "/m")];
    let env = env.map(|(name, value)| (name.to_string(), value.into())).to_vec();
    let exporter = Exporter::start(&scratch, Flags { env, ..Flags::default() }).expect("it starts");
    assert_eq!(exporter.get("/m", &[]).expect("an answer").status, 200);
    assert_eq!(exporter.get("/metrics", &[]).expect("an answer").status, 404);
}
