//! Makes the captures in `tests/captures` anew, with the fake driver: nothing in them was measured on a GPU.
//!
//!     cargo run -p wattribute-e2e --example captures -- tests/captures
//!
//! Needs root, for processes of several users. Then `UPDATE_GOLDEN=1 cargo test` writes the scrapes beside them.

#![expect(clippy::expect_used, reason = "a tool for developers fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::Duration;
use std::{env, fs};

use fake_nvml::{Code, Effect, Fault, Gpu, Load, Scenario};
use wattribute_e2e::{Flags, Process, Running, Scratch, wattribute};

const RULES: &str = r#"# Who is who in this capture: names are pseudonyms, in the order in which the recorder met them.
idle_watts: {"Fake.*": 70}
rules:
  - name: people
    match: ['user=~"(?P<who>user-[0-9]+)"']
    owner: {team: "${who}"}
"#;

fn main() {
    let out = env::args().nth(1).expect("the folder for the captures");
    let out = Path::new(&out);
    competing(out);
    reset(out);
    lost(out);
    short_lived(out);
}

/// A GPU that nobody takes for a real one.
fn fake(number: u32) -> Gpu {
    Gpu { model: "Fake H100 80GB".into(), ..Gpu::numbered(number) }
}

fn scenario(gpus: u32) -> Scenario {
    let scenario = Scenario::starting_now((0..gpus).map(fake).collect());
    Scenario { driver_version: "fake".into(), ..scenario }
}

/// Of the users `daemon` and `games`, which every Debian has.
fn people() -> [Running; 2] {
    [(1, 1), (5, 60)].map(|(uid, gid)| Process::named("train").user(uid, gid).start())
}

/// Records a scenario; `meanwhile` goes on beside it.
fn record(out: &Path, name: &str, scenario: &Scenario, meanwhile: impl FnOnce(&Scratch) + Send) {
    let scratch = Scratch::new(name);
    let flags = Flags::with_fake(&scratch, scenario);
    let folder = out.join(name);
    // It may not be there yet.
    fs::remove_dir_all(&folder).ok();
    let mut command = Command::new(wattribute());
    command.args(["record", "--duration=15s", "--out"]).arg(&folder).envs(flags.env);
    command.arg(format!("--nvml.library={}", flags.nvml_library.expect("the fake").display()));
    let status = thread::scope(|scope| {
        scope.spawn(|| meanwhile(&scratch));
        command.status().expect("wattribute runs")
    });
    assert!(status.success(), "{name}: {status}");
    fs::write(folder.join("rules.yaml"), RULES).expect("the rules");
}

/// 30 % against 60 % on one GPU; the other GPU is empty.
fn competing(out: &Path) {
    let [one, two] = people();
    let mut scenario = scenario(2);
    scenario.loads = vec![Load::constant(one.pid(), 0, 30), Load::constant(two.pid(), 0, 60)];
    record(out, "fake-two-competing", &scenario, |_| {});
}

/// The counter begins at zero in the middle.
fn reset(out: &Path) {
    let [one, _two] = people();
    let mut scenario = scenario(1);
    scenario.gpus[0].counter_offset_mj = 900_000_000;
    scenario.loads = vec![Load::constant(one.pid(), 0, 50)];
    scenario.faults = vec![Fault::new(0, 7.5, Effect::CounterReset)];
    record(out, "fake-counter-reset", &scenario, |_| {});
}

/// One of two GPUs falls off the bus, and comes back.
fn lost(out: &Path) {
    let [one, two] = people();
    let mut scenario = scenario(2);
    scenario.loads = vec![Load::constant(one.pid(), 0, 40), Load::constant(two.pid(), 1, 40)];
    let effect = Effect::Error { calls: vec![], code: Code::GPU_IS_LOST };
    scenario.faults = vec![Fault::new(1, 5.5, effect).until(10.5)];
    record(out, "fake-lost-gpu", &scenario, |_| {});
}

/// Processes that come and go, the last of them after another user's.
fn short_lived(out: &Path) {
    let [one, two] = people();
    let mut scenario = scenario(1);
    scenario.loads = vec![
        Load::constant(one.pid(), 0, 70).between(0.0, 6.2),
        Load::constant(two.pid(), 0, 50).between(7.4, 60.0),
    ];
    record(out, "fake-short-lived", &scenario, |_| {
        sleep(Duration::from_millis(6400));
        one.end();
    });
}
