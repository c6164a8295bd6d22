//! GPUs in MIG mode: an H100 that says how active its instances are, an A100 that does not, one that is divided anew
//! while its jobs come and go, one on which MIG is switched on, and one with a process on two instances. One run that
//! all the tests of this file look at.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Duration;

use fake_nvml::{Gpu, Load, MigInstance, Scenario, Seconds};
use rustix::process::Signal;
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Scrape, Scratch, device_mj, eventually};

const RULES: &str = r#"
idle_watts: {"NVIDIA .*": 70}
rules:
  - name: by instance
    match: ['mig_instance=~"MIG-4-(?P<part>.*)"']
    owner: {team: "part-${part}"}
  - name: said by the process
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

/// When GPU 2 is divided anew, and GPU 3 at all, in s.
const ANEW: f64 = 12.0;
const PATIENCE: Duration = Duration::from_secs(90);
const ENERGY: &str = "wattribute_team_energy_joules_total";

const H100: usize = 0;
const A100: usize = 1;
const REDIVIDED: usize = 2;
const SWITCHED: usize = 3;
const TWICE: usize = 4;

/// What the run left behind.
struct Run {
    uuids: Vec<String>,
    scrapes: usize,
    last: Scrape,
    log: String,
}

static RUN: LazyLock<Run> = LazyLock::new(run);

/// An instance of GPU `gpu`, with 10 GiB a slice.
fn instance(gpu: usize, number: u32, slices: u32) -> MigInstance {
    MigInstance {
        uuid: format!("MIG-{gpu}-{number}"),
        gpu_instance: number,
        compute_instance: 0,
        memory_mib: u64::from(slices) * 10 * 1024,
        slices,
        from_s: Seconds::default(),
        until_s: None,
    }
}

fn between(instance: MigInstance, from_s: f64, until_s: Option<f64>) -> MigInstance {
    MigInstance { from_s: from_s.into(), until_s: until_s.map(Seconds::from), ..instance }
}

fn gpus() -> Vec<Gpu> {
    let gpu = |number: u32, mig: Vec<MigInstance>| Gpu { mig, ..Gpu::numbered(number) };
    let halves = |number| vec![instance(number, 1, 3), instance(number, 2, 2), instance(number, 5, 1)];
    vec![
        gpu(0, halves(H100)),
        Gpu { gpm: false, model: "NVIDIA A100-SXM4-80GB".into(), ..gpu(1, halves(A100)) },
        gpu(
            2,
            vec![
                between(instance(REDIVIDED, 1, 3), 0.0, Some(ANEW)),
                between(instance(REDIVIDED, 2, 3), 0.0, Some(ANEW)),
                between(instance(REDIVIDED, 1, 4), ANEW + 0.5, None),
            ],
        ),
        Gpu { mig_from_s: ANEW.into(), ..gpu(3, vec![instance(SWITCHED, 1, 7)]) },
        gpu(4, vec![instance(TWICE, 1, 3), instance(TWICE, 2, 4)]),
    ]
}

fn on(mig: usize, memory_gib: u64, load: Load) -> Load {
    Load { mig: Some(mig), memory_mib: Some(memory_gib * 1024), ..load }
}

/// The loads of processes a and b.
fn loads(a: u32, b: u32) -> Vec<Load> {
    let until = |load: Load, end: f64| load.between(0.0, end);
    let from = |load: Load, start: f64| Load { from_s: start.into(), ..load };
    vec![
        on(0, 1, Load::constant(a, H100, 30)),
        on(1, 15, Load::constant(b, H100, 10)),
        on(0, 15, Load::constant(a, A100, 10)),
        on(1, 5, Load::constant(b, A100, 20)),
        on(0, 1, until(Load::constant(a, REDIVIDED, 40), ANEW - 0.5)),
        on(2, 1, from(Load::constant(b, REDIVIDED, 50), ANEW + 1.5)),
        until(Load::constant(a, SWITCHED, 40), ANEW - 1.0),
        on(0, 1, from(Load::constant(b, SWITCHED, 60), ANEW + 1.0)),
        on(0, 1, Load::constant(a, TWICE, 30)),
        on(1, 1, Load::constant(a, TWICE, 10)),
    ]
}

fn run() -> Run {
    let scratch = Scratch::new("mig");
    let [a, b] = ["a", "b"].map(|team| Process::named("job").env("TEAM", team).start());
    let scenario = Scenario { loads: loads(a.pid(), b.pid()), ..Scenario::starting_now(gpus()) };
    let uuids: Vec<String> = scenario.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    // Until b has had GPU 2 and 3 for ten seconds and more.
    let last = eventually(PATIENCE, "b works on what was divided anew", || {
        sleep(Duration::from_millis(300));
        let scrape = auditor.scrape(&exporter);
        let works = [REDIVIDED, SWITCHED].map(|gpu| energy(&scrape, &uuids[gpu], "b", "active"));
        works.iter().all(|mj| *mj > 3_500_000).then_some(scrape)
    });
    exporter.signal(Signal::TERM);
    assert!(exporter.wait().status.success(), "{}", exporter.stderr());
    Run { uuids, scrapes: auditor.scrapes, last, log: exporter.stderr() }
}

