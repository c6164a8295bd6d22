//! `kill -9` two hundred times at arbitrary moments: what was once seen stays, and in the end nothing is missing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_nvml::{Gpu, Load, Scenario, Use, Wave};
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Process, Prometheus, Scratch, device_mj, eventually, readings,
};

const KILLS: u32 = 200;
const TEAM: &str = "wattribute_team_energy_joules_total";
const RULES: &str = r#"
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: said
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

/// Longer than Prometheus takes to see a new account, on a busy machine too.
const DELAY: Duration = Duration::from_millis(1500);

/// Lives from next to nothing to two exposition delays, in an order without a pattern; most end before anything that
/// was measured in them could be seen.
fn life(round: u32) -> Duration {
    let millis = if round % 10 == 9 { 3000 } else { round * 7919 % 500 };
    Duration::from_millis(millis.into())
}

#[test]
fn two_hundred_kills_lose_nothing_and_count_nothing_twice() {
    let scratch = Scratch::new("kills");
    let processes: Vec<_> =
        ["alpha", "beta", "gamma"].map(|team| Process::named("worker").env("TEAM", team).start()).into();
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    let wave = Use::Wave(Wave { percent: 80, period_s: 1.0.into(), duty: 0.5, phase_s: 0.0.into() });
    let works = [(0, Use::Constant(40)), (0, Use::Constant(30)), (1, wave)];
    scenario.loads = processes
        .iter()
        .zip(works)
        .map(|(process, (gpu, sm))| Load { sm, ..Load::constant(process.pid(), gpu, 0) })
        .collect();
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(DELAY),
        sample_interval: Some(Duration::from_millis(100)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let server = Prometheus::start(scratch.path("server"), &[exporter.address()], Duration::from_millis(250));
    let mut auditor = Auditor::default();
    meet(&mut auditor, &exporter, &server);
    exporter.kill9();
    exporter.restart().expect("it starts again");
    // By now there is a gap, and so an account of what was not observed.
    meet(&mut auditor, &exporter, &server);
    for round in 1..KILLS {
        let (begin, life) = (Instant::now(), life(round));
        while begin.elapsed() < life {
            auditor.scrape(&exporter);
        }
        exporter.kill9();
        exporter.restart().expect("it starts again");
    }
    auditor.watch(&exporter, Duration::from_secs(2));

    // All that the counters gained since the very first reading, to the millijoule.
    for (gpu, card) in scenario.gpus.iter().enumerate() {
        eventually(PATIENCE, "what is shown is a gain of the counter", || {
            let shown = device_mj(&auditor.scrape(&exporter), &card.uuid);
            let all = readings(&scratch.path("journal.jsonl"), gpu);
            let late = all.iter().rev().take_while(|one| one.t_us + 5_000_000 > scenario.now_us());
            late.into_iter().any(|one| one.mj - all[0].mj == shown).then_some(())
        });
    }
    check_increases(&server);
}

/// Waits until Prometheus knows every account that is shown.
#[track_caller]
fn meet(auditor: &mut Auditor, exporter: &Exporter, server: &Prometheus) {
    eventually(PATIENCE, "Prometheus knows every account", || {
        let shown = auditor.scrape(exporter).find(TEAM, &[]).len();
        (shown > 0 && server.query(TEAM).len() == shown).then_some(())
    });
}

/// What `increase()` makes of the whole run is what the counters gained since Prometheus first saw them, within 1 %; no
/// account was ever seen to fall.
#[track_caller]
fn check_increases(server: &Prometheus) {
    sleep(Duration::from_secs(1));
    let end = server.query("timestamp(wattribute_build_info)")[0].1;
    for by in ["uuid", "team"] {
        // The smallest is the first: nothing falls.
        let shown = server.query_at(&format!("sum by ({by}) ({TEAM} - min_over_time({TEAM}[1h]))"), end);
        let grown = server.query_at(&format!("sum by ({by}) (increase({TEAM}[1h]))"), end);
        assert_eq!(shown.len(), grown.len());
        for ((labels, shown), (_, grown)) in shown.iter().zip(&grown) {
            assert!((shown - grown).abs() <= shown * 0.01, "{labels:?}: {grown} J of {shown} J");
        }
    }
    let fallen = server.query_at(&format!("resets({TEAM}[1h]) > 0"), end);
    assert!(fallen.is_empty(), "{fallen:?}");
}
