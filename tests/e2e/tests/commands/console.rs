//! Runs the binary as a command that is to end by itself.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wattribute_e2e::{PATIENCE, eventually, wattribute};

/// How a command ended, what it said, and how long that took.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// How soon a command that only looks at something is to be done.
const SOON: Duration = Duration::from_secs(2);

/// Runs `wattribute` with these arguments, and this added to the environment; it must end by itself.
#[track_caller]
pub fn run(args: &[&str], env: &[(String, OsString)]) -> Done {
    let mut command = Command::new(wattribute());
    command.args(args).envs(env.iter().cloned());
    finish(command)
}

/// As [`run`], for a command that is set up already. One that takes long is run three times at most: the machine may
/// have been busy.
#[track_caller]
pub fn finish(mut command: Command) -> Done {
    let mut done = once(&mut command);
    for _ in 0..2 {
        if done.took >= SOON {
            done = once(&mut command);
        }
    }
    done
}

#[track_caller]
fn once(command: &mut Command) -> Done {
    let begin = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is built");
    // Its words fit into the pipes.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(PATIENCE, "the command ends", || child.try_wait().ok().flatten())
    }));
    let took = begin.elapsed();
    if ended.is_err() {
        child.kill().expect("it runs");
    }
    let output = child.wait_with_output().expect("a child ends");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ended.is_ok(), "{command:?} did not end:\n{stderr}");
    Done { code: output.status.code(), stdout, stderr, took }
}

impl Done {
    /// It ended with this code, within two seconds, and its complaint has all these words.
    #[track_caller]
    pub fn check(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.took < SOON, "{self:?}");
        let said = |word: &&str| self.stderr.contains(*word);
        assert!(words.iter().all(said), "{words:?} in\n{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}
