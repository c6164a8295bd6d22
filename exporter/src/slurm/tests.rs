//! The stage with a program that stands in for `scontrol`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::{env, fs, process};

use wattribute::facts::{Fact, Facts, Field};
use wattribute::rules::Source;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const RULES: &str = "tables:\n  t: {astro: {team: physics}}\nrules:\n  - name: slurm\n    match: ['scheduler=\"slurm\"']\n    lookup: {table: t, key: \"${slurm_account}\"}\n";

/// The line that Slurm would print of job `$4`, of user 1001.
const REPLY: &str = "echo \"JobId=$4 JobName=train UserId=alice(1001) GroupId=staff(50) Account=astro QOS=normal Partition=gpu AllocNode:Sid=login:1\"";

/// An identify stage that does nothing; tests tell its events.
struct Nobody;

impl Watch for Nobody {
    fn watch(&self, _: ProcessKey) {}
    fn forget(&self, _: ProcessKey) {}
    fn want(&self, _: &RuleSet, _: u64) {}
}

/// The stage, its neighbours, and a folder with the program.
struct World {
    stage: Slurm<Nobody>,
    tell: Box<dyn Fn(Event) -> bool + Send>,
    heard: Receiver<Event>,
    folder: PathBuf,
}

impl World {
    /// With this shell script as `scontrol`, which finds its folder in `$D`.
    fn new(name: &str, script: &str) -> Self {
        Self::with_patience(name, script, PATIENCE)
    }

