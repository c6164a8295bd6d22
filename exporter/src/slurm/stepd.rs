//! The job behind a SLUID, which Slurm 26.05 and newer name a job's control group by.
//!
//! Each step of a job has a `slurmstepd` in the job's own group, run by root, that calls itself
//! `slurmstepd: [211.batch]`. A process of the job may call itself so too; only root's word counts.
//! Called on the identify stage's thread, which reads /proc anyway.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use wattribute::cgroup;
use wattribute::facts::{Facts, Field};

/// How much of a small file is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// How many jobs are remembered at most.
const MOST: usize = 4096;

/// Which job has which SLUID.
#[derive(Debug)]
pub struct Stepd {
    procfs: PathBuf,
    known: HashMap<String, u32>,
}

impl Stepd {
    /// By the processes of this /proc.
    pub fn new(procfs: impl Into<PathBuf>) -> Self {
        Self { procfs: procfs.into(), known: HashMap::new() }
    }

    /// The same facts with the job of their SLUID, pending where its `slurmstepd` is not found; `None` where they
    /// have no SLUID to resolve.
    pub fn resolve(&mut self, facts: &Facts) -> Option<Facts> {
        let sluid = facts.text(&Field::Sluid);
        if sluid.is_empty() || !facts.text(&Field::JobId).is_empty() {
            return None;
        }
        let mut resolved = facts.clone();
        match self.job_of(sluid) {
            Some(job) => resolved.set(Field::JobId, job.to_string()),
            None => resolved.set_pending(Field::JobId),
        }
        Some(resolved)
    }

    fn job_of(&mut self, sluid: &str) -> Option<u32> {
        if let Some(job) = self.known.get(sluid) {
            return Some(*job);
        }
        let job = self.find(sluid)?;
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(sluid.into(), job);
        Some(job)
    }

    /// The one job that all of root's `slurmstepd` in this group name.
    fn find(&self, sluid: &str) -> Option<u32> {
        let folders = fs::read_dir(&self.procfs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let jobs: BTreeSet<u32> = folders.filter_map(|folder| job_of_daemon(&folder, sluid)).collect();
        let mut jobs = jobs.into_iter();
        jobs.next().filter(|_| jobs.next().is_none())
    }
}

/// The job of a process, if it is root's `slurmstepd` in the group of this SLUID.
fn job_of_daemon(folder: &Path, sluid: &str) -> Option<u32> {
    if !read(folder, "comm")?.starts_with("slurmstepd") || !is_roots(&read(folder, "status")?) {
        return None;
    }
    let mut facts = Facts::default();
    cgroup::derive(&read(folder, "cgroup")?, &mut facts);
    let is_here = facts.text(&Field::Scheduler) == "slurm" && facts.text(&Field::Sluid) == sluid;
    if is_here { job_of_title(&read(folder, "cmdline")?) } else { None }
}

/// Whether the real user id of a process is 0.
fn is_roots(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_ascii_whitespace().next()) == Some("0")
}

/// The job in `slurmstepd: [211.batch]`.
fn job_of_title(title: &str) -> Option<u32> {
    let step = title.strip_prefix("slurmstepd: [")?;
    let (step, _) = step.split_once(']')?;
    step.split_once('.').map_or(step, |(job, _)| job).parse().ok()
}

fn read(folder: &Path, file: &str) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join(file)).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUID: &str = "s5K1KKYAYG5D00";

    /// A /proc with processes: comm, uid, group below the scope, title.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str, processes: &[(&str, u32, &str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("wattribute-stepd-{name}-{}", std::process::id()));
            for (pid, (comm, uid, group, title)) in (100..).zip(processes) {
                let folder = root.join(pid.to_string());
                fs::create_dir_all(&folder).expect("a folder");
                let write = |file: &str, text: String| fs::write(folder.join(file), text).expect("a file");
                write("comm", format!("{comm}\n"));
                write("status", format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
                write("cgroup", format!("0::{group}\n"));
                write("cmdline", format!("{title}\0"));
            }
            fs::create_dir_all(root.join("irq")).expect("a folder");
            Self(root)
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn group(step: &str) -> String {
        format!("/system.slice/slurmstepd.scope/{SLUID}/{step}")
    }

    #[track_caller]
    fn check(name: &str, processes: &[(&str, u32, &str, &str)], want: Option<u32>) {
        let machine = Machine::new(name, processes);
        let mut facts = Facts::default();
        cgroup::derive(&format!("0::{}", group("step_0/user/task_0")), &mut facts);
        let resolved = Stepd::new(&machine.0).resolve(&facts).expect("a SLUID");
        assert_eq!(resolved.text(&Field::JobId).parse().ok(), want, "{name}");
        let is_pending = resolved.get(&Field::JobId) == wattribute::facts::Fact::Pending;
        assert_eq!(is_pending, want.is_none(), "{name}");
    }

    #[test]
    fn the_jobs_own_daemon_names_it() {
        let (batch, task) = (group("step_batch/slurm"), group("step_batch/user/task_0"));
        let user = ("python", 1001, &*task, "slurmstepd: [1.batch]");
        check("batch", &[("slurmstepd", 0, &batch, "slurmstepd: [211.batch]"), user], Some(211));
        check(
            "extern",
            &[("slurmstepd", 0, &group("step_extern/slurm"), "slurmstepd: [211.extern]")],
            Some(211),
        );
        check("step", &[("slurmstepd", 0, &group("step_0/slurm"), "slurmstepd: [211.0]")], Some(211));
        let several = group("step_0/slurm").replace("/slurmstepd", "/gpu01_slurmstepd");
        check("several daemons", &[("slurmstepd", 0, &several, "slurmstepd: [211.0]")], Some(211));
    }

    #[test]
    fn nobody_else_is_believed() {
        let here = group("step_0/slurm");
        let title = "slurmstepd: [666.0]";
        check("a user's", &[("slurmstepd", 1001, &here, title)], None);
        check("another's", &[("slurmstepd", 0, &here.replace(SLUID, "s5K1KKYAYG5D01"), title)], None);
        let below_a_user = format!("/user.slice/user-1001.slice/user@1001.service{here}");
        check("a look-alike", &[("slurmstepd", 0, &below_a_user, title)], None);
        check("no daemon", &[("python", 0, &here, title)], None);
        check(
            "two words",
            &[("slurmstepd", 0, &here, title), ("slurmstepd", 0, &here, "slurmstepd: [7.0]")],
            None,
        );
        check("nobody", &[], None);
        for strange in
            ["", "slurmstepd: [infinity]", "slurmstepd: [666", "x slurmstepd: [666.0]", "slurmstepd: [-1.0]"]
        {
            check("strange", &[("slurmstepd", 0, &here, strange)], None);
        }
    }

    #[test]
    fn what_has_a_job_or_no_sluid_is_left_alone() {
        let mut stepd = Stepd::new("/nowhere");
        let mut facts = Facts::default();
        assert_eq!(stepd.resolve(&facts), None);
        facts.set(Field::Sluid, SLUID);
        facts.set(Field::JobId, "7");
        assert_eq!(stepd.resolve(&facts), None);
    }
}
