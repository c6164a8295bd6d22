//! A /proc in which a process is in a job: the process is real, only its control group is not. To make such groups
//! for real takes a machine of one's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use wattribute_e2e::Scratch;

/// The folder for `--path.procfs`.
pub struct Machine(PathBuf);

impl Machine {
    /// With this process in the batch step of this job.
    #[track_caller]
    pub fn with_job(scratch: &Scratch, pid: u32, job: u32) -> Self {
        let procfs = scratch.path("proc");
        let (from, to) = (PathBuf::from(format!("/proc/{pid}")), procfs.join(pid.to_string()));
        fs::create_dir_all(&to).expect("a folder");
        for file in ["stat", "status", "cmdline"] {
            fs::write(to.join(file), fs::read(from.join(file)).expect("a process")).expect("a file");
        }
        symlink(fs::read_link(from.join("exe")).expect("a program"), to.join("exe")).expect("a link");
        let cgroup = format!("0::/system.slice/slurmstepd.scope/job_{job}/step_batch/user/task_0\n");
        fs::write(to.join("cgroup"), cgroup).expect("a file");
        Self(procfs)
    }

    pub fn procfs(&self) -> &PathBuf {
        &self.0
    }
}
