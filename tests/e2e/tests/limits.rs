//! More owners, processes and workloads than may be: the newcomers are summed, that is counted, and every joule is there.

use std::collections::BTreeSet;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Running, Scrape, Scratch, team_mj};

const RULES: &str = r#"
limits: {owners: 3}
rules:
  - name: own team
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;
/// Twice as many as may have owners and series of their own.
const PROCESSES: usize = 6;
const SERIES: usize = 3;

#[test]
fn beyond_the_limits_newcomers_are_summed_and_nothing_is_lost() {
    let scratch = Scratch::new("limits");
    let start = |number: usize| Process::named("python3").env("TEAM", &format!("team-{number}")).start();
    let processes: Vec<Running> = (0..PROCESSES).map(start).collect();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads = processes.iter().map(|process| Load::constant(process.pid(), 0, 10)).collect();
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(3)),
        others: vec![format!("--processes.max-series={SERIES}")],
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    // The auditor adds up the teams of every scrape.
    let overflows = |scrape: &Scrape| team_mj(scrape, "overflow", "") > 100_000;
    let scrape = Auditor::default().until(&exporter, "overflow pays", overflows);
    let labels = |name, label: &str| -> BTreeSet<String> {
        scrape.find(name, &[]).iter().filter_map(|sample| sample.labels.get(label).cloned()).collect()
    };
    let teams = labels("wattribute_team_energy_joules_total", "team");
    assert_eq!(teams.iter().filter(|team| team.starts_with("team-")).count(), 3, "{teams:?}");
    let pids = labels("wattribute_process_energy_joules_total", "pid");
    assert_eq!((pids.len(), pids.contains("other")), (SERIES + 1, true), "{pids:?}");
    let cut = scrape.value("wattribute_identify_failures_total", &[("reason", "overflow")]);
    assert!(cut.and_then(|cut| cut.parse::<u32>().ok()) >= Some(3), "three owners found no room: {cut:?}");
}
