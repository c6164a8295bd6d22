//! Runs a program and hears what it prints, in bounded time and with a bounded answer.
//!
//! Callers: `slurm`, which asks `scontrol`, and `doctor`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// How much of an answer is read: what Slurm says of ten thousand tasks of an array.
const LONGEST: usize = 16 << 20;
/// How often it is looked whether a program that has closed its output has ended.
const LOOK: Duration = Duration::from_millis(5);

/// What a program printed.
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// Runs a program until it ends.
///
/// # Errors
/// `TimedOut` where it does not end in time, `FileTooLarge` where it says too much: then it is killed, and what it
/// started with it. Else why it cannot be run.
pub fn run(program: &Path, arguments: &[&str], patience: Duration) -> io::Result<Said> {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Its own group, so that what it started ends with it.
    let mut child = command.process_group(0).spawn()?;
    let said = hear(&mut child, Instant::now() + patience);
    if said.is_err() {
        end(&mut child);
    }
    said
}

/// Reads what a child prints until it ends.
fn hear(child: &mut Child, deadline: Instant) -> io::Result<Said> {
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut open: Vec<(usize, File)> = pipes.into_iter().flatten().map(File::from).enumerate().collect();
    let mut said = [Vec::new(), Vec::new()];
    let mut chunk = vec![0; 1 << 16];
    while let Some(at) = first_ready(&open, deadline)? {
        let (which, pipe) = &mut open[at];
        let text = &mut said[*which];
        match pipe.read(&mut chunk)? {
            0 => drop(open.swap_remove(at)),
            _ if text.len() > LONGEST => return Err(io::ErrorKind::FileTooLarge.into()),
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    let [out, err] = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Said { status: wait(child, deadline)?, out, err })
}

/// The first pipe that has something to read or is closed; `None` where there are no more pipes.
fn first_ready(open: &[(usize, File)], deadline: Instant) -> io::Result<Option<usize>> {
    while !open.is_empty() {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut pipes: Vec<PollFd<'_>> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut pipes, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(at) = pipes.iter().position(|pipe| !pipe.revents().is_empty()) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Waits for the end of a child that prints no more.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            None => thread::sleep(LOOK),
        }
    }
}

/// Ends a child and what it started.
fn end(child: &mut Child) {
    // It may have ended meanwhile.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}
