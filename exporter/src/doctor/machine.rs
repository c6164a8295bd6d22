//! The machine around the exporter: open files, memory, clocks.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::settings::Serve;
use crate::{clock, program};

/// Each watched process holds a file, of half the limit.
const FILES: u64 = 4096;
/// What a busy node takes, with room: docs/performance.md.
const MEMORY: u64 = 128 << 20;
/// A machine that slept so long is worth a word.
const SLEPT: Duration = Duration::from_secs(60);
/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn examine(_: &Serve) -> Vec<Finding> {
    let mut findings = vec![files()];
    findings.extend(memory());
    findings.extend(clocks());
    findings
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < FILES => Finding::warning(
            "open files",
            format!("at most {limit}: the end of more than {} processes is noticed late", limit / 2),
            format!("raise it to {FILES} or more (systemd: LimitNOFILE=)"),
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "no limit"),
    }
}

/// The limit of the control group, of this one or one above it.
fn memory() -> Option<Finding> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = own.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let folder = PathBuf::from(format!("{root}{path}"));
        let above = folder.ancestors().take_while(|folder| folder.starts_with(root));
        above
            .filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok())
            .min()
    });
    // Version 1 writes its highest number for no limit.
    let limit = limits.min().filter(|limit| *limit < 1 << 60)?;
    let found = format!("at most {} MiB", limit >> 20);
    Some(if limit < MEMORY {
        Finding::warning(
            "memory",
            found,
            format!("allow {} MiB: docs/performance.md has what it takes", MEMORY >> 20),
        )
    } else {
        Finding::ok("memory", found)
    })
}

fn clocks() -> Vec<Finding> {
    let now = clock::now();
    let mut findings = Vec::new();
    let slept = now.boot.saturating_sub(now.monotonic);
    let built = env::current_exe().and_then(fs::metadata).and_then(|file| file.modified());
    findings.push(match built {
        Ok(built) if built > SystemTime::now() => Finding::failure(
            "clock",
            "it is before the day on which this program was installed",
            "set the time: the driver's samples, TLS and Prometheus go by it",
        ),
        _ => synchronised(),
    });
    if u128::from(slept.0) > SLEPT.as_micros() {
        let found = format!("the machine has slept {} s since it was started", slept.0 / 1_000_000);
        let advice = "nothing was accounted meanwhile; a server should not be suspended";
        findings.push(Finding::warning("clock", found, advice));
    }
    findings
}

/// Whether the clock is kept by a time service, as systemd knows it from the kernel.
fn synchronised() -> Finding {
    let asked = find("timedatectl")
        .and_then(|program| {
            program::run(&program, &["show", "--property=NTPSynchronized", "--value"], PATIENCE).ok()
        })
        .filter(|said| said.status.success());
    match asked.as_ref().map(|said| said.out.trim()) {
        Some("yes") => Finding::ok("clock", "kept by a time service"),
        Some("no") => Finding::warning(
            "clock",
            "no time service keeps it",
            "run chrony or systemd-timesyncd: hours of tariffs and months of bills go by Prometheus's clock and this one",
        ),
        _ => Finding::ok("clock", "whether a time service keeps it is not known: timedatectl does not say"),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path: &PathBuf| Path::is_file(path))
}
