//! What people will read: `increase()` in a real Prometheus, against the truth. The windows are aligned to scrapes,
//! and the device counter says which moment of the scenario a scrape shows, so that nothing is left to guess.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario, Use, Wave};
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Process, Prometheus, Reading, Running, Scratch, eventually, readings,
};

const RULES: &str = r#"
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: said
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

/// How long a window is at most, in s.
const WINDOW: f64 = 104.0;
const SECOND: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_secs(4);

/// The teams' processes and what they do.
struct Cast {
    scenario: Scenario,
    teams: BTreeMap<u32, String>,
    processes: Vec<Running>,
}

impl Cast {
    fn on(gpus: u32) -> Self {
        let scenario = Scenario::starting_now((0..gpus).map(Gpu::numbered).collect());
        Self { scenario, teams: BTreeMap::new(), processes: vec![] }
    }

    /// A process of a team that does this from now on (a little later, so that the driver knows by then).
    fn enter(&mut self, team: &str, gpu: usize, sm: Use) -> u32 {
        let process = Process::named("worker").env("TEAM", team).start();
        let pid = process.pid();
        self.processes.push(process);
        self.teams.insert(pid, team.into());
        let from_s = fake_nvml::Seconds::from_us(self.scenario.now_us() + 400_000);
        self.scenario.loads.push(Load { sm, from_s, ..Load::constant(pid, gpu, 0) });
        pid
    }

    /// Leaves the GPU, a little later.
    fn leave(&mut self, pid: u32) {
        let until = fake_nvml::Seconds::from_us(self.scenario.now_us() + 400_000);
        let own = self.scenario.loads.iter_mut().filter(|load| load.pid == pid);
        own.for_each(|load| load.until_s = Some(until));
    }

    fn save(&self, scratch: &Scratch) {
        self.scenario.save(&scratch.path("scenario.yaml")).expect("an edit of the future");
    }

    /// The true energy of each team on a GPU in J: its work, and the idle energy while it was there, of which all
    /// who are there have as much, since all have the same memory.
    fn truth(&self, gpu: usize, span: (Reading, Reading)) -> BTreeMap<String, f64> {
        let (from, to) = (span.0.t_us, span.1.t_us);
        let mut teams: BTreeMap<String, f64> = BTreeMap::new();
        for (pid, nj) in self.scenario.truth(gpu, from, to).active_nj {
            *teams.entry(self.teams[&pid].clone()).or_default() += float(nj) / 1e9;
        }
        const STEP_US: u64 = 10_000;
        let here: Vec<&Load> = self.scenario.loads.iter().filter(|load| load.gpus.contains(&gpu)).collect();
        for t_us in (from..to).step_by(10_000) {
            let is_there = |load: &&&Load| {
                load.from_s.us() <= t_us && load.until_s.is_none_or(|until| t_us < until.us())
            };
            let there: Vec<&str> =
                here.iter().filter(is_there).map(|load| self.teams[&load.pid].as_str()).collect();
            for team in &there {
                *teams.entry((*team).into()).or_default() += 70.0 * float(STEP_US) / 1e6 / there.len() as f64;
            }
        }
        teams
    }
}

fn wave(percent: u32) -> Use {
    Use::Wave(Wave { percent, period_s: 1.0.into(), duty: 0.5, phase_s: 0.0.into() })
}

#[expect(clippy::cast_precision_loss, reason = "joules to compare within a percent")]
fn float(whole: u64) -> f64 {
    whole as f64
}

#[track_caller]
fn check_near(what: &str, got: f64, want: f64) {
    assert!((got - want).abs() <= want * 0.01, "{what}: {got:.1} J, and the truth is {want:.1} J");
}

/// When the last scrape was, Unix time in s.
#[track_caller]
fn last_scrape(prometheus: &Prometheus) -> f64 {
    // None when one has just failed, for lack of time.
    let last = || prometheus.query("timestamp(wattribute_build_info)").first().map(|(_, time)| *time);
    eventually(PATIENCE, "there is a last scrape", last)
}

