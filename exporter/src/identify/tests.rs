//! The stage with real children, and with simulated processes.

use super::*;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use wattribute::facts::Field;

const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// A child that is ended when it goes out of scope.
struct Running(Child);

impl Running {
    /// Starts a script, with a pipe to read from, and waits until it runs.
    fn script(script: &str) -> Self {
        let mut command = Command::new("sh");
        let child =
            command.args(["-c", script]).env("TEAM", "nlp").stdin(Stdio::piped()).spawn().expect("a child");
        let cmdline = format!("/proc/{}/cmdline", child.id());
        while !std::fs::read_to_string(&cmdline).expect("a file").starts_with("sh") {
            std::thread::yield_now();
        }
        Self(child)
    }

    fn key(&self) -> ProcessKey {
        Reader::new("/proc").key(self.0.id()).expect("a key")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn real(interval: Duration) -> (Identify, Receiver<Event>) {
    let (events, heard) = channel();
    (spawn(Proc::new("/proc"), move |event| events.send(event).is_ok(), interval).expect("a stage"), heard)
}

#[track_caller]
fn next(heard: &Receiver<Event>) -> Event {
    heard.recv_timeout(PATIENCE).expect("an event")
}

#[track_caller]
fn next_facts(heard: &Receiver<Event>, process: ProcessKey) -> (u64, Arc<Facts>) {
    match next(heard) {
        Event::Facts { process: of, generation, facts } if of == process => (generation, facts),
        other => panic!("{other:?} instead of facts of {process:?}"),
    }
}

#[track_caller]
fn check_silent(heard: &Receiver<Event>, time: Duration) {
    assert_eq!(heard.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}

#[test]
fn the_end_of_a_process_is_told_at_once() {
    let (stage, heard) = real(LONG);
    let mut child = Running::script("read line");
    let process = child.key();
    stage.watch(process);
    stage.watch(process);
    next_facts(&heard, process);
    child.0.kill().expect("a signal");
    // Long before it would be read again.
    assert_eq!(next(&heard), Event::Ended { process });
    check_silent(&heard, SHORT);
}

#[test]
fn exec_is_noticed_and_nothing_is_told_twice() {
    let (stage, heard) = real(SHORT);
    let mut child = Running::script("read line; exec sleep 100");
    stage.watch(child.key());
    assert_eq!(next_facts(&heard, child.key()).1.text(&Field::Comm), "sh");
    drop(child.0.stdin.take());
    // A read in the middle of the exec sees a part of it, and is told as well.
    let is_whole = |facts: &Facts| {
        facts.text(&Field::Exe).ends_with("/sleep") && facts.text(&Field::Cmdline) == "sleep 100"
    };
    while !is_whole(&next_facts(&heard, child.key()).1) {}
    check_silent(&heard, 10 * SHORT);
}

#[test]
fn a_pid_that_is_anothers_by_now_has_ended() {
    let (stage, heard) = real(LONG);
    let child = Running::script("read line");
    let process = ProcessKey { start: child.key().start - 1, ..child.key() };
    stage.watch(process);
    assert_eq!(next(&heard), Event::Ended { process });
}

#[test]
fn wanted_variables_are_read_at_once_and_with_their_generation() {
    let (stage, heard) = real(LONG);
    let child = Running::script("read line");
    let team = Field::Env("TEAM".into());
    stage.watch(child.key());
    let (generation, facts) = next_facts(&heard, child.key());
    assert_eq!((generation, facts.text(&team)), (0, ""));
    for wanted in 1..=2 {
        let env = ["TEAM".to_owned()].into();
        stage.ask(super::Command::Want(Wanted { env, ancestors: true }, wanted));
        let (generation, facts) = next_facts(&heard, child.key());
        assert_eq!((generation, facts.text(&team)), (wanted, "nlp"));
    }
}

#[test]
fn of_a_forgotten_process_nothing_is_told() {
    let (stage, heard) = real(SHORT);
    let mut child = Running::script("read line");
    stage.watch(child.key());
    next_facts(&heard, child.key());
    stage.forget(child.key());
    // What is heard of another shows that the stage has got so far.
    let other = Running::script("read line");
    stage.watch(other.key());
    next_facts(&heard, other.key());
    child.0.kill().expect("a signal");
    check_silent(&heard, 5 * SHORT);
}

#[test]
fn dropping_the_handle_stops_the_thread() {
    let (stage, heard) = real(LONG);
    drop(stage);
    assert_eq!(heard.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_proc_of_another_namespace_knows_no_pidfd() {
    assert_eq!(Proc::new("/proc").ends(), Ends::ByPidfd);
    assert_eq!(Proc::new("/proc/sys").ends(), Ends::ByReading);
}

type Answer = Result<Reading, ReadError>;

/// Processes that answer as told, and count how often they were asked.
#[derive(Clone)]
struct Simulated {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<BTreeMap<ProcessKey, u32>>>,
}

impl Simulated {
    fn start(answer: Answer, interval: Duration) -> (Self, Identify, Receiver<Event>) {
        let (events, heard) = channel();
        let simulated = Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let stage =
            spawn(simulated.clone(), move |event| events.send(event).is_ok(), interval).expect("a stage");
        (simulated, stage, heard)
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("a lock") = answer;
    }

    fn asked(&self) -> (usize, u32) {
        let asked = self.asked.lock().expect("a lock");
        (asked.len(), asked.values().sum())
    }
}

impl Processes for Simulated {
    fn facts(&mut self, process: ProcessKey, _: &Wanted) -> Answer {
        *self.asked.lock().expect("a lock").entry(process).or_default() += 1;
        self.answer.lock().expect("a lock").clone()
    }

    fn ends(&self) -> Ends {
        Ends::ByReading
    }

    fn forget(&mut self) {}
}

fn reading(comm: &str) -> Reading {
    let mut reading = Reading::default();
    reading.facts.set(Field::Comm, comm);
    reading
}

const PROCESS: ProcessKey = ProcessKey { pid: 7, start: 1 };

#[test]
fn a_simulated_pid_is_never_taken_for_a_real_one() {
    let (simulated, stage, heard) = Simulated::start(Ok(reading("demo")), SHORT);
    let mut child = Running::script("read line");
    let process = child.key();
    stage.watch(process);
    next_facts(&heard, process);
    child.0.kill().expect("a signal");
    check_silent(&heard, 3 * SHORT);
    simulated.answer(Err(ReadError::Vanished));
    assert_eq!(next(&heard), Event::Ended { process });
}

#[test]
fn a_failure_is_told_once_and_facts_may_still_come() {
    let (simulated, stage, heard) = Simulated::start(Err(ReadError::Denied), SHORT);
    stage.watch(PROCESS);
    assert_eq!(next(&heard), Event::Failed { process: PROCESS, reason: "denied" });
    check_silent(&heard, 3 * SHORT);
    simulated.answer(Ok(reading("late")));
    assert_eq!(next_facts(&heard, PROCESS).1.text(&Field::Comm), "late");
}

#[test]
fn an_ending_process_keeps_the_facts_it_had() {
    let (simulated, stage, heard) = Simulated::start(Ok(reading("train")), SHORT);
    stage.watch(PROCESS);
    next_facts(&heard, PROCESS);
    simulated.answer(Ok(Reading { ending: true, ..Reading::default() }));
    check_silent(&heard, 3 * SHORT);
    stage.ask(super::Command::Want(Wanted::default(), 5));
    let (generation, facts) = next_facts(&heard, PROCESS);
    assert_eq!((generation, facts.text(&Field::Comm)), (5, "train"));
}

#[test]
fn a_part_that_cannot_be_read_is_told_once() {
    let part = [wattribute::procfs::Part::Environ].into();
    let (_simulated, stage, heard) = Simulated::start(Ok(Reading { unread: part, ..reading("x") }), SHORT);
    stage.watch(PROCESS);
    assert_eq!(next(&heard), Event::Missing { process: PROCESS, part: "environ" });
    next_facts(&heard, PROCESS);
    check_silent(&heard, 3 * SHORT);
}

#[test]
fn ten_thousand_processes_are_read_once_each_and_again_not_all_together() {
    // So long that a busy machine ends the first round before the second begins, and sees the second while it lasts.
    let interval = Duration::from_secs(12);
    let (simulated, stage, heard) = Simulated::start(Ok(reading("x")), interval);
    for pid in 1..=10_000 {
        stage.watch(ProcessKey { pid, start: 1 });
    }
    for _ in 0..10_000 {
        next(&heard);
    }
    let (processes, reads) = simulated.asked();
    assert_eq!((processes, reads), (10_000, 10_000));
    let mut reads = 0;
    while reads < 11_000 {
        std::thread::sleep(SHORT);
        reads = simulated.asked().1;
    }
    assert!(reads < 19_000, "{reads} reads when the second round has just begun");
}

/// Processes whose name is the processor time that the stage's thread has used, in nanoseconds.
struct Meter;

impl Processes for Meter {
    fn facts(&mut self, _: ProcessKey, _: &Wanted) -> Answer {
        Ok(reading(std::fs::read_to_string("/proc/thread-self/schedstat").expect("a file").trim()))
    }

    fn ends(&self) -> Ends {
        Ends::ByReading
    }

    fn forget(&mut self) {}
}

#[test]
fn waiting_costs_no_processor_time() {
    let (events, heard) = channel();
    let stage =
        spawn(Meter, move |event| events.send(event).is_ok(), Duration::from_millis(400)).expect("a stage");
    stage.watch(PROCESS);
    let used = || -> u64 {
        let facts = next_facts(&heard, PROCESS).1;
        facts.text(&Field::Comm).split(' ').next().and_then(|used| used.parse().ok()).expect("nanoseconds")
    };
    let first = used();
    let second = used();
    assert!(second - first < 20_000_000, "{} ns in some 300 ms", second - first);
}
