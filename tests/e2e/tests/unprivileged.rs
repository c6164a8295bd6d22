//! The exporter as a user without any capability: it still tells apart whom it can, and says what it cannot see. What
//! it may not read is never taken for absent: no later rule claims it.

use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{
    Auditor, Exporter, Flags, Foreign, PATIENCE, Process, Running, Scrape, Scratch, eventually, team_mj,
};

const RULES: &str = r#"
rules:
  - name: by command line
    match: ['cmdline=~".*--account=astro.*"']
    owner: {team: astro}
  - name: by group
    match: ['group="daemon"']
    owner: {team: daemons}
  - name: by variable
    match: ['uid=~"3100[23]"', 'env_WATT_TEAM=~".+"']
    owner: {team: "env-${env_WATT_TEAM}"}
  - name: by program
    match: ['uid="31004"', 'exe=~".*/python3"']
    owner: {team: pythons}
  - name: by control group
    match: ['uid="31005"', 'cgroup=~".+"']
    owner: {team: grouped}
  - name: everybody else
    match: ['uid=~".+"']
    owner: {team: others}
"#;

/// Processes of several users, each alone on its GPU, and who is to pay where nothing but /proc's open parts is read.
fn world() -> Vec<(&'static str, Running)> {
    let of = |uid, gid| Process::named("python3").user(uid, gid);
    vec![
        ("astro", of(31_001, 31_001).args(&["--account=astro"]).start()),
        ("daemons", of(31_001, 1).start()),
        // Whether it has the variable cannot be seen, of either: it could be said that it has not.
        ("unattributed", of(31_002, 31_002).env("WATT_TEAM", "vision").start()),
        ("unattributed", of(31_003, 31_003).start()),
        ("unattributed", of(31_004, 31_004).start()),
        ("grouped", of(31_005, 31_005).start()),
        ("others", of(31_006, 31_006).start()),
    ]
}

fn on_gpus(world: &[(&str, Running)]) -> Scenario {
    let mut scenario = Scenario::starting_now((0..).take(world.len()).map(Gpu::numbered).collect());
    let pids = world.iter().enumerate();
    scenario.loads = pids.map(|(gpu, (_, process))| Load::constant(process.pid(), gpu, 50)).collect();
    scenario
}

/// Each GPU's energy goes to this team, and to no other.
#[track_caller]
fn check(exporter: &Exporter, scenario: &Scenario, teams: &[&str]) -> Scrape {
    let all_pay = |scrape: &Scrape| {
        let mut payers = scenario.gpus.iter().zip(teams);
        payers.all(|(gpu, team)| team_mj(scrape, team, &gpu.uuid) > 200_000)
    };
    let scrape = Auditor::default().until(exporter, "all teams pay", all_pay);
    for (gpu, team) in scenario.gpus.iter().zip(teams) {
        let samples = scrape.find("wattribute_team_energy_joules_total", &[("uuid", &gpu.uuid)]);
        let others = samples.iter().filter(|sample| sample.number() > 0.0 && sample.labels["team"] != *team);
        assert_eq!(others.count(), 0, "{team}: {samples:?}");
    }
    scrape
}

#[test]
fn without_capabilities_user_group_control_group_and_command_line_still_tell() {
    let world = world();
    let scenario = on_gpus(&world);
    let (scratch, foreign) =
        (Scratch::new("unprivileged"), Foreign::new("wattribute-unprivileged", &scenario));
    let flags = Flags {
        rules_files: vec![foreign.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(3)),
        ..foreign.flags()
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let teams: Vec<&str> = world.iter().map(|(team, _)| *team).collect();
    let scrape = check(&exporter, &scenario, &teams);
    for reason in ["environ", "exe", "facts_never_came"] {
        let count = scrape.value("wattribute_identify_failures_total", &[("reason", reason)]);
        assert!(count.is_some_and(|count| count != "0"), "{reason}: {count:?}");
    }
    let said = exporter.stderr();
    let lines =
        |part: &str| said.lines().filter(|line| line.contains(&format!("part={part} "))).collect::<Vec<_>>();
    let [environ] = lines("environ")[..] else { panic!("one line of environ in\n{said}") };
    assert!(environ.contains("by variable") && environ.contains("CAP_DAC_READ_SEARCH"), "{environ}");
    let [exe] = lines("exe")[..] else { panic!("one line of exe in\n{said}") };
    assert!(exe.contains("by program") && exe.contains("CAP_SYS_PTRACE"), "{exe}");
    assert!(!said.contains("vision") && !said.contains("--account"), "{said}");
}

#[test]
fn with_capabilities_the_same_rules_reach_everybody() {
    let world = world();
    let scenario = on_gpus(&world);
    let scratch = Scratch::new("privileged");
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(3)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let teams = ["astro", "daemons", "env-vision", "others", "pythons", "grouped", "others"];
    check(&exporter, &scenario, &teams);
    assert!(!exporter.stderr().contains("cannot be read"), "{}", exporter.stderr());
}

/// `hidepid=2`: the processes are not even there.
#[test]
fn where_proc_hides_all_others_that_is_said_once() {
    let process = Process::named("python3").user(31_001, 31_001).start();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(process.pid(), 0, 50));
    let (scratch, foreign) = (Scratch::new("hidden"), Foreign::new("wattribute-hidden", &scenario));
    let flags = foreign.flags();
    let _ =
        (wattribute_e2e::require("unshare"), std::fs::create_dir(foreign.path("proc")).expect("a folder"));
    let place = foreign.path("proc").display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -c 'mount -t proc -o hidepid=2 proc {place} && exec \
         {} \"$@\"' sh --path.procfs={place} \"$@\"\n",
        foreign.program().display(),
    );
    let flags = Flags { program: Some(foreign.write("hidden", &script)), ..flags };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    eventually(PATIENCE, "the mismatch is shown", || {
        (exporter.scrape().value("wattribute_pid_namespace_mismatch", &[]) == Some("1")).then_some(())
    });
    let said = exporter.stderr();
    let lines = said.lines().filter(|line| line.contains("hidepid") && line.contains("wattribute doctor"));
    assert_eq!(lines.count(), 1, "{said}");
}
