//! Several hundred short jobs, each a payer of its own, in a real Prometheus: one that scrapes undisturbed, and one whose
//! scrapes fail now and then; with a `kill -9` in the midst. `increase()` must see all that the exporter has of each.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fake_nvml::{Gpu, Load, Scenario, Seconds};
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Process, Prometheus, Running, Scratch, eventually, readings,
};

const JOBS: u64 = 300;
const TEAM: &str = "wattribute_team_energy_joules_total";
const RULES: &str = r#"
idle_policy: separate
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: job
    match: ['env_JOB=~".+"']
    owner: {team: "${env_JOB}"}
"#;
/// Many times the time that a scrape may fail for.
const DELAY: Duration = Duration::from_secs(12);
/// The driver is told this much ahead.
const AHEAD_US: u64 = 300_000;

/// A job at work, and until when, in scenario µs.
struct Job {
    process: Running,
    until_us: u64,
}

/// Starts one that works for 1 to 3 s.
fn start(scenario: &mut Scenario, number: u64) -> Job {
    let process = Process::named("job").env("JOB", &format!("job-{number}")).start();
    let from_us = scenario.now_us() + AHEAD_US;
    let until_us = from_us + 1_000_000 + number * 7919 % 2000 * 1000;
    let load = Load::constant(process.pid(), (number % 4) as usize, 15);
    let (from_s, until_s) = (Seconds::from_us(from_us), Some(Seconds::from_us(until_us)));
    scenario.loads.push(Load { from_s, until_s, ..load });
    Job { process, until_us }
}

/// An address that leads to another; of its connections every third is refused, and the others end after 2 s.
fn unreliable(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            if let (Ok(client), false) = (client, number % 3 == 2) {
                thread::spawn(move || connect(client, target));
            }
        }
    });
    address
}

fn connect(client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    let pump = |mut from: TcpStream, mut to: TcpStream| thread::spawn(move || io::copy(&mut from, &mut to));
    pump(client.try_clone()?, server.try_clone()?);
    pump(server.try_clone()?, client.try_clone()?);
    thread::sleep(Duration::from_secs(2));
    client.shutdown(std::net::Shutdown::Both)?;
    server.shutdown(std::net::Shutdown::Both)
}

/// Values by team.
fn by_team(server: &Prometheus, query: &str, at: f64) -> BTreeMap<String, f64> {
    let team = |labels: &wattribute_e2e::Labels| labels.get("team").cloned().unwrap_or_default();
    server.query_at(query, at).iter().map(|(labels, value)| (team(labels), *value)).collect()
}

#[test]
fn increase_sees_all_of_three_hundred_short_jobs_also_when_scrapes_fail_and_over_a_kill() {
    let scratch = Scratch::new("jobs");
    let mut scenario = Scenario::starting_now((0..4).map(Gpu::numbered).collect());
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(DELAY),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let targets = [("sound", exporter.address()), ("unreliable", unreliable(exporter.address()))];
    let servers = targets
        .map(|(name, target)| Prometheus::start(scratch.path(name), &[target], Duration::from_secs(1)));
    let mut auditor = Auditor::default();
    let mut jobs: Vec<Job> = Vec::new();
    for number in 0..JOBS {
        let next = Instant::now() + Duration::from_millis(220);
        jobs.push(start(&mut scenario, number));
        scenario.save(&scratch.path("scenario.yaml")).expect("an edit of the future");
        let now = scenario.now_us();
        jobs.retain(|job| job.until_us > now && job.process.pid() > 0);
        auditor.scrape(&exporter);
        if number == JOBS / 2 {
            exporter.kill9();
            exporter.restart().expect("it starts again");
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    auditor.watch(&exporter, Duration::from_secs(4));
    jobs.clear();
    // Until all that was measured can be seen.
    let scrape = auditor.watch(&exporter, DELAY * 5 / 2);

    let all: f64 = (0..scenario.gpus.len()).map(|gpu| gained(&scratch, gpu)).sum();
    for (server, (name, _)) in servers.iter().zip(targets) {
        let at = eventually(PATIENCE, "a scrape", || {
            server.query("timestamp(wattribute_build_info)").first().map(|(_, time)| *time)
        });
        let increases = by_team(server, &format!("sum by (team) (increase({TEAM}[1h]))"), at);
        let shown = by_team(server, &format!("sum by (team) ({TEAM})"), at);
        let jobs = shown.iter().filter(|(team, joules)| team.starts_with("job-") && **joules > 0.0).count();
        assert!(jobs as u64 > JOBS * 9 / 10, "{name}: {jobs} jobs");
        for (team, joules) in &shown {
            let got = increases.get(team).copied().unwrap_or_default();
            assert!((got - joules).abs() <= joules * 0.01 + 0.001, "{name}: {team}: {got} J of {joules} J");
        }
        let sum: f64 = increases.values().sum();
        assert!((sum - all).abs() <= all * 0.01, "{name}: {sum} J of {all} J");
    }
    let failed = servers[1].query("sum(count_over_time((up == 0)[1h:1s]))");
    assert!(failed.first().is_some_and(|(_, count)| *count > 5.0), "its scrapes failed now and then: {failed:?}");
    assert!(scrape.find(TEAM, &[]).len() > 300);
}

/// What a counter gained from its first reading to its last, in J.
#[expect(clippy::cast_precision_loss, reason = "joules to compare within a percent")]
fn gained(scratch: &Scratch, gpu: usize) -> f64 {
    let all = readings(&scratch.path("journal.jsonl"), gpu);
    all.first().zip(all.last()).map_or(0.0, |(first, last)| (last.mj - first.mj) as f64 / 1e3)
}
