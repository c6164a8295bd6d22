//! The real `wattribute`, started as an administrator would.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io};

use fake_nvml::Scenario;
use rustix::process::{Pid, Signal, kill_process};

use crate::http::{self, Response};
use crate::scratch::Scratch;
use crate::text::{Format, Scrape};
use crate::wait::{PATIENCE, eventually, free_address};

/// How the exporter is started; what is not given is left to its defaults.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The binary; without it `WATTRIBUTE_BIN`, else `wattribute` of the same build.
    pub program: Option<PathBuf>,
    /// `--nvml.library`.
    pub nvml_library: Option<PathBuf>,
    /// `--rules.file`, each.
    pub rules_files: Vec<PathBuf>,
    /// `--state.dir`.
    pub state_dir: Option<PathBuf>,
    /// `--exposition.delay`.
    pub exposition_delay: Option<Duration>,
    /// `--sample.interval`.
    pub sample_interval: Option<Duration>,
    /// `--source`.
    pub source: Option<String>,
    /// Any other arguments.
    pub others: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, OsString)>,
}

impl Flags {
    /// With the fake driver under this scenario, as `scenario.yaml` and `journal.jsonl` in the folder.
    ///
    /// # Panics
    /// When the scenario contradicts itself or the fake driver is not built.
    #[must_use]
    #[track_caller]
    pub fn with_fake(scratch: &Scratch, scenario: &Scenario) -> Self {
        let path = scratch.path("scenario.yaml");
        scenario.save(&path).unwrap_or_else(|error| panic!("{error}"));
        let journal = scratch.path("journal.jsonl");
        Self {
            nvml_library: Some(fake_nvml::library().expect("the fake driver is built with this test")),
            env: vec![
                ("FAKE_NVML_SCENARIO".into(), path.into()),
                ("FAKE_NVML_JOURNAL".into(), journal.into()),
            ],
            ..Self::default()
        }
    }

    fn args(&self, address: SocketAddr) -> Vec<String> {
        let mut args = vec![format!("--web.listen-address={address}")];
        let path = |name: &str, path: &PathBuf| format!("--{name}={}", path.display());
        args.extend(self.nvml_library.iter().map(|library| path("nvml.library", library)));
        args.extend(self.rules_files.iter().map(|file| path("rules.file", file)));
        args.extend(self.state_dir.iter().map(|folder| path("state.dir", folder)));
        args.extend(self.exposition_delay.map(|delay| format!("--exposition.delay={}ms", delay.as_millis())));
        args.extend(
            self.sample_interval.map(|interval| format!("--sample.interval={}ms", interval.as_millis())),
        );
        args.extend(self.source.iter().map(|source| format!("--source={source}")));
        args.extend(self.others.iter().cloned());
        args
    }

    #[track_caller]
    fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(wattribute)
    }
}

/// The binary under test: `WATTRIBUTE_BIN`, else `wattribute` of the same build.
///
/// # Panics
/// When it is not built.
#[must_use]
#[track_caller]
pub fn wattribute() -> PathBuf {
    env::var_os("WATTRIBUTE_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let here = env::current_exe().expect("a test has a path");
        let build = here.ancestors().nth(2).expect("target/debug");
        let places = [build.join("wattribute"), build.join("../release/wattribute")];
        let found = places.into_iter().find(|path| path.is_file());
        found.expect("wattribute is not built: cargo build -p wattribute-exporter, or set WATTRIBUTE_BIN")
    })
}

/// How a process ended, and everything it wrote to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// Its log.
    pub stderr: String,
}

/// A running exporter; it ends with this value, by SIGKILL.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    address: SocketAddr,
    flags: Flags,
    log: PathBuf,
}

impl Exporter {
    /// Starts one on a free port; waits until it is ready.
    ///
    /// # Errors
    /// When it ends before it is ready.
    ///
    /// # Panics
    /// When it cannot be started, or is neither ready nor gone within a minute.
    #[track_caller]
    pub fn start(scratch: &Scratch, flags: Flags) -> Result<Self, Exit> {
        let (address, log) = (free_address(), scratch.path("exporter.log"));
        let mut exporter = Self { child: spawn(&flags, address, &log), address, flags, log };
        exporter.until_ready()?;
        Ok(exporter)
    }

