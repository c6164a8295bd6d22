//! What the exporter costs: the release binary on the fake driver with real processes, measured and printed. Times of
//! this program's own are not in it; the fake driver's are, for it runs inside the exporter.
//!
//! `tests/load [SECONDS [gpus|crowd|churn]]`; see docs/performance.md.

#![expect(clippy::expect_used, clippy::panic, reason = "who measures wants to know what went wrong")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod churn;
mod client;
mod costs;
mod reload;

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use client::{connect, once_a_second, throughput};
use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{Exporter, Flags, Scratch, TEAM_OF_ENVIRONMENT};

/// Nothing is measured before the exporter knows everybody, and intervals mature as fast as they come.
const SETTLE: Duration = Duration::from_secs(70);

/// A machine and who is on it.
struct Machine {
    part: &'static str,
    name: &'static str,
    gpus: u32,
    /// On each GPU.
    processes: u32,
    series: u32,
}

const MACHINES: [Machine; 2] = [
    Machine {
        part: "gpus",
        name: "8 GPUs × 64 processes, all exported",
        gpus: 8,
        processes: 64,
        series: 1000,
    },
    Machine {
        part: "crowd",
        name: "1 GPU × 10,000 processes, default limits",
        gpus: 1,
        processes: 10_000,
        series: 128,
    },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let time = args.first().map_or(60, |seconds| seconds.parse().expect("seconds"));
    let (time, part) = (Duration::from_secs(time), args.get(1));
    let is_wanted = |name: &str| part.is_none_or(|part| part == name);
    for machine in MACHINES.iter().filter(|machine| is_wanted(machine.part)) {
        measure(machine, time);
    }
    if is_wanted("churn") {
        churn::measure(time);
    }
}

fn measure(machine: &Machine, time: Duration) {
    let scratch = Scratch::new("load");
    let crowd = Crowd((0..machine.gpus * machine.processes).map(start).collect());
    let mut scenario = Scenario::starting_now((0..machine.gpus).map(Gpu::numbered).collect());
    let percent = if machine.processes > 100 { 0 } else { 1 };
    let load =
        |(number, one): (usize, &Child)| Load::constant(one.id(), number % machine.gpus as usize, percent);
    scenario.loads = crowd.0.iter().enumerate().map(load).collect();
    let rules = scratch.write("rules.yaml", TEAM_OF_ENVIRONMENT);
    let mut flags = Flags {
        rules_files: vec![rules.clone()],
        state_dir: Some(scratch.path("state")),
        others: vec![format!("--processes.max-series={}", machine.series)],
        ..Flags::with_fake(&scratch, &scenario)
    };
    // The driver need not keep a journal, for it would be at the exporter's cost.
    flags.env.retain(|(name, _)| name != "FAKE_NVML_JOURNAL");
    println!("\n{}\n", machine.name);
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    row("ready after the start, median of 5", "ms", millis(start_up(&mut exporter)));
    sleep(SETTLE);
    unscraped(&exporter, machine, time);
    scraped(&exporter, time);
    row("scrapes per second, 1 client", "", throughput(exporter.address(), 1));
    row("scrapes per second, 8 clients", "", throughput(exporter.address(), 8));
    let sizes =
        ["identity", "gzip"].map(|encoding| connect(exporter.address()).scrape(encoding).expect("a scrape"));
    row("bytes of a scrape", "", sizes[0] as f64);
    row("bytes of a scrape, gzip", "", sizes[1] as f64);
    reload::measure(&exporter, &rules);
}

fn unscraped(exporter: &Exporter, machine: &Machine, time: Duration) {
    let (before, threads) = (calls(exporter), costs::threads(exporter.pid()));
    let cpu = during(time, exporter, || {});
    for (thread, seconds) in costs::threads(exporter.pid()) {
        let seconds = seconds - threads.get(&thread).copied().unwrap_or_default();
        if seconds > 0.0 {
            row(&format!("of that {thread}"), "s", seconds * 60.0 / time.as_secs_f64());
        }
    }
    row("CPU per minute, not scraped", "s", cpu);
    let calls = calls(exporter) - before;
    row("NVML calls per GPU and sample", "", calls / f64::from(machine.gpus) / time.as_secs_f64());
}

fn scraped(exporter: &Exporter, time: Duration) {
    let mut took = vec![];
    let cpu = during(time, exporter, || took = once_a_second(exporter.address(), time));
    row("CPU per minute, scraped every second", "s", cpu);
    let age = costs::age(exporter.pid()).as_secs_f64();
    row("of that in the driver (wall)", "s", in_driver(exporter) * 60.0 / age);
    row("resident memory", "MB", costs::megabytes(exporter.pid(), "VmRSS:"));
    row("of that program and libraries", "MB", costs::megabytes(exporter.pid(), "RssFile:"));
    row("its peak", "MB", costs::megabytes(exporter.pid(), "VmHWM:"));
    row("scrape, median", "ms", millis(quantile(&mut took, 0.5)));
    row("scrape, 99th percentile", "ms", millis(quantile(&mut took, 0.99)));
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

/// A process that sleeps, of one of a dozen teams.
fn start(number: u32) -> Child {
    let team = format!("team-{}", number % 12);
    let mut command = Command::new("sleep");
    command.arg("1d").env_clear().env("PATH", "/usr/bin:/bin").env("TEAM", team).stdin(Stdio::null());
    command.spawn().expect("a process")
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

/// CPU time in s per minute while something is done, for so long.
fn during(time: Duration, exporter: &Exporter, act: impl FnOnce()) -> f64 {
    let (begin, started) = (costs::cpu_seconds(exporter.pid()), Instant::now());
    act();
    sleep(time.saturating_sub(started.elapsed()));
    (costs::cpu_seconds(exporter.pid()) - begin) * 60.0 / started.elapsed().as_secs_f64()
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
