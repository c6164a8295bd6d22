//! What a team's hour consists of, as far as series tell: the rest is said, so that it adds up.
//!
//! Speech draws 100 W on GPU-a from minute 120, but for the ten minutes in which its exporter stands. Of that its job is
//! 80 W, and a process of the job, which ends at minute 150, 60 W. Hour of minute 120: 50 × 6000 = 300,000 J, job 240,000,
//! process 29 × 3600 = 104,400: its last minute was never scraped. Held 30 s a minute, all by the job.

use wattribute_e2e::Scratch;

use crate::bill::{report, said};
use crate::story::{MINUTES, prometheus, series};

/// A counter that grows by so much a minute while speech is there, as scrapes show it.
fn growing(name: &str, labels: &str, by: i64, until: i64) -> (String, Vec<(i64, i64)>) {
    let minutes = |ledger: i64| (ledger.min(150) - 120).max(0) + (ledger - 160).max(0);
    let scrapes = (120..until).filter(|minute| !(151..161).contains(minute));
    let points = scrapes.map(|minute| (minute, by * minutes(minute - 1))).collect();
    (format!("{name}{{job=\"wattribute\",instance=\"n1:9\",{labels}}}"), points)
}

#[test]
fn the_detail_of_a_team_adds_up_to_its_hours() {
    let scratch = Scratch::new("report-detail");
    let mut all = series();
    let owner = "uuid=\"GPU-a\",team=\"speech\",workload=\"slurm:211\"";
    let process = format!("{owner},pid=\"4711\",comm=\"python3\",user=\"emmy\"");
    let end = MINUTES + 5;
    all.extend([
        growing("wattribute_workload_energy_joules_total", owner, 4800, end),
        growing("wattribute_workload_gpu_held_seconds_total", owner, 30, end),
        growing("wattribute_process_energy_joules_total", &process, 3600, 156),
        growing("wattribute_rule_energy_joules_total", "rule=\"slurm\",evidence=\"scheduler\"", 9000, end),
    ]);
    let server = prometheus(&scratch, &all);
    let detail = said(&report(server.address(), &scratch, &["--team=speech", "--detail"]));
    let hour: Vec<&str> =
        detail.lines().skip_while(|line| !line.starts_with("2024-03-30T23:00")).take(6).collect();
    assert!(hour[0].contains("active 300000.000 J  idle 0.000 J  held 0.417 h"), "{detail}");
    assert_eq!(
        hour[1..],
        [
            "    workload slurm:211  240000.000 J  held 0.417 h",
            "    workloads without a series of their own  60000.000 J  held 0.000 h",
            "    process 4711 python3 of emmy, slurm:211  104400.000 J",
            "    processes without a series of their own  195600.000 J",
            "  rules at work on n1:9 in that hour, for all teams: \"slurm\" (scheduler) 450000.000 J",
        ]
    );
    assert!(detail.ends_with("which one booked what stands above\n"), "{detail}");
    let other = said(&report(server.address(), &scratch, &["--team=vision", "--detail"]));
    assert!(!other.contains("slurm:211") && other.contains("no workload or process had a series"), "{other}");
}