    #[track_caller]
    fn until_ready(&mut self) -> Result<(), Exit> {
        let ended = eventually(PATIENCE, "the exporter is ready", || match self.child.try_wait() {
            Ok(None) => self.get("/-/ready", &[]).is_ok_and(|answer| answer.status == 200).then_some(None),
            Ok(Some(status)) => Some(Some(status)),
            Err(error) => panic!("the exporter: {error}"),
        });
        ended.map_or(Ok(()), |status| Err(Exit { status, stderr: self.stderr() }))
    }

    /// Where it listens; the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it shows an account at 0 at least, before there is energy in it: half the exposition delay.
    #[must_use]
    pub fn zero_lasts(&self) -> Duration {
        let default = Duration::from_secs(if self.flags.source.is_some() { 5 } else { 60 });
        self.flags.exposition_delay.unwrap_or(default) / 2
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it wrote to standard error so far, over all restarts.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Gets a path.
    ///
    /// # Errors
    /// Where it does not answer within half a minute.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
        http::get(self.address, path, headers)
    }

    /// A scrape in the classic format.
    ///
    /// # Panics
    /// When there is none, or it breaks the format.
    #[must_use]
    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        self.scrape_as(Format::Classic)
    }

    /// A scrape in a format.
    ///
    /// # Panics
    /// As [`Exporter::scrape`]; or when it comes in another format.
    #[must_use]
    #[track_caller]
    pub fn scrape_as(&self, format: Format) -> Scrape {
        let answer = self.get("/metrics", &[("Accept", format.content_type())]);
        let answer = answer.unwrap_or_else(|error| panic!("no scrape: {error}"));
        let kind = answer.header("content-type").unwrap_or_default();
        let media_type = format.content_type().split(';').next().unwrap_or_default();
        assert!(answer.status == 200 && kind.starts_with(media_type), "{} {kind}", answer.status);
        Scrape::parse(&answer.text(), format).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the exporter runs");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not within a minute.
    #[track_caller]
    pub fn wait(&mut self) -> Exit {
        let status = eventually(PATIENCE, "the exporter ends", || self.child.try_wait().ok().flatten());
        Exit { status, stderr: self.stderr() }
    }

    /// Ends it without any chance to save.
    ///
    /// # Panics
    /// When it is already gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Stops it with SIGTERM, unless it has ended already, and starts it again on the same port.
    ///
    /// # Errors
    /// As [`Exporter::start`].
    ///
    /// # Panics
    /// As [`Exporter::start`]; or when it does not stop.
    #[track_caller]
    pub fn restart(&mut self) -> Result<(), Exit> {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            self.wait();
        }
        self.child = spawn(&self.flags, self.address, &self.log);
        self.until_ready()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn spawn(flags: &Flags, address: SocketAddr, log: &Path) -> Child {
    let output = OpenOptions::new().create(true).append(true).open(log);
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let mut command = Command::new(flags.program());
    command.args(flags.args(address)).envs(flags.env.clone()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(output).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use fake_nvml::Gpu;

    use super::*;

    #[track_caller]
    fn check(flags: &Flags, want: &[&str]) {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(flags.args(address)[1..], *want);
    }

    #[test]
    fn what_is_not_given_is_left_to_the_exporter() {
        check(&Flags::default(), &[]);
    }

    #[test]
    fn flags_are_written_as_one_types_them() {
        let flags = Flags {
            rules_files: vec!["a.yaml".into(), "b".into()],
            state_dir: Some("state".into()),
            exposition_delay: Some(Duration::from_secs(5)),
            sample_interval: Some(Duration::from_millis(250)),
            source: Some("demo".into()),
            others: vec!["--log.level=debug".into()],
            ..Flags::default()
        };
        let files = ["--rules.file=a.yaml", "--rules.file=b", "--state.dir=state"];
        let times = ["--exposition.delay=5000ms", "--sample.interval=250ms"];
        check(&flags, &[&files[..], &times, &["--source=demo", "--log.level=debug"]].concat());
    }

    #[test]
    fn the_fake_driver_comes_with_its_scenario() {
        let scratch = Scratch::new("flags");
        let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
        let flags = Flags::with_fake(&scratch, &scenario);
        assert!(flags.nvml_library.is_some_and(|library| library.is_file()));
        assert_eq!(Scenario::load(Path::new(&flags.env[0].1)), Ok(scenario));
    }
}