    fn with_patience(name: &str, script: &str, patience: Duration) -> Self {
        let folder = env::temp_dir().join(format!("wattribute-slurm-{name}-{}", process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let program = folder.join("scontrol");
        // A child writes it: a file that this process has open could be inherited by another test's child, and could
        // not be run meanwhile.
        let write = ["-c", "cat >\"$0\" && chmod 755 \"$0\"", program.to_str().expect("UTF-8")];
        let mut shell = Command::new("sh").args(write).stdin(Stdio::piped()).spawn().expect("a shell");
        let text = format!("#!/bin/sh\nD={}\necho \"$1 $4\" >>$D/calls\n{script}\n", folder.display());
        shell.stdin.take().expect("piped").write_all(text.as_bytes()).expect("a pipe");
        assert!(shell.wait().expect("a shell").success());
        Self::of(Some(Scontrol::at(program, patience)), folder)
    }

    fn of(scontrol: Option<Scontrol>, folder: PathBuf) -> Self {
        let ((events, heard), (front, fronts)) = (channel(), channel());
        let begin = |tell| {
            front.send(tell).expect("a test");
            Ok(Nobody)
        };
        let (tell, hold) = (Box::new(move |event| events.send(event).is_ok()), Box::new(|_| true));
        let places = Places { scontrol, procfs: "/nowhere".into(), job_mapping: None };
        let stage = spawn(places, Ears { tell, hold }, begin).expect("a stage");
        let this = Self { stage, tell: fronts.recv().expect("a front"), heard, folder };
        this.stage.want(&rules(RULES), 0);
        this
    }

    /// Identify says of a process that it is in this job, of user 1001.
    fn say(&self, process: ProcessKey, job: &str) {
        self.stage.watch(process);
        (self.tell)(Event::Facts { process, generation: 0, facts: facts(job, "1001") });
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.heard.recv_timeout(PATIENCE).expect("an event")
    }

    /// The next event is facts of this process with this account; `None` is pending.
    #[track_caller]
    fn check_account(&self, process: ProcessKey, want: Option<&str>) {
        match self.next() {
            Event::Facts { process: of, facts, .. } => {
                let found = match facts.get(&Field::SlurmAccount) {
                    Fact::Pending => None,
                    _ => Some(facts.text(&Field::SlurmAccount)),
                };
                assert_eq!((of, found), (process, want));
            }
            other => panic!("{other:?} instead of facts"),
        }
    }

    #[track_caller]
    fn check_silent(&self) {
        assert_eq!(self.heard.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    }

    /// The text of a file that the program writes, once a line of it is there.
    #[track_caller]
    fn wait_for_line(&self, file: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            assert!(Instant::now() < deadline, "{file} is not written");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.join("calls")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn rules(text: &str) -> RuleSet {
    let source = Source { name: "test.yaml".into(), text: text.into() };
    RuleSet::load(&[source], &mut |_, _| Err("no files".into())).expect("the rules")
}

pub fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, start: 1 }
}

pub fn facts(job: &str, uid: &str) -> Arc<Facts> {
    let mut facts = Facts::default();
    let fields = [(Field::Scheduler, "slurm"), (Field::JobId, job), (Field::Uid, uid)];
    fields.into_iter().for_each(|(field, value)| facts.set(field, value));
    Arc::new(facts)
}

#[test]
fn a_job_is_asked_for_once_and_json_only_until_it_is_refused() {
    let world = World::new(
        "once",
        &format!("[ $1 = --json ] && exit 1\nwhile [ ! -e $D/go ]; do sleep 0.01; done\n{REPLY}"),
    );
    world.say(process(1), "7");
    world.check_account(process(1), None);
    world.say(process(2), "7");
    world.check_account(process(2), None);
    fs::write(world.folder.join("go"), "").expect("a file");
    world.check_account(process(1), Some("astro"));
    world.check_account(process(2), Some("astro"));
    world.say(process(3), "7");
    world.check_account(process(3), Some("astro"));
    world.say(process(4), "8");
    world.check_account(process(4), None);
    world.check_account(process(4), Some("astro"));
    assert_eq!(world.calls(), "--json 7\n--oneliner 7\n--oneliner 8\n");
}

#[test]
fn json_is_preferred() {
    let json = r#"echo '{"jobs": [{"job_id": 7, "user_id": 1001, "account": "astro", "name": "a b"}]}'"#;
    let world = World::new("json", json);
    world.say(process(1), "7");
    world.check_account(process(1), None);
    world.check_account(process(1), Some("astro"));
    assert_eq!(world.calls(), "--json 7\n");
}

#[test]
fn one_odd_reply_does_not_end_json() {
    let json = r#"{\"jobs\": [{\"job_id\": $4, \"user_id\": 1001, \"account\": \"astro\"}]}"#;
    let script =
        format!("if [ $1 = --json ]; then [ $4 = 8 ] && echo oops || echo \"{json}\"; exit 0; fi\n{REPLY}");
    let world = World::new("odd", &script);
    for (pid, job) in [(1, "7"), (2, "8"), (3, "9")] {
        world.say(process(pid), job);
        world.check_account(process(pid), None);
        world.check_account(process(pid), Some("astro"));
    }
    assert_eq!(world.calls(), "--json 7\n--json 8\n--oneliner 8\n--json 9\n");
}

#[test]
fn nobody_is_asked_what_no_rule_wants() {
    let world = World::new("unwanted", REPLY);
    world.stage.want(&rules("rules:\n  - {name: u, match: ['user=\"x\"'], owner: {team: x}}\n"), 1);
    world.say(process(1), "7");
    world.check_account(process(1), Some(""));
    world.check_silent();
    assert_eq!(world.calls(), "");
}

#[test]
fn without_scontrol_nothing_is_pending() {
    let world = World::of(None, env::temp_dir().join("wattribute-slurm-none"));
    world.say(process(1), "7");
    world.check_account(process(1), Some(""));
    world.check_silent();
}

#[test]
fn of_an_unknown_job_the_facts_are_absent_and_it_is_counted() {
    let script = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1";
    let world = World::new("unknown", script);
    world.say(process(1), "7");
    world.check_account(process(1), None);
    assert_eq!(world.next(), Event::Missing { process: process(1), part: "slurm_unknown_job" });
    world.check_account(process(1), Some(""));
    world.check_silent();
    assert_eq!(world.calls(), "--json 7\n--oneliner 7\n");
}

#[test]
fn a_failure_leaves_the_facts_pending_until_an_answer_comes() {
    let script = format!(
        "[ $1 = --json ] && exit 1\n[ -e $D/up ] || {{ echo 'Unable to contact slurm controller' >&2; touch $D/up; exit 1; }}\n{REPLY}"
    );
    let world = World::new("failing", &script);
    world.say(process(1), "7");
    world.check_account(process(1), None);
    assert_eq!(world.next(), Event::Missing { process: process(1), part: "slurm_unreachable" });
    world.check_account(process(1), Some("astro"));
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children_and_delays_nobody() {
    let script = "sleep 1000 & echo $$ $! >$D/pids-$4; wait";
    let world = World::with_patience("hanging", script, Duration::from_secs(15));
    world.say(process(1), "7");
    world.check_account(process(1), None);
    let pids = world.wait_for_line("pids-7");
    world.say(process(2), "8");
    world.check_account(process(2), None);
    (world.tell)(Event::Ended { process: process(2) });
    assert_eq!(world.next(), Event::Ended { process: process(2) });
    // And only now its time is over.
    assert_eq!(world.next(), Event::Missing { process: process(1), part: "slurm_unreachable" });
    let (shell, sleep) = pids.trim().split_once(' ').expect("two pids");
    let state = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert_eq!(state(shell), "", "not even a zombie is left");
    // It was signalled with the shell; whoever inherits it may take a moment to bury it.
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_over = |state: &str| state.is_empty() || state.contains(") Z ") || state.contains(") X ");
    while !is_over(&state(sleep)) {
        assert!(Instant::now() < deadline, "{}", state(sleep));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_that_ended_before_the_answer_still_gets_it() {
    let world = World::new(
        "ended",
        &format!("[ $1 = --json ] && exit 1\nwhile [ ! -e $D/go ]; do sleep 0.01; done\n{REPLY}"),
    );
    world.say(process(1), "7");
    world.check_account(process(1), None);
    (world.tell)(Event::Ended { process: process(1) });
    world.stage.forget(process(1));
    assert_eq!(world.next(), Event::Ended { process: process(1) });
    fs::write(world.folder.join("go"), "").expect("a file");
    world.check_account(process(1), Some("astro"));
}

#[test]
fn another_users_job_is_not_believed() {
    let world = World::new("mismatch", &format!("[ $1 = --json ] && exit 1\n{REPLY}"));
    world.stage.watch(process(1));
    for uid in ["1002", "0"] {
        (world.tell)(Event::Facts { process: process(1), generation: 0, facts: facts("7", uid) });
        if uid == "1002" {
            world.check_account(process(1), None);
            assert_eq!(world.next(), Event::Missing { process: process(1), part: "slurm_uid_mismatch" });
        }
        world.check_account(process(1), Some(""));
    }
    world.say(process(1), "7");
    world.check_account(process(1), Some("astro"));
}
