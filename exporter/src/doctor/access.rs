//! What this process may read of others in /proc: PID namespace, hidepid, other users' facts, control groups; and
//! which rules need what it may not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wattribute::facts::Field;
use wattribute::procfs::{Part, Reader};
use wattribute::rules::RuleSet;

use super::finding::Finding;
use crate::account::complaints;
use crate::rules_file;
use crate::settings::{Serve, Source};

/// The first namespaces of a machine have fixed numbers: include/linux/proc_ns.h of the kernel.
const HOST_PIDS: &str = "pid:[4026531836]";
const HOST_CGROUPS: &str = "cgroup:[4026531835]";
/// So many processes of other users are tried, of so many that are looked at.
const TRIED: usize = 50;
const LOOKED_AT: usize = 5000;
const CAPABILITIES: [(u32, &str); 2] = [(19, "CAP_SYS_PTRACE"), (2, "CAP_DAC_READ_SEARCH")];

pub fn examine(settings: &Serve) -> Vec<Finding> {
    if !matches!(settings.source, Source::Nvml { .. }) {
        return vec![Finding::ok("/proc", "not needed: the processes are not this machine's")];
    }
    let procfs = &*settings.machine.procfs;
    if let Err(error) = fs::read(procfs.join("stat")) {
        let found = format!("{}: it is no /proc: stat: {error}", procfs.display());
        return vec![Finding::failure(
            "/proc",
            found,
            "mount the host's /proc there, or name it by --path.procfs",
        )];
    }
    let mut findings = vec![namespace(procfs)];
    findings.extend(hiding(procfs));
    // Files that do not load are the examination of the rules.
    let rules = rules_file::load(&settings.rules_files).unwrap_or_default();
    findings.push(facts(procfs, &rules));
    findings.push(cgroups(procfs, &rules));
    findings
}

fn namespace(procfs: &Path) -> Finding {
    const CHECK: &str = "PID namespace";
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own.as_os_str() == HOST_PIDS) {
        return Finding::ok(CHECK, "the host's");
    }
    let status = fs::read_to_string(procfs.join("self/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    if pids.split_ascii_whitespace().count() > 1 {
        return Finding::ok(CHECK, format!("not the host's, but {} shows one outside", procfs.display()));
    }
    Finding::warning(
        CHECK,
        format!(
            "not the host's: {} shows the processes of a container, not all that use the GPUs",
            procfs.display()
        ),
        "Kubernetes: hostPID: true; Docker: --pid=host; or mount the host's /proc and name it by --path.procfs",
    )
}

/// How a /proc hides processes from those who do not own them.
#[derive(Debug, PartialEq, Eq)]
struct Hiding<'t> {
    mode: &'t str,
    /// The group that sees them all the same.
    group: Option<&'t str>,
}

impl<'t> Hiding<'t> {
    /// Of the /proc mounted there last, as mountinfo says.
    fn of(mountinfo: &'t str, place: &Path) -> Option<Self> {
        let mut mounts = mountinfo.lines().rev().filter_map(|line| line.split_once(" - "));
        let is_there = |mount: &&'t str| mount.split(' ').nth(4).is_some_and(|path| Path::new(path) == place);
        let (_, filesystem) = mounts.find(|(mount, _)| is_there(mount))?;
        let options = filesystem.strip_prefix("proc ")?.split_once(' ')?.1;
        let value =
            |key: &str| options.split(',').find_map(|option| option.strip_prefix(key)?.strip_prefix('='));
        let mode = value("hidepid").filter(|mode| !["0", "off"].contains(mode))?;
        Some(Self { mode, group: value("gid") })
    }
}

fn hiding(procfs: &Path) -> Option<Finding> {
    let place = procfs.canonicalize().ok()?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let Some(Hiding { mode, group }) = Hiding::of(&mountinfo, &place) else {
        return Some(Finding::ok("hidepid", "off"));
    };
    let group = group.map_or("none".into(), |gid| format!("gid {gid}"));
    let found = format!("hidepid={mode} (group that sees all: {group})");
    if Reader::new(procfs).key(1).is_ok() {
        return Some(Finding::ok("hidepid", format!("{found}, but this process sees pid 1")));
    }
    let advice = "run as root or with CAP_SYS_PTRACE, or in that group (systemd: SupplementaryGroups=), or remount \
                  /proc with hidepid=off";
    Some(Finding::failure("hidepid", format!("{found}: other users' processes are hidden"), advice))
}

