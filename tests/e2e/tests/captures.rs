//! `record` and `serve --source`: what is recorded holds no secret, comes back as it was, and what is damaged is refused.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::{Pid, Signal, kill_process};
use wattribute_e2e::{
    Auditor, Exporter, Flags, Process, Running, Scratch, device_mj, eventually, wattribute,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ARGUMENT: &str = "--token=hidden-in-arguments";
const VARIABLE: &str = "hidden-in-environment";
/// Every Debian has this user.
const USER: &str = "games";

/// A machine with one GPU and one process that has secrets.
struct Machine {
    scratch: Scratch,
    flags: Flags,
    process: Running,
}

fn machine(name: &str) -> Machine {
    let process =
        Process::named("private-model").args(&[ARGUMENT]).env("TOKEN", VARIABLE).user(5, 60).start();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(7)]);
    scenario.loads.push(Load::constant(process.pid(), 0, 40));
    let scratch = Scratch::new(name);
    let flags = Flags::with_fake(&scratch, &scenario);
    Machine { scratch, flags, process }
}

impl Machine {
    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(wattribute());
        let library = self.flags.nvml_library.as_ref().expect("the fake").display();
        command.args(["record", &format!("--nvml.library={library}"), "--out"]).arg(self.out());
        command.args(more).envs(self.flags.env.clone()).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn record(&self, more: &[&str]) -> Output {
        self.command(more).output().expect("wattribute runs")
    }

    fn out(&self) -> PathBuf {
        self.scratch.path("capture")
    }

    /// What was recorded, and what the recorder said.
    #[track_caller]
    fn text(&self) -> String {
        fs::read_to_string(self.out().join("capture.jsonl")).expect("a capture")
    }

    /// Starts a recorder that would go on for an hour, and waits until it has heard of the process.
    #[track_caller]
    fn recording(&self) -> Child {
        let child = self.command(&["--duration=1h"]).stdout(Stdio::null()).spawn().expect("it starts");
        eventually(PATIENCE, "facts are recorded", || {
            let text = fs::read_to_string(self.out().join("capture.jsonl")).unwrap_or_default();
            (text.contains("\"facts\"") && text.matches("\"sample\"").count() > 2).then_some(())
        });
        child
    }

    #[track_caller]
    fn replay(&self) -> Exporter {
        let source = Some(self.out().display().to_string());
        let flags = Flags { source, exposition_delay: Some(Duration::from_secs(2)), ..Flags::default() };
        Exporter::start(&self.scratch, flags).expect("it starts")
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

#[track_caller]
fn is_free_of(text: &str, words: &[&str]) {
    for word in words {
        assert!(!text.contains(word), "{word:?} is in {text}");
    }
}

#[test]
fn a_capture_holds_no_secret_and_by_default_no_name() {
    let machine = machine("capture-secrets");
    let said = machine.record(&["--duration=3s"]);
    assert!(said.status.success(), "{said:?}");
    let text =
        machine.text() + &String::from_utf8_lossy(&said.stdout) + &String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("\"user\":\"user-1\"") && text.contains("pseudonyms"), "{text}");
    let folder = machine.process.exe().parent().expect("a folder").file_name().expect("a name");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let uuid = "GPU-00000000-0000-0000-0000-000000000007";
    is_free_of(&text, &["hidden", USER, "private-model", &folder.to_string_lossy(), uuid]);
    assert!(!text.contains(&format!("\"{}\"", host.trim())), "{text}");
}

#[test]
fn names_are_kept_when_asked_for_and_secrets_are_not() {
    let machine = machine("capture-names");
    assert!(machine.record(&["--duration=3s", "--keep-names"]).status.success());
    let text = machine.text();
    for name in [&format!("\"user\":\"{USER}\""), "\"comm\":\"private-model\"", "\"names\":\"real\""] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    is_free_of(&text, &["hidden"]);
}

#[test]
fn a_capture_is_never_written_over() {
    let machine = machine("capture-over");
    fs::create_dir(machine.out()).expect("a folder");
    let said = machine.record(&["--duration=3s"]);
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && stderr.contains("it exists"), "{said:?}");
    assert!(fs::read_dir(machine.out()).expect("the folder").next().is_none());
}

