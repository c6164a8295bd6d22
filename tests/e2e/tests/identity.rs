//! Who pays: real processes, told apart by user, arguments, environment and parents; and what nobody may ever read
//! in what the exporter says.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::{Pid, Signal, kill_process};
use wattribute_e2e::{
    Auditor, Exporter, Flags, Format, PATIENCE, Process, Scrape, Scratch, eventually, gunzip, require,
    team_mj,
};

/// A program and its child, of one user; both end with this value.
struct Family {
    parent: Child,
    child: u32,
}

impl Family {
    /// A shell of this user with this environment, and its child, which has none and may be another user's.
    #[track_caller]
    fn start((parent, child): (u32, u32), env: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("/bin/sh");
        let switch =
            if parent == child { String::new() } else { format!("setpriv --reuid {child} --clear-groups") };
        let script = format!("{switch} env -i sleep 1000 & echo $!; wait");
        shell.args(["-c", &script]).env_clear().envs(env.iter().copied());
        shell.env("PATH", "/usr/bin:/bin").uid(parent).gid(parent).current_dir("/");
        let mut parent = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut line = String::new();
        let out = parent.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let child = line.trim().parse().expect("a pid");
        let family = Self { parent, child };
        eventually(PATIENCE, "the child sleeps", || {
            let comm = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (comm.trim() == "sleep").then_some(())
        });
        family
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let child = i32::try_from(self.child).ok().and_then(Pid::from_raw);
        // Either call fails only for a process that has already gone.
        child.map(|pid| kill_process(pid, Signal::KILL).ok());
        self.parent.kill().ok();
        self.parent.wait().ok();
    }
}

const RULES: &str = r#"
labels: [team, project]
rules:
  - name: by argument
    match: ['cmdline=~".*--account=(?P<account>[a-z]+).*"']
    owner: {team: "arg-${account}"}
  - name: by variable
    match: ['env_WATT_TEAM=~".+"']
    owner: {team: "env-${env_WATT_TEAM}"}
  - name: by the parent's variable
    match: ['ancestor_env_WATT_COURSE=~"(?P<course>[a-z]+)"', 'comm="sleep"']
    owner: {team: "course-${course}"}
  - name: by name
    match: ['comm="named-worker"']
    owner: {team: by-name}
  - name: by program
    match: ['exe=~".*/odd-program"']
    owner: {team: by-exe}
  - name: by user
    match: ['uid=~"3100[0-9]"']
    owner: {team: "user-${uid}", project: "group-${gid}"}
"#;

#[test]
fn energy_lands_with_the_team_of_the_users_arguments_variables_and_parents() {
    let scratch = Scratch::new("identity");
    let idle = |name| Process::named(name);
    let own = [
        ("user-31001", idle("python3").user(31_001, 31_077).start()),
        ("user-31002", idle("python3").user(31_002, 31_077).start()),
        ("arg-astro", idle("python3").args(&["train.py", "--account=astro"]).start()),
        ("env-vision", idle("python3").env("WATT_TEAM", "vision").start()),
        ("by-name", idle("named-worker").argv0("something else").start()),
        ("by-exe", idle("odd-program").argv0("ordinary").start()),
        ("unattributed", idle("stranger").start()),
    ];
    let family = Family::start((31_003, 31_003), &[("WATT_COURSE", "optics")]);
    // A parent of another user has no say.
    let _setpriv = require("setpriv");
    let orphan = Family::start((0, 31_004), &[("WATT_COURSE", "optics")]);
    let mut pids: BTreeMap<&str, u32> = own.iter().map(|(team, process)| (*team, process.pid())).collect();
    pids.extend([("course-optics", family.child), ("user-31004", orphan.child)]);
    // Each is alone on its GPU, so that a GPU has one team.
    let numbers = (0..).take(pids.len());
    let mut scenario = Scenario::starting_now(numbers.map(Gpu::numbered).collect());
    scenario.loads = pids.values().enumerate().map(|(gpu, pid)| Load::constant(*pid, gpu, 50)).collect();
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(6)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let all_pay = |scrape: &Scrape| {
        let mut payers = scenario.gpus.iter().zip(pids.keys());
        payers.all(|(gpu, team)| team_mj(scrape, team, &gpu.uuid) > 500_000)
    };
    let scrape = Auditor::default().until(&exporter, "all teams pay", all_pay);
    for (gpu, (team, pid)) in scenario.gpus.iter().zip(&pids) {
        let samples = scrape.find("wattribute_team_energy_joules_total", &[("uuid", &gpu.uuid)]);
        let payers: Vec<(&str, f64)> = samples
            .iter()
            .map(|sample| (sample.labels["team"].as_str(), sample.number()))
            .filter(|(_, joules)| *joules > 0.0)
            .collect();
        assert!(payers.iter().all(|(payer, _)| payer == team), "{team}, pid {pid}: {payers:?}");
    }
    let project = [("team", "user-31001"), ("project", "group-31077"), ("kind", "active")];
    assert_eq!(scrape.find("wattribute_team_energy_joules_total", &project).len(), 1);
    let evidence = |rule, evidence| {
        let labels = [("rule", rule), ("evidence", evidence)];
        scrape.millijoules("wattribute_rule_energy_joules_total", &labels).unwrap_or(0)
    };
    assert!(evidence("by user", "kernel") > 0 && evidence("by variable", "declared") > 0);
    assert_eq!(evidence("by variable", "kernel"), 0);
    drop(own);
}

