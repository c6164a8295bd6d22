//! How the exporter stops: soon, with everything saved, whatever the driver does.

use std::time::{Duration, Instant};

use fake_nvml::{Effect, Fault, Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{Exporter, Flags, PATIENCE, Reading, Scratch, at_best, eventually, readings};

/// As soon as the design says.
const SOON: Duration = Duration::from_secs(2);
/// When a GPU begins to hang, in s: it has been read several times by then.
const HANGS_S: f64 = 10.0;

/// Sends a signal and waits for a clean end; gives how long that took.
#[track_caller]
fn stop(exporter: &mut Exporter, signal: Signal) -> Duration {
    let begin = Instant::now();
    exporter.signal(signal);
    let exit = exporter.wait();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
    begin.elapsed()
}

/// What is left of the readings of a GPU without its last ones, which may have come too late: the energy in mJ between
/// the first and the last. `None` while too few came; the first few may come at once, and say the same.
fn nearly_all(readings: &[Reading]) -> Option<u64> {
    let (first, last) = (readings.first()?, readings.iter().rev().nth(2)?);
    (last.mj > first.mj).then(|| last.mj - first.mj)
}

/// Starts with two GPUs, stops when each has been read until energy shows, and looks at what is saved. Gives how long
/// the stopping took.
#[track_caller]
fn stopped(scenario: &Scenario, signal: Signal, name: &str) -> Duration {
    let scratch = Scratch::new(name);
    let (state_dir, delay) = (Some(scratch.path("state")), Some(Duration::from_secs(60)));
    let flags = Flags { state_dir, exposition_delay: delay, ..Flags::with_fake(&scratch, scenario) };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let read = |gpu: usize| readings(&scratch.path("journal.jsonl"), gpu);
    let hangs_us = scenario.faults.first().map_or(0, |fault| fault.from_s.us() + 1_500_000);
    eventually(PATIENCE, "the GPUs are read", || {
        let is_read = [0, 1].iter().all(|gpu| nearly_all(&read(*gpu)).is_some());
        (is_read && scenario.now_us() > hangs_us).then_some(())
    });
    let took = stop(&mut exporter, signal);
    let text = std::fs::read(scratch.path("state/state.json")).expect("a state");
    let state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    for (gpu, card) in scenario.gpus.iter().enumerate() {
        let book = |book: &str| state[book]["gpus"][&card.uuid]["energy"].as_u64().unwrap_or(0);
        let counter = state["gpus"][&card.uuid]["counter"].as_u64().expect("a counter");
        let (all, energy) = (read(gpu), book("visible") + book("hidden"));
        assert_eq!(energy, counter - all[0].mj);
        let nearly_all = nearly_all(&all).expect("it was waited for");
        assert!(energy >= nearly_all, "{energy} of at least {nearly_all} mJ");
    }
    took
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0), Gpu::numbered(1)]);
    scenario.loads.extend([Load::constant(1_000_000, 0, 50), Load::constant(1_000_001, 1, 50)]);
    scenario
}

#[test]
fn sigterm_saves_what_was_not_yet_visible() {
    at_best(SOON, "it stops", || stopped(&scenario(), Signal::TERM, "stop-term"));
}

#[test]
fn so_does_ctrl_c() {
    at_best(SOON, "it stops", || stopped(&scenario(), Signal::INT, "stop-int"));
}

#[test]
fn a_gpu_that_hangs_does_not_keep_the_exporter() {
    at_best(SOON, "it stops", || {
        let mut scenario = scenario();
        scenario.faults.push(Fault::new(1, HANGS_S, Effect::Hang { calls: vec![] }));
        stopped(&scenario, Signal::TERM, "stop-hang")
    });
}

#[test]
fn a_gpu_that_hangs_from_the_start_does_not_keep_the_others_from_starting_nor_from_stopping() {
    let scratch = Scratch::new("hang-start");
    let mut scenario = scenario();
    scenario.faults.push(Fault::new(1, 0.0, Effect::Hang { calls: vec![] }));
    at_best(SOON, "it stops", || {
        let flags = Flags::with_fake(&scratch, &scenario);
        let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
        eventually(PATIENCE, "the other GPU is up", || {
            let scrape = exporter.scrape();
            let up = scrape.value("wattribute_gpu_up", &[("uuid", &scenario.gpus[0].uuid)]);
            (up == Some("1")).then_some(())
        });
        stop(&mut exporter, Signal::TERM)
    });
}

#[test]
fn clients_that_say_nothing_do_not_keep_the_exporter() {
    let scratch = Scratch::new("stop-clients");
    at_best(SOON, "it stops", || {
        let flags = Flags::with_fake(&scratch, &scenario());
        let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
        let connect = |_| std::net::TcpStream::connect(exporter.address()).expect("it listens");
        let silent: Vec<_> = (0..20).map(connect).collect();
        let took = stop(&mut exporter, Signal::TERM);
        drop(silent);
        took
    });
}
