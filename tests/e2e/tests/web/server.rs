//! A server with a web configuration file, and curl that asks it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, require, wattribute};

/// A running server; it ends with this value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, with simulated GPUs.
    Wattribute,
    /// Debian's, with no collectors.
    NodeExporter,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Wattribute, Self::NodeExporter];

    fn command(self) -> Command {
        let (program, argument) = match self {
            Self::Wattribute => (wattribute(), "--source=demo"),
            Self::NodeExporter => (require("prometheus-node-exporter"), "--collector.disable-defaults"),
        };
        let mut command = Command::new(program);
        command.arg(argument);
        command
    }

    fn spawn(self, scratch: &Scratch, address: SocketAddr, args: &[&str]) -> (Child, PathBuf) {
        let log = scratch.path(&format!("{self:?}-{}.log", address.port()));
        let output = File::create(&log).expect("a log");
        let mut command = self.command();
        command.arg(format!("--web.listen-address={address}")).args(args);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn();
        (child.expect("it is installed"), log)
    }

    /// Starts one with the file `web.yml` in this folder.
    #[track_caller]
    pub fn start(self, scratch: &Scratch) -> Server {
        let file = format!("--web.config.file={}", scratch.path("web.yml").display());
        Server::start(self, scratch, &[&file])
    }

    /// How one ends that must refuse the file `web.yml`, and what it says.
    #[track_caller]
    pub fn refuses(self, scratch: &Scratch) -> (ExitStatus, String) {
        let file = format!("--web.config.file={}", scratch.path("web.yml").display());
        let (mut child, log) = self.spawn(scratch, free_address(), &[&file]);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(PATIENCE, "it refuses", || child.try_wait().ok().flatten())
        }));
        child.kill().ok();
        child.wait().ok();
        (ended.expect("it refuses"), fs::read_to_string(log).unwrap_or_default())
    }
}

impl Server {
    /// Starts one; waits until it listens.
    #[track_caller]
    pub fn start(kind: Kind, scratch: &Scratch, args: &[&str]) -> Self {
        let address = free_address();
        let (child, log) = kind.spawn(scratch, address, args);
        let mut this = Self { child, address, log };
        eventually(PATIENCE, "it listens", || {
            assert!(matches!(this.child.try_wait(), Ok(None)), "{kind:?} ended:\n{}", this.log());
            TcpStream::connect(address).ok()
        });
        this
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What curl with these arguments is told at a path, by https.
    #[track_caller]
    pub fn ask(&self, path: &str, args: &[&str]) -> Told {
        curl(&format!("https://{}{path}", self.address), args)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What curl was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status; 0 where there was no answer.
    pub status: u16,
    /// `1.1` or `2`; 1.0 is `1` to curl.
    pub version: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Told {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What curl with these arguments is told.
#[track_caller]
pub fn curl(url: &str, args: &[&str]) -> Told {
    let mut command = Command::new(require("curl"));
    command.args([
        "--silent",
        "--include",
        "--max-time",
        "30",
        "--write-out",
        "\n%{http_code} %{http_version}",
    ]);
    let output = command.args(args).arg(url).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, end) = text.rsplit_once('\n').expect("what was to be written out");
    let (status, version) = end.split_once(' ').expect("two words");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let header = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Told {
        status: status.parse().expect("a number"),
        version: version.into(),
        headers: head.lines().filter_map(header).collect(),
        body: body.into(),
    }
}
