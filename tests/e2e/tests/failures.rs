//! What keeps the exporter from starting: a line for each problem that says what and what to do, the right exit status,
//! and nothing half-started: no folder, no lock, no port.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fake_nvml::{Gpu, Scenario};
use wattribute_e2e::{Exporter, Flags, Foreign, PATIENCE, Scratch, eventually, free_address};

/// A start that is to fail.
struct Start {
    scratch: Scratch,
    flags: Flags,
    address: SocketAddr,
    arguments: Vec<String>,
}

impl Start {
    /// One that would succeed, with a state.
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let flags = Flags::with_fake(&scratch, &Scenario::starting_now(vec![Gpu::numbered(0)]));
        Self { scratch, flags, address: free_address(), arguments: vec![] }
    }

    /// With an argument more.
    fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// On a port that is taken.
    fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// With the state in this folder instead.
    fn state(mut self, folder: PathBuf) -> Self {
        self.flags.state_dir = Some(folder);
        self
    }

    /// It ends with this status and so many lines as there are here, each with these words; and has left nothing.
    #[track_caller]
    fn fails(self, code: i32, lines: &[&[&str]]) {
        let is_free = TcpListener::bind(self.address).is_ok();
        let own = self.scratch.path("state");
        let state = self.flags.state_dir.clone().unwrap_or(own.clone());
        let program = self.flags.program.clone().unwrap_or_else(wattribute_e2e::wattribute);
        let mut command = Command::new(program);
        let library = self.flags.nvml_library.iter().map(|path| format!("--nvml.library={}", path.display()));
        command.args(library).args(&self.arguments).envs(self.flags.env.clone());
        command.arg(format!("--web.listen-address={}", self.address));
        if !self.arguments.iter().any(|argument| argument.starts_with("--source")) {
            command.arg(format!("--state.dir={}", state.display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it is built");
        let ended = eventually(PATIENCE, "it ends", || {
            assert!(!is_free || TcpStream::connect(self.address).is_err() || child.try_wait().is_ok());
            child.try_wait().ok().flatten()
        });
        let output = child.wait_with_output().expect("a child ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((ended.code(), output.stdout.len()), (Some(code), 0), "{said}");
        let spoken: Vec<&str> = said.lines().collect();
        assert_eq!(spoken.len(), lines.len(), "{said}");
        for (line, words) in spoken.iter().zip(lines) {
            assert!(words.iter().all(|word| line.contains(word)), "{words:?} in\n{said}");
        }
        assert!(!own.exists(), "{said}: a folder is left");
        assert!(!is_free || TcpListener::bind(self.address).is_ok(), "{said}: the port is taken");
    }
}

fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn a_port_that_is_taken() {
    let (_held, address) = taken();
    let start = Start::new("failure-port").at(address);
    start.fails(1, &[&[&address.to_string(), "the port is taken", "--web.listen-address"]]);
}

#[test]
fn a_flag_that_is_wrong() {
    Start::new("failure-flag")
        .with("--sample.intervall=1s")
        .fails(2, &[&["--sample.intervall", "'--sample.interval'"]]);
    let level: &[&str] = &["loud", "--log.level", "error, warn, info, debug", "--help"];
    Start::new("failure-level").with("--log.level=loud").fails(2, &[level]);
    Start::new("failure-time").with("--sample.interval=soon").fails(2, &[&["--sample.interval", "500ms"]]);
    let start = Start::new("failure-two-flags").with("--web.telemetry-path=m").with("--exposition.delay=1ms");
    start.fails(2, &[&["--exposition.delay", "at least"], &["--web.telemetry-path", "slash", "/metrics"]]);
    let start = Start::new("failure-demo").with("--source=demo").with("--state.dir=x");
    let words: &[&str] = &["--nvml.library", "no driver"];
    start.fails(2, &[&["--state.dir", "simulated"], words]);
}

#[test]
fn rules_that_cannot_be_read() {
    let missing: &[&str] = &["/nonexistent.yaml", "No such file", "--rules.file"];
    Start::new("failure-rules").with("--rules.file=/nonexistent.yaml").fails(1, &[missing]);
    let start = Start::new("failure-folder");
    fs::create_dir(start.scratch.path("empty")).expect("a folder");
    let empty = format!("--rules.file={}", start.scratch.path("empty").display());
    start.with(&empty).fails(1, &[&["empty", "no *.yaml", "--rules.file"]]);
    let start = Start::new("failure-yaml");
    let file = start.scratch.write("bad.yaml", "rulez: []\n");
    let rules = format!("--rules.file={}", file.display());
    start.with(&rules).fails(1, &[&["bad.yaml:1", "rulez", "rules"]]);
}

/// As a user who may neither read the rules nor write the state: both are said.
#[test]
fn folders_that_are_closed_to_the_user() {
    let foreign = Foreign::new("wattribute-closed", &Scenario::starting_now(vec![Gpu::numbered(0)]));
    let closed = foreign.path("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("our own");
    let mut start = Start::new("failure-closed").state(foreign.path("state"));
    start.flags.program = Some(foreign.program());
    start.flags.nvml_library = foreign.flags().nvml_library;
    start.flags.env = foreign.flags().env;
    let rules = format!("--rules.file={}", closed.display());
    let denied = "ermission denied";
    let lines: [&[&str]; 2] = [&["closed", denied, "--rules.file"], &["--state.dir", denied, "may write to"]];
    start.with(&rules).fails(1, &lines);
    assert!(!foreign.path("state").exists());
}

#[test]
fn a_driver_or_a_capture_that_is_absent() {
    let mut start = Start::new("failure-driver");
    start.flags.nvml_library = Some(start.scratch.path("libnvidia-ml.so.1"));
    start.fails(1, &[&["libnvidia-ml.so.1", "no GPU can be read", "--source demo"]]);
    let mut start = Start::new("failure-capture").with("--source=/nonexistent/capture");
    start.flags.nvml_library = None;
    start.fails(1, &[&["/nonexistent/capture", "--source"]]);
}

#[test]
fn a_state_that_is_taken_or_cannot_be() {
    let start = Start::new("failure-state");
    let file = start.scratch.write("file", "");
    start.state(file).fails(1, &[&["--state.dir", "file", "may write to"]]);
    let start = Start::new("failure-taken");
    let scratch = Scratch::new("failure-first");
    let state_dir = Some(scratch.path("held"));
    let flags = Flags { state_dir: state_dir.clone(), ..start.flags.clone() };
    let _first = Exporter::start(&scratch, flags).expect("it starts");
    let start = start.state(scratch.path("held"));
    start.fails(1, &[&["--state.dir", "another wattribute", "its own"]]);
}

#[test]
fn everything_at_once_is_said_at_once() {
    let (_held, address) = taken();
    let mut start = Start::new("failure-all").at(address).with("--rules.file=/nonexistent.yaml");
    let file = start.scratch.write("file", "");
    start.flags.nvml_library = Some(start.scratch.path("libnvidia-ml.so.1"));
    let lines: [&[&str]; 4] =
        [&["/nonexistent.yaml"], &["no GPU can be read"], &["--state.dir"], &["the port is taken"]];
    start.state(file).fails(1, &lines);
}
