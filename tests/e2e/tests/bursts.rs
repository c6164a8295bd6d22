//! Bursts of 200 ms, shorter than the time between two samples: none is missed, and who bursts pays for it. One run
//! that all the tests of this file look at.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario, Use, Wave};
use wattribute_e2e::{
    Auditor, Exporter, Flags, Process, Reading, Scrape, Scratch, TEAM_OF_ENVIRONMENT, device_mj, eventually,
    readings,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds of each GPU that are looked at, at least.
const LASTS_US: u64 = 40_000_000;

struct Run {
    scenario: Scenario,
    readings: Vec<Vec<Reading>>,
    /// a and b.
    pids: [u32; 2],
    last: Scrape,
}

static RUN: LazyLock<Run> = LazyLock::new(run);

/// 90 % for 200 ms in each period.
fn burst(pid: u32, gpu: usize, (period_s, phase_s): (f64, f64)) -> Load {
    let wave = Wave { percent: 90, period_s: period_s.into(), duty: 0.2 / period_s, phase_s: phase_s.into() };
    Load { sm: Use::Wave(wave), ..Load::constant(pid, gpu, 0) }
}

fn run() -> Run {
    let scratch = Scratch::new("bursts");
    let [a, b] = ["a", "b"].map(|team| Process::named("job").env("TEAM", team).start());
    let pids = [a.pid(), b.pid()];
    let mut scenario = Scenario::starting_now((0..3).map(Gpu::numbered).collect());
    scenario.loads = vec![
        Load::constant(pids[0], 0, 10),
        burst(pids[1], 0, (1.0, 0.3)),
        burst(pids[0], 1, (2.0, 0.0)),
        burst(pids[1], 1, (2.0, 1.0)),
        burst(pids[1], 2, (3.7, 0.5)),
    ];
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", TEAM_OF_ENVIRONMENT)],
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    let read = || (0..3).map(|gpu| readings(&scratch.path("journal.jsonl"), gpu)).collect::<Vec<_>>();
    let last = eventually(PATIENCE, "forty seconds of bursts", || {
        sleep(Duration::from_millis(500));
        let (scrape, readings) = (auditor.scrape(&exporter), read());
        let is_long = |gpu: usize| {
            let span = span(&readings[gpu], device_mj(&scrape, &scenario.gpus[gpu].uuid));
            span.is_some_and(|(first, shown)| shown.t_us - first.t_us > LASTS_US)
        };
        (0..3).all(is_long).then_some(scrape)
    });
    Run { readings: read(), scenario, pids, last }
}

/// The first reading, and the one that shows this much more.
fn span(all: &[Reading], shown_mj: u64) -> Option<(Reading, Reading)> {
    let first = *all.first()?;
    Some((first, *all.iter().find(|reading| reading.mj - first.mj == shown_mj)?))
}

/// The active energy of each team is what its process drew, within this many per cent of what all drew.
#[track_caller]
fn check(gpu: usize, percent: u64) {
    let uuid = &RUN.scenario.gpus[gpu].uuid;
    let shown = device_mj(&RUN.last, uuid);
    let (first, shown) = span(&RUN.readings[gpu], shown).unwrap_or_else(|| panic!("gpu {gpu}: no span"));
    let truth = RUN.scenario.truth(gpu, first.t_us, shown.t_us);
    let all: u64 = truth.active_nj.values().sum::<u64>() / 1_000_000;
    for (team, pid) in ["a", "b"].iter().zip(RUN.pids) {
        let labels = [("uuid", uuid.as_str()), ("team", team), ("kind", "active")];
        let has = RUN.last.millijoules("wattribute_team_energy_joules_total", &labels).unwrap_or(0);
        let due = truth.active_nj.get(&pid).unwrap_or(&0) / 1_000_000;
        assert!(has.abs_diff(due) * 100 <= all * percent, "gpu {gpu}, {team}: {has} mJ, not {due}, of {all}");
    }
}

#[test]
fn a_burst_in_each_second_beside_a_steady_process_pays_for_itself() {
    check(0, 10);
}

#[test]
fn bursts_every_two_seconds_of_two_processes_in_turn_are_told_apart() {
    check(1, 10);
}

#[test]
fn a_burst_now_and_then_is_never_missed() {
    check(2, 10);
}
