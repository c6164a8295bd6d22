//! Real processes that do nothing, for rules to look at: with a chosen user, name, arguments and environment.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs, io};

use crate::scratch::Scratch;

/// A process to be started.
#[derive(Clone, Debug)]
pub struct Process {
    name: String,
    arguments: Vec<String>,
    argv0: Option<String>,
    env: Vec<(String, String)>,
    user: Option<(u32, u32)>,
}

/// A process that runs until this value is dropped, or the test dies.
#[derive(Debug)]
pub struct Running {
    child: Child,
    exe: PathBuf,
    _folder: Scratch,
}

impl Process {
    /// A process whose executable has this name; its `comm` is the first 15 bytes of it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), arguments: vec![], argv0: None, env: vec![], user: None }
    }

    /// Adds arguments; they are for show.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// What the command line begins with; without it the name.
    #[must_use]
    pub fn argv0(mut self, argv0: &str) -> Self {
        self.argv0 = Some(argv0.into());
        self
    }

    /// Adds a variable to the environment, which is empty otherwise.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs as this user and group, without other groups. The test must be root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Starts it; when this returns, /proc shows it as described.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Running {
        // Not below the target's folder, which other users may not be allowed to enter.
        let folder = Scratch::below(&env::temp_dir(), "wattribute-process");
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        let exe = folder.path(&self.name);
        let copied = open(&folder.path("")).and_then(|()| fs::copy(idle(), &exe)).and_then(|_| open(&exe));
        copied.unwrap_or_else(|error| panic!("{}: {error}", exe.display()));
        let mut command = Command::new(&exe);
        command.arg0(self.argv0.as_ref().unwrap_or(&self.name)).args(&self.arguments);
        command.env_clear().envs(self.env).stdin(Stdio::piped()).current_dir("/");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        let child = spawn(&mut command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running { child, exe, _folder: folder }
    }
}

impl Running {
    /// Its pid, in the PID namespace of the test.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its executable.
    #[must_use]
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// Ends it now.
    pub fn end(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts it. Another thread of the test may have forked while the copy was being written: its child has the file
/// open for writing until it execs, and for that moment nobody may run it.
fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
    command.spawn()
}

/// The helper of this package.
#[track_caller]
fn idle() -> PathBuf {
    let program = env::current_exe().expect("a test has a path");
    let found =
        program.ancestors().skip(1).take(2).map(|folder| folder.join("idle")).find(|path| path.is_file());
    found.expect("the helper is not built: cargo build -p wattribute-e2e --bins")
}