fn energy(scrape: &Scrape, uuid: &str, team: &str, kind: &str) -> u64 {
    scrape.millijoules(ENERGY, &[("uuid", uuid), ("team", team), ("kind", kind)]).unwrap_or(0)
}

/// What each team has of a GPU's energy of a kind, in mJ.
fn teams(gpu: usize, kind: &str) -> BTreeMap<String, u64> {
    let mut teams = BTreeMap::new();
    for sample in RUN.last.find(ENERGY, &[("uuid", &RUN.uuids[gpu]), ("kind", kind)]) {
        *teams.entry(sample.labels["team"].clone()).or_default() += sample.millijoules().expect("whole mJ");
    }
    teams.retain(|_, mj| *mj > 0);
    teams
}

/// Teams share it in these proportions, within one per cent of the whole and one refresh of the counter.
#[track_caller]
fn check(gpu: usize, kind: &str, want: &[(&str, u64)]) {
    let got = teams(gpu, kind);
    let (all, parts): (u64, u64) = (got.values().sum(), want.iter().map(|(_, part)| part).sum());
    for (team, part) in want {
        let (has, due) = (got.get(*team).copied().unwrap_or(0), all * part / parts);
        assert!(has.abs_diff(due) <= all / 100 + 40_000, "{team} has {has} of {all} mJ, not {due}: {got:?}");
    }
    let others: u64 =
        got.iter().filter(|(team, _)| want.iter().all(|(own, _)| own != team)).map(|(_, mj)| mj).sum();
    assert!(others <= all / 100 + 40_000, "{got:?}");
}

#[test]
fn in_every_scrape_the_teams_are_the_device_also_while_it_is_divided_anew() {
    // The auditor has looked at each of them.
    assert!(RUN.scrapes >= 30, "{} scrapes", RUN.scrapes);
    assert!(!RUN.log.contains("panic"), "{}", RUN.log);
}

#[test]
fn every_share_of_a_divided_gpu_is_an_estimate() {
    for gpu in [H100, A100, TWICE] {
        let labels = [("uuid", RUN.uuids[gpu].as_str())];
        let estimated = RUN.last.millijoules("wattribute_team_energy_estimated_joules_total", &labels);
        assert_eq!(estimated, Some(device_mj(&RUN.last, &RUN.uuids[gpu])), "gpu {gpu}");
        let basis = [labels[0], ("basis", "mig")];
        assert_eq!(RUN.last.value("wattribute_gpu_split_basis", &basis), Some("1"), "gpu {gpu}");
    }
}

/// H07: the activity of an instance is paid by its own processes, whatever memory others hold.
#[test]
fn a_process_pays_for_the_activity_of_its_own_instance() {
    check(H100, "active", &[("a", 30), ("b", 10)]);
}

#[test]
fn without_activity_instances_pay_by_memory_and_slices() {
    check(A100, "active", &[("a", 15), ("b", 5)]);
}

#[test]
fn idle_energy_goes_by_slices_and_the_slices_that_nobody_uses_are_unallocated() {
    check(H100, "idle", &[("a", 3), ("b", 2), ("unallocated", 2)]);
    check(A100, "idle", &[("a", 3), ("b", 2), ("unallocated", 2)]);
}

#[test]
fn held_time_goes_by_slices() {
    let held = |team| {
        let labels = [("uuid", RUN.uuids[H100].as_str()), ("team", team)];
        let held = RUN.last.find("wattribute_team_gpu_held_seconds_total", &labels);
        held.iter().map(|sample| sample.number()).sum::<f64>()
    };
    let (a, b, nobody) = (held("a"), held("b"), held("unallocated"));
    let all = a + b + nobody;
    assert!((a / all - 3.0 / 7.0).abs() < 0.02 && (b / all - 2.0 / 7.0).abs() < 0.02, "{a} {b} {nobody}");
}

#[test]
fn a_process_on_two_instances_is_two_and_each_has_its_verdict() {
    check(TWICE, "active", &[("part-1", 30), ("part-2", 10)]);
    check(TWICE, "idle", &[("part-1", 3), ("part-2", 4)]);
}

#[test]
fn who_worked_before_and_who_works_after_a_gpu_is_divided_anew_pay_for_their_own() {
    for gpu in [REDIVIDED, SWITCHED] {
        let active = teams(gpu, "active");
        let (all, lost): (u64, u64) =
            (active.values().sum(), active.get("unattributed").copied().unwrap_or(0));
        // a has drawn 252 W for ten seconds and more.
        assert!(active["a"] > 1_500_000 && active["b"] > 3_500_000, "gpu {gpu}: {active:?}");
        assert!(lost * 20 <= all, "gpu {gpu}: {active:?}");
        let up = RUN.last.value("wattribute_gpu_up", &[("uuid", &RUN.uuids[gpu])]);
        assert_eq!(up, Some("1"), "gpu {gpu}");
    }
}