#[test]
fn a_recorder_that_is_stopped_leaves_a_whole_capture() {
    let machine = machine("capture-stopped");
    let mut child = machine.recording();
    signal(&child, Signal::INT);
    assert!(child.wait().expect("it ends").success());
    assert!(machine.text().ends_with("\"end\":{\"because\":\"signal\"}}\n"), "{}", machine.text());
}

#[test]
fn a_recorder_that_is_killed_leaves_what_it_had() {
    let machine = machine("capture-killed");
    let mut child = machine.recording();
    signal(&child, Signal::KILL);
    child.wait().expect("it ends");
    // As though it had been in the middle of a line.
    let text = machine.text() + "{\"at_us\":99";
    fs::write(machine.out().join("capture.jsonl"), text).expect("written");
    let exporter = machine.replay();
    let log = exporter.stderr();
    assert!(log.contains("has no end"), "{log}");
}

#[test]
fn a_replay_gives_what_was_recorded_and_then_the_gpus_are_silent() {
    let scratch = Scratch::new("replay");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures/fake-two-competing");
    let flags = Flags {
        source: Some(folder.display().to_string()),
        rules_files: vec![folder.join("rules.yaml")],
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::default()
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    let expected = fs::read_to_string(folder.join("expected.prom")).expect("the scrape beside it");
    let expected = wattribute_e2e::Scrape::parse(&expected, wattribute_e2e::Format::Classic).expect("text");
    eventually(PATIENCE, "the replay is over", || {
        let scrape = auditor.scrape(&exporter);
        assert_eq!(scrape.value("wattribute_source_info", &[("source", "capture")]), Some("1"));
        let up = scrape.find("wattribute_gpu_up", &[]);
        let is_down = up.len() == 2 && up.iter().all(|sample| sample.number() == 0.0);
        let same = |uuid: &String| device_mj(&scrape, uuid) == device_mj(&expected, uuid);
        let gpus = wattribute_e2e::accounted_gpus(&expected);
        (is_down && gpus.iter().all(same)).then_some(())
    });
    let scrape = auditor.scrape(&exporter);
    for team in ["user-1", "user-2"] {
        let [got, want] = [&scrape, &expected].map(|scrape| wattribute_e2e::team_mj(scrape, team, ""));
        assert!(want > 0 && got == want, "{team}: {got} mJ, not {want} mJ");
    }
    assert!(exporter.stderr().contains("the capture has ended"), "{}", exporter.stderr());
}

#[track_caller]
fn check_refused(text: &str, want: &str) {
    let scratch = Scratch::new("damaged");
    let path = scratch.write("capture.jsonl", text);
    let flags = Flags { source: Some(path.display().to_string()), ..Flags::default() };
    let exit = Exporter::start(&scratch, flags).expect_err("it is damaged");
    assert!(exit.status.code() == Some(1) && exit.stderr.contains(want), "{}", exit.stderr);
}

#[test]
fn what_is_damaged_is_refused_with_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures/fake-counter-reset");
    let text = fs::read_to_string(folder.join("capture.jsonl")).expect("a capture");
    let mut lines: Vec<&str> = text.lines().collect();
    let first = lines[0].replace("\"capture_version\":1", "\"capture_version\":2");
    assert_ne!(first, lines[0]);
    check_refused(&(first + "\n"), ":1: version 2 of the format is unknown");
    check_refused("[]\n", ":1: this is no capture of wattribute");
    check_refused("", "it is empty");
    check_refused(&format!("{}\n", lines[0]), "there is no gpu in it");
    let third = lines[2].to_owned();
    lines[2] = "{\"at_us\":1,\"sample\":{\"uuid\":7}}";
    check_refused(&(lines.join("\n") + "\n"), "capture.jsonl:3: ");
    lines[2] = &third;
    lines.swap(3, 9);
    check_refused(&(lines.join("\n") + "\n"), "capture.jsonl:5: it is earlier than the line before");
}
