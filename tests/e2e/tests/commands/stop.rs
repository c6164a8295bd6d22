//! How the exporter stops: soon, with everything saved, whatever the driver does.

use std::time::{Duration, Instant};

use fake_nvml::{Effect, Fault, Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{Exporter, Flags, Scratch, eventually, readings};

/// Starts with two GPUs, stops after four seconds, and gives what the state says of each: energy, counter.
#[track_caller]
fn stopped(scenario: &Scenario, signal: Signal, name: &str) -> Vec<(u64, u64, u64)> {
    let scratch = Scratch::new(name);
    let (state_dir, delay) = (Some(scratch.path("state")), Some(Duration::from_secs(60)));
    let flags = Flags { state_dir, exposition_delay: delay, ..Flags::with_fake(&scratch, scenario) };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    std::thread::sleep(Duration::from_secs(4));
    let begin = Instant::now();
    exporter.signal(signal);
    let exit = exporter.wait();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}\n{}", begin.elapsed(), exit.stderr);
    assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
    let text = std::fs::read(scratch.path("state/state.json")).expect("a state");
    let state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let gpus = scenario.gpus.iter().enumerate();
    gpus.map(|(gpu, card)| {
        let book = |book: &str| state[book]["gpus"][&card.uuid]["energy"].as_u64().unwrap_or(0);
        let all = readings(&scratch.path("journal.jsonl"), gpu);
        let counter = state["gpus"][&card.uuid]["counter"].as_u64().expect("a counter");
        (
            book("visible") + book("hidden"),
            counter - all[0].mj,
            all[all.len().saturating_sub(2)].mj - all[0].mj,
        )
    })
    .collect()
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0), Gpu::numbered(1)]);
    scenario.loads.extend([Load::constant(1_000_000, 0, 50), Load::constant(1_000_001, 1, 50)]);
    scenario
}

#[track_caller]
fn check(scenario: &Scenario, signal: Signal, name: &str) {
    for (energy, counted, nearly_all) in stopped(scenario, signal, name) {
        assert_eq!(energy, counted);
        assert!(energy >= nearly_all && nearly_all > 0, "{energy} of at least {nearly_all} mJ");
    }
}

#[test]
fn sigterm_saves_what_was_not_yet_visible() {
    check(&scenario(), Signal::TERM, "stop-term");
}

#[test]
fn so_does_ctrl_c() {
    check(&scenario(), Signal::INT, "stop-int");
}

#[test]
fn a_gpu_that_hangs_does_not_keep_the_exporter() {
    let mut scenario = scenario();
    scenario.faults.push(Fault::new(1, 2.5, Effect::Hang { calls: vec![] }));
    check(&scenario, Signal::TERM, "stop-hang");
}

#[test]
fn a_gpu_that_hangs_from_the_start_does_not_keep_the_others_from_starting_nor_from_stopping() {
    let scratch = Scratch::new("hang-start");
    let mut scenario = scenario();
    scenario.faults.push(Fault::new(1, 0.0, Effect::Hang { calls: vec![] }));
    let mut exporter = Exporter::start(&scratch, Flags::with_fake(&scratch, &scenario)).expect("it starts");
    eventually(Duration::from_secs(5), "the other GPU is up", || {
        let scrape = exporter.scrape();
        let up = scrape.value("wattribute_gpu_up", &[("uuid", &scenario.gpus[0].uuid)]);
        (up == Some("1")).then_some(())
    });
    let begin = Instant::now();
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.wait().status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn clients_that_say_nothing_do_not_keep_the_exporter() {
    let scratch = Scratch::new("stop-clients");
    let mut exporter = Exporter::start(&scratch, Flags::with_fake(&scratch, &scenario())).expect("it starts");
    let silent: Vec<_> =
        (0..20).map(|_| std::net::TcpStream::connect(exporter.address()).expect("it listens")).collect();
    let begin = Instant::now();
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.wait().status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    drop(silent);
}
