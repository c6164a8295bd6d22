//! What the exporter costs: the release binary on the fake driver with real processes, measured and printed. Times of
//! this program's own are not in it; the fake driver's are, for it runs inside the exporter.
//!
//! `tests/load [SECONDS]`; see docs/performance.md.

#![expect(clippy::expect_used, clippy::panic, reason = "who measures wants to know what went wrong")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{Client, Exporter, Flags, Scratch, TEAM_OF_ENVIRONMENT};

/// Nothing is measured before the exporter knows everybody.
const SETTLE: Duration = Duration::from_secs(70);

/// A machine and who is on it.
struct Machine {
    name: &'static str,
    gpus: u32,
    /// On each GPU.
    processes: u32,
    series: u32,
}

const MACHINES: [Machine; 2] = [
    Machine { name: "8 GPUs × 64 processes, all exported", gpus: 8, processes: 64, series: 1000 },
    Machine { name: "1 GPU × 10,000 processes, default limits", gpus: 1, processes: 10_000, series: 128 },
];

fn main() {
    let mut seconds = std::env::args().skip(1).map(|text| text.parse().expect("seconds"));
    let time = Duration::from_secs(seconds.next().unwrap_or(60));
    for machine in &MACHINES {
        measure(machine, time);
    }
}

fn measure(machine: &Machine, time: Duration) {
    let scratch = Scratch::new("load");
    let crowd = crowd(machine);
    let mut scenario = Scenario::starting_now((0..machine.gpus).map(Gpu::numbered).collect());
    let percent = if machine.processes > 100 { 0 } else { 1 };
    let load =
        |(number, one): (usize, &Child)| Load::constant(one.id(), number % machine.gpus as usize, percent);
    scenario.loads = crowd.0.iter().enumerate().map(load).collect();
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", TEAM_OF_ENVIRONMENT)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(Duration::from_secs(10)),
        others: vec![format!("--processes.max-series={}", machine.series)],
        ..Flags::with_fake(&scratch, &scenario)
    };
    println!("\n{}\n", machine.name);
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    row("ready after the start, median of 5", "ms", millis(start_up(&mut exporter)));
    sleep(SETTLE);
    let (cpu, calls) = during(time, &exporter, || sleep(time));
    row("CPU per minute, not scraped", "s", cpu * 60.0 / time.as_secs_f64());
    row("NVML calls per GPU and sample", "", calls / f64::from(machine.gpus) / time.as_secs_f64());
    let mut took = vec![];
    let (cpu, _) = during(time, &exporter, || took = once_a_second(exporter.address(), time));
    row("CPU per minute, scraped every second", "s", cpu * 60.0 / time.as_secs_f64());
    row("of that in the driver (wall)", "s", in_driver(&exporter) * 60.0 / age(&exporter).as_secs_f64());
    row("resident memory", "MB", kilobytes(exporter.pid(), "VmRSS:") / 1000.0);
    row("its peak", "MB", kilobytes(exporter.pid(), "VmHWM:") / 1000.0);
    row("scrape, median", "ms", millis(quantile(&mut took, 0.5)));
    row("scrape, 99th percentile", "ms", millis(quantile(&mut took, 0.99)));
    row("scrapes per second, 1 client", "", throughput(exporter.address(), 1));
    row("scrapes per second, 8 clients", "", throughput(exporter.address(), 8));
    let sizes =
        ["identity", "gzip"].map(|encoding| connect(exporter.address()).scrape(encoding).expect("a scrape"));
    row("bytes of a scrape", "", sizes[0] as f64);
    row("bytes of a scrape, gzip", "", sizes[1] as f64);
}

fn row(what: &str, unit: &str, value: f64) {
    let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
    println!("| {what}{unit} | {value:.2} |");
    io::stdout().flush().expect("somebody reads");
}

/// Processes that sleep until this value is dropped.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for one in &mut self.0 {
            // Either call fails only for a process that has already gone.
            one.kill().ok();
            one.wait().ok();
        }
    }
}

fn crowd(machine: &Machine) -> Crowd {
    let start = |number: u32| {
        let team = format!("team-{}", number % 12);
        let mut command = Command::new("sleep");
        command.arg("1d").env_clear().env("PATH", "/usr/bin:/bin").env("TEAM", team).stdin(Stdio::null());
        command.spawn().expect("a process")
    };
    Crowd((0..machine.gpus * machine.processes).map(start).collect())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time from one start to the first answer that it is ready.
fn start_up(exporter: &mut Exporter) -> Duration {
    let mut once = |_| {
        exporter.signal(Signal::TERM);
        exporter.wait();
        let begin = Instant::now();
        exporter.restart().expect("it starts again");
        begin.elapsed()
    };
    let mut took: Vec<Duration> = (0..5).map(&mut once).collect();
    quantile(&mut took, 0.5)
}

fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let place = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len());
    times[place - 1]
}

/// CPU time in s and NVML calls while something is done.
fn during(time: Duration, exporter: &Exporter, act: impl FnOnce()) -> (f64, f64) {
    let (begin, before) = (cpu_seconds(exporter.pid()), calls(exporter));
    let started = Instant::now();
    act();
    sleep(time.saturating_sub(started.elapsed()));
    (cpu_seconds(exporter.pid()) - begin, calls(exporter) - before)
}

fn sum(exporter: &Exporter, name: &str) -> f64 {
    exporter.scrape().find(name, &[]).iter().map(|sample| sample.number()).sum()
}

fn calls(exporter: &Exporter) -> f64 {
    sum(exporter, "wattribute_nvml_call_duration_seconds_count")
}

fn in_driver(exporter: &Exporter) -> f64 {
    sum(exporter, "wattribute_nvml_call_duration_seconds_sum")
}

fn stat(pid: u32) -> Vec<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = text.rsplit_once(')').expect("a command");
    rest.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

fn cpu_seconds(pid: u32) -> f64 {
    let fields = stat(pid);
    (fields[11] + fields[12]) / ticks_per_second()
}

fn age(exporter: &Exporter) -> Duration {
    let up = fs::read_to_string("/proc/uptime").expect("an uptime");
    let up: f64 = up.split(' ').next().and_then(|word| word.parse().ok()).expect("seconds");
    Duration::from_secs_f64(up - stat(exporter.pid())[19] / ticks_per_second())
}

fn kilobytes(pid: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") * 1.024
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("it listens")
}

fn once_a_second(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let (mut client, begin) = (connect(address), Instant::now());
    let mut took = vec![];
    while begin.elapsed() < time {
        let start = Instant::now();
        client.scrape("gzip").expect("a scrape");
        took.push(start.elapsed());
        sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    took
}

fn throughput(address: SocketAddr, clients: u32) -> f64 {
    const TIME: Duration = Duration::from_secs(5);
    let begin = Instant::now();
    let scrape = || {
        let (mut client, mut count) = (connect(address), 0u32);
        while begin.elapsed() < TIME {
            client.scrape("gzip").expect("a scrape");
            count += 1;
        }
        count
    };
    let count: u32 = scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(scrape)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| panic!("a client failed"))).sum()
    });
    f64::from(count) / begin.elapsed().as_secs_f64()
}