/// Values by a label.
fn by(label: &str, samples: Vec<(wattribute_e2e::Labels, f64)>) -> BTreeMap<String, f64> {
    let own = |labels: &wattribute_e2e::Labels| labels.get(label).cloned().unwrap_or_default();
    samples.into_iter().map(|(labels, value)| (own(&labels), value)).collect()
}

/// The reading of a GPU that the device counter showed at a time.
#[track_caller]
fn shown_at(prometheus: &Prometheus, card: &Gpu, all: &[Reading], unix_s: f64) -> Reading {
    let query = format!("wattribute_gpu_energy_joules_total{{uuid=\"{}\"}}", card.uuid);
    let joules = prometheus.query_at(&query, unix_s)[0].1;
    let found = all.iter().find(|reading| (float(reading.mj - all[0].mj) / 1e3 - joules).abs() < 0.000_5);
    *found.unwrap_or_else(|| panic!("{}: no two readings are {joules} J apart", card.uuid))
}

/// A window from one scrape to another, Unix times in s: otherwise `increase()` would guess up to a second at its
/// beginning, which is one per cent.
#[derive(Clone, Copy)]
struct Window {
    from: f64,
    to: f64,
}

impl Window {
    /// The longest one that ends with the last scrape, and how many scrapes there are in it.
    fn up_to_now(prometheus: &Prometheus) -> (Self, usize) {
        let to = last_scrape(prometheus);
        let query = "timestamp(wattribute_build_info)";
        let step = Duration::from_millis(250);
        let points = prometheus.query_range(query, (to - WINDOW, to), step).swap_remove(0).1;
        let mut times: Vec<f64> = points.into_iter().map(|(_, time)| time).collect();
        times.dedup();
        times.retain(|time| *time >= to - WINDOW);
        (Self { from: times[0], to }, times.len())
    }

    /// The increase of every team's energy on a GPU, in J.
    fn increases(self, prometheus: &Prometheus, uuid: &str) -> BTreeMap<String, f64> {
        let millis = Duration::from_secs_f64(self.to - self.from).as_millis() + 2;
        let series = format!("wattribute_team_energy_joules_total{{uuid=\"{uuid}\"}}");
        let query = format!("sum by (team) (increase({series}[{millis}ms]))");
        by("team", prometheus.query_at(&query, self.to))
    }
}

