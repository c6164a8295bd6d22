//! A pid that is used again while the driver lists it. In a PID namespace of its own, where pids can be chosen.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Scrape, Scratch, eventually, require, team_mj, wattribute,
};

/// Whoever has it is the process that the driver lists.
const PID: u32 = 500;

/// Runs in the namespace: one program with the pid, the exporter, and another program with the pid when told so.
const SCRIPT: &str = r#"
with_pid() {
    while :; do
        echo 499 > /proc/sys/kernel/ns_last_pid
        env -i TEAM="$1" sleep 1000 &
        [ $! = 500 ] && return
        kill -9 $!; wait $!
    done
}
with_pid first
"$PROGRAM" "$@" &
exporter=$!
while ! [ -e "$FOLDER/swap" ]; do sleep 0.1; done
kill -9 500; wait 500
with_pid second
touch "$FOLDER/swapped"
wait $exporter
"#;

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let _unshare = require("unshare");
    let scratch = Scratch::new("reuse");
    let folder = scratch.path("").display().to_string();
    let inner = scratch.write("inner.sh", SCRIPT).display().to_string();
    let program = wattribute().display().to_string();
    let outer = format!(
        "#!/bin/sh\nexport PROGRAM='{program}' FOLDER='{folder}'\n\
         exec unshare --pid --fork --kill-child --mount-proc /bin/sh '{inner}' \"$@\"\n"
    );
    let outer = scratch.write("outer.sh", &outer);
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).expect("our own");
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads.push(Load::constant(PID, 0, 50));
    let rules =
        "rules:\n  - name: said\n    match: ['env_TEAM=~\".+\"']\n    owner: {team: \"${env_TEAM}\"}\n";
    let flags = Flags {
        program: Some(outer),
        rules_files: vec![scratch.write("rules.yaml", rules)],
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    let pays = |team: &'static str| move |scrape: &Scrape| team_mj(scrape, team, "") > 1_000_000;
    auditor.until(&exporter, "the first pays", pays("first"));
    scratch.write("swap", "");
    eventually(PATIENCE, "the pid has changed hands", || scratch.path("swapped").exists().then_some(()));
    // What the first used until then becomes visible, and then it gets no more.
    let first = team_mj(&auditor.until(&exporter, "the second pays", pays("second")), "first", "");
    let scrape =
        auditor.until(&exporter, "the second pays on", |scrape| team_mj(scrape, "second", "") > 3_000_000);
    assert_eq!(team_mj(&scrape, "first", ""), first);
    let series = scrape.find("wattribute_process_energy_joules_total", &[("pid", "500")]);
    assert_eq!(series.len(), 2, "{series:?}");
}
