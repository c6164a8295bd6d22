//! What a process has cost so far, by the kernel's account.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Processor time in s, by the name of the thread; those of GPUs together.
pub type ByThread = BTreeMap<String, f64>;

/// What each thread of a process has cost so far. One that ended since is not in it.
pub fn threads(pid: u32) -> ByThread {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let mut all = ByThread::new();
    for task in tasks {
        let path = task.path();
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let name = name.trim().trim_end_matches(|end: char| end.is_ascii_digit() || end == ' ').to_owned();
        *all.entry(name).or_default() += cpu_seconds_in(&fields(&stat));
    }
    all
}

/// Processor time in s of a whole process.
pub fn cpu_seconds(pid: u32) -> f64 {
    cpu_seconds_in(&stat(pid))
}

pub fn age(pid: u32) -> Duration {
    let up = fs::read_to_string("/proc/uptime").expect("an uptime");
    let up: f64 = up.split(' ').next().and_then(|word| word.parse().ok()).expect("seconds");
    Duration::from_secs_f64(up - stat(pid)[19] / ticks_per_second())
}

/// A field of its status, in MB.
pub fn megabytes(pid: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") * 1.024 / 1000.0
}

pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

fn cpu_seconds_in(fields: &[f64]) -> f64 {
    (fields[11] + fields[12]) / ticks_per_second()
}

fn stat(pid: u32) -> Vec<f64> {
    fields(&fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs"))
}

/// What follows the name of a process or thread.
fn fields(stat: &str) -> Vec<f64> {
    let (_, rest) = stat.rsplit_once(')').expect("a command");
    rest.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}