#[test]
fn over_a_window_of_104_scrapes_each_team_has_its_truth_also_if_born_in_it_whoever_scrapes() {
    let scratch = Scratch::new("window");
    let mut cast = Cast::on(2);
    cast.enter("steady", 0, Use::Constant(40));
    cast.enter("steady", 1, Use::Constant(25));
    cast.enter("wavy", 1, wave(60));
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(DELAY),
        ..Flags::with_fake(&scratch, &cast.scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let servers =
        ["one", "two"].map(|name| Prometheus::start(scratch.path(name), &[exporter.address()], SECOND));
    sleep(Duration::from_secs(45));
    let short = cast.enter("born and gone", 0, Use::Constant(30));
    cast.enter("born", 1, Use::Constant(15));
    cast.save(&scratch);
    sleep(Duration::from_secs(40));
    cast.leave(short);
    cast.save(&scratch);
    sleep(Duration::from_secs(26));
    for server in &servers {
        let (window, scrapes) = Window::up_to_now(server);
        assert!(window.to - window.from > WINDOW - 4.0 && scrapes > 60, "{scrapes} scrapes");
        for (gpu, card) in cast.scenario.gpus.iter().enumerate() {
            let all = readings(&scratch.path("journal.jsonl"), gpu);
            let at = |unix_s| shown_at(server, card, &all, unix_s);
            let truth = cast.truth(gpu, (at(window.from), at(window.to)));
            let got = window.increases(server, &card.uuid);
            assert!(truth.len() >= 2, "{truth:?}");
            for (team, joules) in truth {
                check_near(&format!("gpu {gpu}, {team}"), got[&team], joules);
            }
        }
    }
}

#[test]
fn across_kill_9_nothing_falls_the_gap_is_unobserved_and_the_rest_is_true() {
    let scratch = Scratch::new("kill9");
    let mut cast = Cast::on(2);
    cast.enter("alpha", 0, Use::Constant(40));
    cast.enter("beta", 0, Use::Constant(30));
    cast.enter("gamma", 1, wave(80));
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        state_dir: Some(scratch.path("state")),
        // Prometheus must be there before there is energy to be seen.
        exposition_delay: Some(Duration::from_secs(12)),
        ..Flags::with_fake(&scratch, &cast.scenario)
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let server = Prometheus::start(scratch.path("one"), &[exporter.address()], SECOND);
    let mut auditor = Auditor::default();
    auditor.watch(&exporter, Duration::from_secs(50));
    exporter.kill9();
    let (killed_us, state) = (cast.scenario.now_us(), std::fs::read(scratch.path("state/state.json")));
    sleep(Duration::from_secs(6));
    exporter.restart().expect("it starts again");
    auditor.watch(&exporter, Duration::from_secs(52));

    let end = last_scrape(&server);
    let state: serde_json::Value = serde_json::from_slice(&state.expect("a state")).expect("JSON");
    for (gpu, card) in cast.scenario.gpus.iter().enumerate() {
        let all = readings(&scratch.path("journal.jsonl"), gpu);
        let saved_mj = state["gpus"][&card.uuid]["counter"].as_u64().expect("mJ");
        let saved = *all.iter().find(|reading| reading.mj == saved_mj).expect("a reading");
        let again = *all.iter().find(|reading| reading.t_us > killed_us).expect("a reading");
        let last = shown_at(&server, card, &all, end);
        let got = increases_since_birth(&server, &card.uuid, end);
        check_near("the gap", got["unobserved"], float(again.mj - saved.mj) / 1e3);
        check_near("the GPU", got.values().sum(), float(last.mj - all[0].mj) / 1e3);
        let before = cast.truth(gpu, (all[0], saved));
        let after = cast.truth(gpu, (again, last));
        for (team, joules) in before {
            check_near(&format!("gpu {gpu}, {team}"), got[&team], joules + after[&team]);
        }
        let exact = exporter.scrape().millijoules(
            "wattribute_team_energy_joules_total",
            &[("uuid", &card.uuid), ("team", "unobserved")],
        );
        assert_eq!(exact, Some(again.mj - saved.mj), "gpu {gpu}: the gap to the millijoule");
    }
    check_no_resets(&server, end);
}

/// As [`increases`], over all the time there is.
fn increases_since_birth(prometheus: &Prometheus, uuid: &str, unix_s: f64) -> BTreeMap<String, f64> {
    let query =
        format!("sum by (team) (increase(wattribute_team_energy_joules_total{{uuid=\"{uuid}\"}}[10m]))");
    by("team", prometheus.query_at(&query, unix_s))
}

/// No account was ever seen to fall. Counts of the calls and failures of one run begin anew with each.
#[track_caller]
fn check_no_resets(prometheus: &Prometheus, unix_s: f64) {
    let names = r#"{__name__=~"wattribute_.+_total",__name__!~"wattribute_(nvml|identify)_.+"}"#;
    let series = by("__name__", prometheus.query_at(&format!("count by (__name__) ({names})"), unix_s));
    let want = ["gpu_energy", "team_energy", "team_energy_estimated", "process_energy", "rule_energy"];
    let want = want.map(|stem| format!("wattribute_{stem}_joules_total"));
    let seen: BTreeSet<&String> = series.keys().collect();
    assert!(want.iter().all(|name| seen.contains(name)), "{seen:?}");
    for name in seen {
        let fallen = prometheus.query_at(&format!("resets({name}[10m]) > 0"), unix_s);
        assert!(fallen.is_empty(), "{name}: {fallen:?}");
    }
}