/// Who we are, and which of the capabilities that matter we have.
fn identity() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let capabilities = value("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default();
    let has = |(bit, name): &(u32, &'static str)| (capabilities >> bit & 1 == 1).then_some(*name);
    let held: Vec<&str> = CAPABILITIES.iter().filter_map(has).collect();
    let uid = rustix::process::geteuid().as_raw();
    if held.is_empty() {
        format!("uid {uid}, no capability that helps")
    } else {
        format!("uid {uid}, {}", held.join(" "))
    }
}

/// What cannot be read of other users' processes, and of how many was tried.
fn unread(procfs: &Path, rules: &RuleSet) -> (usize, BTreeSet<Part>) {
    let mut reader = Reader::new(procfs);
    reader.read_ancestors(false);
    let own = rustix::process::getuid().as_raw().to_string();
    let entries = fs::read_dir(procfs).into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut parts = BTreeSet::new();
    let mut tried = 0;
    for pid in pids.take(LOOKED_AT) {
        let Ok(key) = reader.key(pid) else { continue };
        let Ok(reading) = reader.facts(key, rules.wanted_env()) else { continue };
        if reading.ending || reading.facts.text(&Field::Uid) == own {
            continue;
        }
        parts.extend(reading.unread);
        tried += 1;
        if tried == TRIED {
            break;
        }
    }
    (tried, parts)
}

fn facts(procfs: &Path, rules: &RuleSet) -> Finding {
    const CHECK: &str = "permissions";
    let who = identity();
    let (tried, parts) = unread(procfs, rules);
    if tried == 0 {
        return Finding::ok(CHECK, format!("{who}: no process of another user is here to try"));
    }
    let is_env_wanted = !rules.wanted_env().is_empty();
    if parts.is_empty() {
        let env = if is_env_wanted { "" } else { ", environments not tried: no rule reads them" };
        return Finding::ok(CHECK, format!("{who}: all of other users can be read{env}"));
    }
    let fields: Vec<Field> = parts.iter().flat_map(|part| part.fields(rules.wanted_env())).collect();
    let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
    let found = format!("{who}: of other users cannot be read: {}", names.join(", "));
    let Some(readers) = complaints::readers(rules, &fields) else {
        return Finding::ok(CHECK, format!("{found}; no rule asks for it"));
    };
    Finding::warning(
        CHECK,
        format!("{found}; asked for by: {readers}: what waits for it becomes unattributed"),
        "run as root, or with CAP_SYS_PTRACE (exe) and CAP_DAC_READ_SEARCH too (environ); or let these rules go by \
         user, group, cgroup or cmdline",
    )
}

fn cgroups(procfs: &Path, rules: &RuleSet) -> Finding {
    const CHECK: &str = "control groups";
    let read = |pid: &str| fs::read_to_string(procfs.join(pid).join("cgroup"));
    let text = read("1").or_else(|_| read("self")).unwrap_or_default();
    let has_unified = text.lines().any(|line| line.starts_with("0::"));
    let has_others = text.lines().any(|line| !line.starts_with("0::"));
    let version = match (has_unified, has_others) {
        (true, false) => "version 2",
        (true, true) => "hybrid (version 1 with the tree of version 2)",
        (false, true) => "version 1",
        (false, false) => {
            let advice =
                "without control groups jobs, pods, containers and units are not known: let rules go by user";
            return Finding::warning(CHECK, "none", advice);
        }
    };
    if fs::read_link("/proc/self/ns/cgroup").is_ok_and(|own| own.as_os_str() == HOST_CGROUPS) {
        return Finding::ok(CHECK, format!("{version}, in the host's namespace"));
    }
    let found = format!("{version}, in a namespace of its own: paths of others are cut at the front");
    if [Field::SystemdSlice, Field::Cgroup].iter().any(|field| rules.wants(field)) {
        let advice = "rules name cgroup or systemd_slice: Docker: --cgroupns=host; Kubernetes: let them go by other fields";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::ok(CHECK, format!("{found}; jobs, pods and containers are found all the same"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mountinfo: &str, want: Option<(&str, Option<&str>)>) {
        let hiding = Hiding::of(mountinfo, Path::new("/proc"));
        assert_eq!(hiding.map(|hiding| (hiding.mode, hiding.group)), want);
    }

    #[test]
    fn the_last_mount_there_says_whether_it_hides() {
        let plain = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";
        let hidden = "63 43 0:39 / /proc rw shared:7 - proc proc rw,gid=4,hidepid=invisible\n";
        check(plain, None);
        check(&format!("{plain}{hidden}"), Some(("invisible", Some("4"))));
        check(&format!("{hidden}{plain}"), None);
        check("1 2 0:1 / /proc rw - proc none rw,hidepid=2\n", Some(("2", None)));
        check("1 2 0:1 / /host/proc rw - proc none rw,hidepid=2\n", None);
        check("1 2 0:1 / /proc rw - proc none rw,hidepid=off\n", None);
    }
}
