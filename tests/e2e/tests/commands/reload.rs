//! Reloading the rules: all of a new set, or all of the old one.

use std::time::{Duration, Instant};

use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{
    Exporter, Flags, PATIENCE, Process, Running, Scrape, Scratch, at_best, covered, eventually, request,
    team_mj,
};

use crate::bad_rules;

const ENERGY: &str = "wattribute_team_energy_joules_total";
const DELAY: Duration = Duration::from_secs(2);

struct Setting {
    exporter: Exporter,
    _process: Running,
    scratch: Scratch,
}

/// An exporter with one GPU and one busy process that the rules give to team `one`.
fn begin(name: &str, others: &[&str]) -> Setting {
    let scratch = Scratch::new(name);
    let process = Process::named("worker").env("TEAM_B", "two").start();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(process.pid(), 0, 50));
    let flags = Flags {
        rules_files: vec![scratch.write("bad.yaml", &team("one"))],
        exposition_delay: Some(DELAY),
        others: others.iter().map(ToString::to_string).collect(),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    Setting { exporter, _process: process, scratch }
}

fn team(name: &str) -> String {
    format!("rules:\n  - name: {name}\n    match: ['comm=\"worker\"']\n    owner: {{team: {name}}}\n")
}

impl Setting {
    /// Waits until the metric says that the last reload succeeded (`1`) or not (`0`).
    #[track_caller]
    fn until_reload_is(&self, want: &str) {
        eventually(PATIENCE, "the metric tells of the reload", || {
            let scrape = self.exporter.scrape();
            (scrape.value("wattribute_rules_last_reload_successful", &[]) == Some(want)).then_some(())
        });
    }

    /// Waits until a team has more energy than now.
    #[track_caller]
    fn until_it_pays(&self, team: &str) {
        let before = team_mj(&self.exporter.scrape(), team, "");
        eventually(PATIENCE, "the team pays", || {
            (team_mj(&self.exporter.scrape(), team, "") > before).then_some(())
        });
    }

    /// After all that was still to be seen of earlier rules has been seen, a team has more, and no other has.
    #[track_caller]
    fn check_only_it_pays(&self, team: &str) {
        let others =
            |scrape: &Scrape| scrape.millijoules(ENERGY, &[]).unwrap_or(0) - team_mj(scrape, team, "");
        let before = self.until_accounts_come(DELAY + Duration::from_secs(3));
        let after = self.until_accounts_come(Duration::from_secs(2));
        assert!(team_mj(&after, team, "") > team_mj(&before, team, ""));
        assert_eq!(others(&after), others(&before), "somebody else pays");
    }

    /// The scrape in which the accounts have come so much further than now.
    #[track_caller]
    fn until_accounts_come(&self, further: Duration) -> Scrape {
        let come = |scrape: &Scrape| covered(scrape).values().sum::<f64>();
        let from = come(&self.exporter.scrape());
        eventually(PATIENCE, "the accounts get on", || {
            Some(self.exporter.scrape()).filter(|scrape| come(scrape) >= from + further.as_secs_f64())
        })
    }

    fn mended_at(&self) -> f64 {
        let scrape = self.exporter.scrape();
        let value = scrape.value("wattribute_rules_last_reload_success_timestamp_seconds", &[]);
        value.and_then(|value| value.parse().ok()).expect("a time")
    }
}

#[test]
fn a_bad_file_leaves_the_old_rules_and_a_mended_one_applies_from_then_on() {
    let setting = begin("reload", &[]);
    let Setting { exporter, scratch, .. } = &setting;
    setting.until_it_pays("one");
    setting.until_reload_is("1");
    let loaded = setting.mended_at();

    scratch.write("bad.yaml", &team("one").replace("match", "mtach"));
    exporter.signal(Signal::HUP);
    setting.until_reload_is("0");
    assert!(exporter.stderr().contains("bad.yaml:3"), "{}", exporter.stderr());
    assert_eq!(setting.mended_at(), loaded);
    let page = exporter.get("/", &[]).expect("a page").text();
    assert!(page.contains("bad.yaml:3"), "{page}");
    setting.check_only_it_pays("one");

    scratch.write("bad.yaml", &team("two"));
    exporter.signal(Signal::HUP);
    setting.until_reload_is("1");
    assert!(setting.mended_at() > loaded);
    setting.until_it_pays("two");
    setting.check_only_it_pays("two");
    // What team one had stays with it.
    assert!(team_mj(&exporter.scrape(), "one", "") > 0);
}

#[test]
fn every_bad_file_is_refused_within_two_seconds_and_http_says_why() {
    let setting = begin("reload-http", &["--web.enable-lifecycle"]);
    let (exporter, scratch) = (&setting.exporter, &setting.scratch);
    for bad_rules::Bad { text, words } in bad_rules::all() {
        scratch.write("bad.yaml", &text);
        at_best(Duration::from_secs(2), "it is refused", || {
            let begin = Instant::now();
            let answer = request("POST", exporter.address(), "/-/reload", &[]).expect("an answer");
            let took = begin.elapsed();
            assert_eq!(answer.status, 500, "{words:?}");
            let text = answer.text();
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
            took
        });
        setting.until_reload_is("0");
    }
    std::fs::remove_file(scratch.path("bad.yaml")).expect("it is there");
    assert_eq!(request("POST", exporter.address(), "/-/reload", &[]).expect("an answer").status, 500);
    setting.until_it_pays("one");
    scratch.write("bad.yaml", &team("two"));
    assert_eq!(request("POST", exporter.address(), "/-/reload", &[]).expect("an answer").status, 200);
    setting.until_reload_is("1");
    setting.until_it_pays("two");
    assert_eq!(exporter.get("/-/reload", &[]).expect("an answer").status, 405);
}

#[test]
fn new_rules_read_what_they_want_of_the_environment() {
    let setting = begin("reload-env", &[]);
    setting.until_it_pays("one");
    let rules =
        "rules:\n  - name: said\n    match: ['env_TEAM_B=~\".+\"']\n    owner: {team: \"${env_TEAM_B}\"}\n";
    setting.scratch.write("bad.yaml", rules);
    setting.exporter.signal(Signal::HUP);
    setting.until_it_pays("two");
}

#[test]
fn reloading_over_http_is_off_unless_asked_for() {
    let setting = begin("reload-off", &[]);
    let answer = request("POST", setting.exporter.address(), "/-/reload", &[]).expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("--web.enable-lifecycle"), "{}", answer.text());
}
