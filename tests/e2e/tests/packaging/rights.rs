//! What the exporter sees of other users' processes: as the service runs it, and with the drop-in that may read
//! environments.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Running, Scratch, require, team_mj, wattribute};

use crate::read;

/// Nobody's number; the processes are of others.
const EXPORTER: u32 = 32_100;
const PEOPLE: u32 = 32_101;

/// What only the drop-in lets it see.
const HIDDEN: &str = r#"
  - name: by environment
    match: ['env_WATT_TEAM=~".+"']
    owner: {team: "env-${env_WATT_TEAM}"}
  - name: by executable
    match: ['exe=~".*/traced-program"']
    owner: {team: by-exe}
"#;
/// What every user sees.
const OPEN: &str = r#"
  - name: by command line
    match: ['cmdline=~".*--account=(?P<account>[a-z]+).*"']
    owner: {team: "arg-${account}"}
  - name: by user
    match: ['uid="32101"', 'cgroup=~".+"']
    owner: {team: by-user}
"#;

/// The capabilities that a unit or its drop-in gives, as setpriv writes them.
fn capabilities(file: &str) -> Vec<String> {
    let text = read(file);
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        line.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect::<Vec<_>>()
    };
    assert_eq!(of("CapabilityBoundingSet="), of("AmbientCapabilities="), "{file}");
    of("AmbientCapabilities=")
}

/// A folder that the exporter's user may enter, with a program that runs the binary as that user, with no other
/// capability and no way to get one.
struct Place {
    folder: Scratch,
}

impl Place {
    fn new(capabilities: &[String]) -> Self {
        let folder = Scratch::below(&std::env::temp_dir(), "wattribute-rights");
        fs::copy(wattribute(), folder.path("wattribute")).expect("a copy");
        let library = fake_nvml::library().expect("the fake driver");
        fs::copy(library, folder.path("libnvidia-ml.so.1")).expect("a copy");
        let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        let script = format!(
            "#!/bin/sh\nexec {} --reuid {EXPORTER} --regid {EXPORTER} --clear-groups --no-new-privs \
             --bounding-set=-all{set} --inh-caps=-all{set} --ambient-caps=-all{set} {} \"$@\"\n",
            require("setpriv").display(),
            folder.path("wattribute").display(),
        );
        let start = folder.write("start", &script);
        fs::set_permissions(start, PermissionsExt::from_mode(0o755)).expect("our file");
        fs::set_permissions(folder.path(""), PermissionsExt::from_mode(0o755)).expect("our folder");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn flags(&self, scenario: &Scenario, rules: &str) -> Flags {
        let flags = Flags::with_fake(&self.folder, scenario);
        let env = flags.env.into_iter().filter(|(name, _)| name != "FAKE_NVML_JOURNAL").collect();
        Flags {
            program: Some(self.path("start")),
            nvml_library: Some(self.path("libnvidia-ml.so.1")),
            rules_files: vec![self.folder.write("rules.yaml", &format!("rules:{rules}"))],
            exposition_delay: Some(Duration::from_secs(4)),
            env,
            ..flags
        }
    }
}

/// Processes of another user: who pays for them by these rules, with these capabilities, and what it counts as not seen.
#[track_caller]
fn check((capabilities, rules): (&[String], &str), want: [&str; 4], unseen: &[&str]) {
    let process = |name: &str| Process::named(name).user(PEOPLE, PEOPLE);
    let processes: [Running; 4] = [
        process("python3").env("WATT_TEAM", "vision").start(),
        process("traced-program").argv0("ordinary").start(),
        process("python3").args(&["train.py", "--account=astro"]).start(),
        process("python3").start(),
    ];
    let mut scenario = Scenario::starting_now((0..4).map(Gpu::numbered).collect());
    scenario.loads =
        processes.iter().enumerate().map(|(gpu, process)| Load::constant(process.pid(), gpu, 50)).collect();
    let place = Place::new(capabilities);
    let exporter = Exporter::start(&place.folder, place.flags(&scenario, rules)).expect("it starts");
    let gpus: Vec<&str> = scenario.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    let scrape = Auditor::default().until(&exporter, "all teams pay", |scrape| {
        gpus.iter().zip(want).all(|(uuid, team)| team_mj(scrape, team, uuid) > 0)
    });
    let failures = |reason| scrape.value("wattribute_identify_failures_total", &[("reason", reason)]);
    let unread: Vec<&str> =
        ["environ", "exe"].into_iter().filter(|reason| failures(reason).is_some()).collect();
    assert_eq!(unread, unseen, "{}", exporter.stderr());
}

#[test]
fn the_service_bills_by_user_control_group_and_command_line() {
    let capabilities = capabilities("systemd/wattribute.service");
    check((&capabilities, OPEN), ["by-user", "by-user", "arg-astro", "by-user"], &["exe"]);
}

/// A process may have what cannot be seen, so no later rule may have it.
#[test]
fn what_the_service_cannot_see_it_bills_to_nobody_and_says_so() {
    let capabilities = capabilities("systemd/wattribute.service");
    check((&capabilities, &format!("{HIDDEN}{OPEN}")), ["unattributed"; 4], &["environ", "exe"]);
}

#[test]
fn with_the_drop_in_it_bills_by_environment_and_executable_too() {
    let capabilities = capabilities("systemd/read-environment.conf");
    let want = ["env-vision", "by-exe", "arg-astro", "by-user"];
    check((&capabilities, &format!("{HIDDEN}{OPEN}")), want, &[]);
}
