//! Programs of the machine that tests need. A missing one fails the test, with the package that has it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::{env, thread};

/// Debian's packages of the programs that the tests use.
const PACKAGES: &[(&str, &str)] = &[
    ("amtool", "prometheus-alertmanager"),
    ("ldd", "libc-bin"),
    ("man", "man-db"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("victoria-metrics", "victoria-metrics"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("gzip", "gzip"),
    ("ip", "iproute2"),
    ("munged", "munge"),
    ("openssl", "openssl"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("sbatch", "slurm-wlm"),
    ("scancel", "slurm-wlm"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("slurmctld", "slurm-wlm"),
    ("slurmd", "slurm-wlm"),
    ("strace", "strace"),
    ("systemd-analyze", "systemd"),
    ("systemd-socket-activate", "systemd"),
    ("systemd-sysusers", "systemd"),
    ("unshare", "util-linux"),
];

/// The path of a program.
///
/// # Panics
/// When it is not installed.
#[must_use]
#[track_caller]
pub fn require(program: &str) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        let package =
            PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
        panic!("{program} is missing, and this test needs it: apt-get install {package}")
    })
}

/// What `promtool check metrics` says of a scrape in the classic format; an error is all that it printed.
///
/// # Errors
/// When promtool has a complaint, be it about style.
///
/// # Panics
/// When promtool is not installed.
#[track_caller]
pub fn check_metrics(text: &str) -> Result<(), String> {
    let output = feed(Command::new(require("promtool")).args(["check", "metrics"]), text.as_bytes());
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// What was compressed with gzip.
///
/// # Panics
/// When it was not.
#[must_use]
#[track_caller]
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let output = feed(Command::new(require("gzip")).arg("-dc"), bytes);
    assert!(output.status.success(), "not gzip: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a program with this input.
#[track_caller]
fn feed(command: &mut Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    thread::scope(|scope| {
        // A program may end before it has read everything; what it says then counts.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("a child ends")
    })
}