#[test]
fn an_exec_is_another_program_for_the_same_process() {
    let scratch = Scratch::new("exec");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read line; exec /bin/sleep 1000"]).stdin(Stdio::piped());
    let mut process = shell.spawn().expect("a shell");
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(process.id(), 0, 50));
    let rules = "rules:\n  - name: sh\n    match: ['comm=\"sh\"']\n    owner: {team: shell}\n  - name: sleep\n    match: ['comm=\"sleep\"']\n    owner: {team: sleeper}\n";
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", rules)],
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    let pays = |team: &'static str| move |scrape: &Scrape| team_mj(scrape, team, "") > 0;
    auditor.until(&exporter, "the shell pays", pays("shell"));
    drop(process.stdin.take());
    // Facts are read again every 30 s.
    auditor.until(&exporter, "sleep pays", pays("sleeper"));
    process.kill().expect("it runs");
    process.wait().expect("it ends");
}

/// Everything the exporter says and keeps.
fn all_it_says(exporter: &Exporter, scratch: &Scratch) -> Vec<(String, String)> {
    let get = |path: &str, headers: &[(&str, &str)]| exporter.get(path, headers).expect("an answer");
    let zipped = get("/metrics", &[("Accept-Encoding", "gzip")]);
    let mut said = vec![
        ("metrics".into(), get("/metrics", &[]).text()),
        ("OpenMetrics".into(), get("/metrics", &[("Accept", Format::OpenMetrics.content_type())]).text()),
        ("gzip".into(), String::from_utf8_lossy(&gunzip(&zipped.body)).into_owned()),
        ("log".into(), exporter.stderr()),
    ];
    for path in ["/", "/-/ready", "/-/healthy", "/api/v1/processes", "/nowhere"] {
        said.push((path.into(), get(path, &[]).text()));
    }
    // Whatever else it keeps: a test that records a capture has it written into one of these.
    for folder in ["state", "capture"].map(|name| scratch.path(name)).iter().filter(|path| path.exists()) {
        said.extend(files(folder));
    }
    said
}

/// What the processes API says of single processes: with the matchers of the rules, as they are written.
fn all_it_explains(exporter: &Exporter, pids: &[u32]) -> Vec<(String, String)> {
    let ask = |pid: &u32| {
        let path = format!("/api/v1/processes?pid={pid}");
        let answer = exporter.get(&path, &[]).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        (path, answer.text())
    };
    pids.iter().map(ask).collect()
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    entries
        .filter_map(Result::ok)
        .map(|entry| (entry.path().display().to_string(), read(&entry.path())))
        .collect()
}

#[test]
fn what_environment_and_command_line_hold_is_said_nowhere() {
    let scratch = Scratch::new("secrets");
    let process = Process::named("python3")
        .args(&["train.py", "--token=hunter2-argument", "--team-key=good-hunter2-named"])
        .env("WATT_API_KEY", "hunter2-variable")
        .env("WATT_TEAM_KEY", "good-hunter2-matched")
        .start();
    let family = Family::start(
        (31_005, 31_005),
        &[("WATT_PARENT_KEY", "hunter2-parent"), ("WATT_OTHER", "hunter2-other")],
    );
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads = [process.pid(), family.child].map(|pid| Load::constant(pid, 0, 40)).into();
    // The rules look at them, and decide by them: still they are not to be shown.
    let rules = r#"rules:
  - name: no
    match: ['env_WATT_TEAM_KEY="bad"', 'ancestor_env_WATT_PARENT_KEY="bad"']
    owner: {team: none}
  - name: key
    match: ['env_WATT_TEAM_KEY=~"good-.*"', 'cmdline=~".*--team-key=good-.*"']
    owner: {team: keyholders}
  - name: parent
    match: ['ancestor_env_WATT_PARENT_KEY=~".+"']
    owner: {team: children}
"#;
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", rules)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(Duration::from_secs(2)),
        others: vec!["--log.level=debug".into(), "--web.enable-processes".into()],
        ..Flags::with_fake(&scratch, &scenario)
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    eventually(PATIENCE, "both teams pay", || {
        let scrape = exporter.scrape();
        ["keyholders", "children"].iter().all(|team| team_mj(&scrape, team, "") > 0).then_some(())
    });
    exporter.signal(Signal::HUP);
    sleep(Duration::from_millis(500));
    let mut said = all_it_says(&exporter, &scratch);
    // The rules write `good-` themselves; the secrets behind it are nobody's to see.
    for (place, text) in all_it_explains(&exporter, &[process.pid(), family.child]) {
        for secret in ["hunter2", "train.py", "WATT_API_KEY"] {
            assert!(!text.contains(secret), "{secret} stands in {place}:\n{text}");
        }
        assert!(text.contains("withheld"), "{place}:\n{text}");
    }
    exporter.signal(Signal::TERM);
    said.push(("last log".into(), exporter.wait().stderr));
    said.extend(files(&scratch.path("state")));
    for (place, text) in said {
        assert!(!text.is_empty() || place.ends_with("lock"), "{place}");
        for secret in ["hunter2", "train.py", "WATT_API_KEY", "good-"] {
            assert!(!text.contains(secret), "{secret} stands in {place}:\n{text}");
        }
    }
}
