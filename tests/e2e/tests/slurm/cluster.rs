//! A real Slurm of one node, on 127.0.0.1, with daemons of its own.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, require};

/// Runs until it is dropped, with its jobs.
pub struct Cluster {
    daemons: Vec<Child>,
    /// Other users' jobs run in here.
    folder: Scratch,
}

/// A job that runs.
pub struct Job {
    pub id: u32,
    pub pid: u32,
}

impl Cluster {
    /// Starts it; when this returns it takes jobs.
    #[track_caller]
    pub fn start() -> Self {
        let folder = Scratch::below(&env::temp_dir(), "wattribute-slurm");
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let conf = config(&folder.path(""), hostname.trim().split('.').next().expect("a name"));
        folder.write("slurm.conf", &conf);
        // Slurm counts files, and does not look at what is in them.
        let gpus = [folder.write("gpu0", ""), folder.write("gpu1", "")];
        folder.write(
            "gres.conf",
            &gpus.map(|gpu| format!("Name=gpu Type=h100 File={}\n", gpu.display())).concat(),
        );
        fs::create_dir(folder.path("state")).expect("a folder");
        fs::create_dir(folder.path("spool")).expect("a folder");
        let mut this = Self { daemons: Vec::new(), folder };
        this.start_munge();
        for daemon in ["slurmctld", "slurmd"] {
            this.daemon(daemon, &["-D".into()]);
        }
        eventually(PATIENCE, "the node is idle", || {
            this.call("sinfo", &["--noheader", "--format=%t"]).contains("idle").then_some(())
        });
        this
    }

    /// Where `slurm.conf` is.
    pub fn folder(&self) -> PathBuf {
        self.folder.path("")
    }

    /// Starts a job that sleeps, with these options, and waits until it does.
    #[track_caller]
    pub fn submit(&self, options: &[&str]) -> Job {
        let fixed = ["--parsable", "--output=/dev/null", "--chdir=/", "--wrap=exec sleep 1000"];
        let said = self.call("sbatch", &[&fixed, options].concat());
        let id = said.trim().parse().unwrap_or_else(|_| panic!("sbatch: {said}"));
        let pid = eventually(PATIENCE, "the job runs", || sleeper(id));
        Job { id, pid }
    }

    /// Starts a job that has a GPU and runs nothing on it; gives the GPU's index in Slurm.
    #[track_caller]
    pub fn hold(&self, options: &[&str]) -> (Job, usize) {
        let job = self.submit(&[&["--gres=gpu:1"], options].concat());
        let said = self.call("scontrol", &["--details", "show", "job", &job.id.to_string()]);
        let index = said.split_once("(IDX:").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
        (job, index.unwrap_or_else(|| panic!("no index: {said}")))
    }

    /// Ends a job.
    pub fn cancel(&self, job: &Job) {
        self.call("scancel", &["--full", &job.id.to_string()]);
    }

    /// Munge lets the daemons believe each other's uids.
    #[track_caller]
    fn start_munge(&mut self) {
        let key: String =
            (0..64).map(|number| format!("{:02x}", (number * 37 + std::process::id()) % 256)).collect();
        let key = self.folder.write("munge.key", &key);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode");
        let path = |option: &str, name: &str| format!("--{option}={}", self.folder.path(name).display());
        let files = [
            path("key-file", "munge.key"),
            path("socket", "munge.socket"),
            path("pid-file", "munge.pid"),
            path("log-file", "munge.log"),
            path("seed-file", "munge.seed"),
        ];
        self.daemon("munged", &[&["--foreground".into(), "--force".into()], &files[..]].concat());
        let socket = self.folder.path("munge.socket");
        eventually(PATIENCE, "munge listens", || socket.exists().then_some(()));
    }

    #[track_caller]
    fn daemon(&mut self, program: &str, arguments: &[String]) {
        let log = File::create(self.folder.path(&format!("{program}.out"))).expect("a file");
        let mut command = self.command(program);
        let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
    }

    /// What a program prints.
    #[track_caller]
    fn call(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("a program");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[track_caller]
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(require(program));
        command.env("SLURM_CONF", self.folder.path("slurm.conf"));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Jobs outlive their daemon: they go first. What fails here fails for who has gone already.
        self.call("scancel", &["--user=daemon", "--full"]);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && !self.call("squeue", &["--noheader"]).trim().is_empty() {
            sleep(Duration::from_millis(100));
        }
        for daemon in self.daemons.iter_mut().rev() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

fn config(folder: &Path, host: &str) -> String {
    let folder = folder.display();
    let [controller, node] = [free_address().port(), free_address().port()];
    format!(
        "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:h100:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"
    )
}

/// The process of a job that sleeps.
fn sleeper(job: u32) -> Option<u32> {
    let variable = format!("SLURM_JOB_ID={job}");
    let folders = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut ours = folders.filter(|folder| {
        let read = |file: &str| fs::read(folder.join(file)).unwrap_or_default();
        read("comm") == b"sleep\n"
            && read("environ").split(|byte| *byte == 0).any(|line| line == variable.as_bytes())
    });
    ours.next()?.file_name()?.to_str()?.parse().ok()
}
