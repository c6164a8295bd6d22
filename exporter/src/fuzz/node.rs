//! What this node says of a process: the files of its folder in /proc, most of which its user has a hand in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use wattribute::cgroup;
use wattribute::facts::{Facts, Field};
use wattribute::procfs::{Names, Reader};

use super::{Outcome, Target, known, said, text};
use crate::explain::json;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "proc_stat", feed: stat, seeds: &[STAT], rounds: 100 },
    Target { name: "proc_status", feed: status, seeds: &[STATUS], rounds: 100 },
    Target { name: "proc_environ", feed: environ, seeds: &[ENVIRON], rounds: 100 },
    Target { name: "proc_cmdline", feed: cmdline, seeds: &[CMDLINE], rounds: 100 },
    Target { name: "proc_cgroup", feed: cgroup_file, seeds: CGROUPS, rounds: 100 },
    Target { name: "cgroup", feed: cgroup_text, seeds: CGROUPS, rounds: 5000 },
    Target {
        name: "passwd",
        feed: passwd,
        seeds: &[b"root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:\n"],
        rounds: 3000,
    },
];

const STAT: &[u8] = b"7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 93100 1000 100 \
    18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
const STATUS: &[u8] = b"Name:\tpython3\nUmask:\t0022\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\n\
    Gid:\t100\t100\t100\t100\nGroups:\t\n";
const ENVIRON: &[u8] = b"PATH=/bin\0TEAM=physics\0TEAM=again\0=\0EMPTY=\0no-value\0";
const CMDLINE: &[u8] = b"python3\0-m\0train\0--lr\x000.1\0";
const CGROUPS: &[&[u8]] = &[
    b"0::/system.slice/slurmstepd.scope/job_211/step_0/user/task_0\n",
    b"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b64d8bb_8f6d_4c2b_a1c2_1a2b3c4d5e6f.slice/\
      cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n",
    b"12:devices:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
      1:name=systemd:/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n0::/\n",
    b"9:memory:/slurm/uid_1000/job_7/step_batch\n4:cpu,cpuacct:/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n",
];

/// A folder that is a /proc with one process in it, for as long as this lives.
struct Proc(PathBuf);

impl Drop for Proc {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Proc {
    /// With a file of the process as said; the others are good.
    fn with(file: &str, bytes: &[u8]) -> Option<Self> {
        let root = super::files::scratch();
        let proc = Self(root);
        let folder = proc.0.join("7");
        fs::create_dir_all(&folder).ok()?;
        let good = [
            ("stat", STAT),
            ("status", STATUS),
            ("environ", ENVIRON),
            ("cmdline", CMDLINE),
            ("cgroup", CGROUPS[0]),
        ];
        for (name, good) in good {
            fs::write(folder.join(name), if name == file { bytes } else { good }).ok()?;
        }
        symlink("/usr/bin/python3 (deleted)", folder.join("exe")).ok()?;
        Some(proc)
    }
}

/// Reads the process, as `identify` does.
fn read(root: &Path) -> Outcome {
    let mut reader = Reader::with_names(root, Names::from_text("alice:x:1000:100::/:", "users:x:100:"));
    let key = match reader.key(7) {
        Ok(key) => key,
        Err(error) => return Outcome::Refused(error.reason().into()),
    };
    match reader.facts(key, &BTreeSet::from(["TEAM".to_owned(), "EMPTY".to_owned()])) {
        Ok(reading) => judge(&reading.facts),
        Err(error) => Outcome::Refused(error.reason().into()),
    }
}

/// What is read is bounded, and no variable is kept that nobody asked for.
fn judge(facts: &Facts) -> Outcome {
    for (field, value) in facts.iter() {
        match field {
            Field::Env(name) if !["TEAM", "EMPTY"].contains(&&**name) => {
                return Outcome::Broken("a variable is kept that no rule names");
            }
            Field::Cmdline if value.is_some_and(|value| value.len() > 3 * 32 * 1024) => {
                return Outcome::Broken("a command line is longer than its bound");
            }
            _ => {}
        }
    }
    // As it would be shown, escaped.
    let shown = json(&facts.iter().map(|(_, value)| value).collect::<Vec<_>>());
    if shown.is_err() { Outcome::Broken("facts cannot be shown") } else { Outcome::Read }
}

fn of_file(file: &str, bytes: &[u8]) -> Outcome {
    Proc::with(file, bytes).map_or(Outcome::Refused(String::new()), |proc| read(&proc.0))
}

fn stat(bytes: &[u8]) -> Outcome {
    of_file("stat", bytes)
}

fn status(bytes: &[u8]) -> Outcome {
    of_file("status", bytes)
}

fn environ(bytes: &[u8]) -> Outcome {
    of_file("environ", bytes)
}

fn cmdline(bytes: &[u8]) -> Outcome {
    of_file("cmdline", bytes)
}

fn cgroup_file(bytes: &[u8]) -> Outcome {
    of_file("cgroup", bytes)
}

/// What stands in the file is the only source: every identity is a piece of it.
fn cgroup_text(bytes: &[u8]) -> Outcome {
    let (text, mut facts) = (text(bytes), Facts::default());
    cgroup::derive(&text, &mut facts);
    for field in [Field::JobId, Field::JobStep, Field::Sluid] {
        if !text.contains(facts.text(&field)) {
            return Outcome::Broken("an identity is not in the text");
        }
    }
    known(facts.workload())
}

fn passwd(bytes: &[u8]) -> Outcome {
    let text = text(bytes);
    let mut names = Names::from_text(&text, &text);
    if names.user(1000).is_err() || names.group(0).is_err() {
        return Outcome::Broken("a file is no service that can fail");
    }
    said::<_, String>(Ok(()))
}
