//! What the stage decides, on virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wattribute::facts::{Fact, Field};

use super::desk::{Desk, FIELDS, Next, pending, set_job};
use super::parse::Job;
use super::roster::{Question, Roster, Service};
use super::scontrol::Answer;
use super::tests::{facts, process};
use crate::identify::Event;

/// A desk at a time, in milliseconds.
struct Day {
    desk: Desk,
    begin: Instant,
}

impl Day {
    fn new() -> Self {
        let mut desk = Desk::default();
        desk.want(true);
        Self { desk, begin: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    fn say(&mut self, ms: u64, pid: u32, job: u32) -> Vec<Event> {
        let now = self.at(ms);
        self.desk.watch(process(pid));
        let facts = facts(&job.to_string(), "1001");
        self.desk.hear(Event::Facts { process: process(pid), generation: 0, facts }, now)
    }

    fn forget(&mut self, ms: u64, pid: u32) {
        let now = self.at(ms);
        self.desk.forget(process(pid), now);
    }

    fn answer(&mut self, ms: u64, job: u32, answer: Answer) -> usize {
        let now = self.at(ms);
        self.desk.answer(job, answer, now).len()
    }

    /// Which job is asked for at this time, or else when to look again.
    #[track_caller]
    fn check(&mut self, ms: u64, want: Result<u32, Option<u64>>) {
        let want = match want {
            Ok(job) => Next::Ask(Question::Job(job)),
            Err(at) => Next::Wait(at.map(|at| self.at(at))),
        };
        let now = self.at(ms);
        assert_eq!(self.desk.next(now), want);
    }
}

fn known(account: &str) -> Answer {
    let (user, partition, name) = ("alice".into(), "gpu".into(), "x".into());
    Answer::Known(Job { uid: 1001, user, account: account.into(), partition, name, ..Job::default() })
}

#[test]
fn failures_are_tried_again_after_1_2_4_up_to_60_seconds() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    let mut now = 0;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        day.check(now, Ok(7));
        assert_eq!(day.answer(now, 7, Answer::None), 1);
        day.check(now, Err(Some(now + wait * 1000)));
        now += wait * 1000;
    }
}

#[test]
fn there_are_at_most_ten_questions_in_a_second() {
    let mut day = Day::new();
    for job in 0..3 {
        day.say(0, job, job);
    }
    day.check(0, Ok(0));
    day.answer(0, 0, known("a"));
    day.check(1, Err(Some(100)));
    day.check(100, Ok(1));
}

#[test]
fn an_answer_is_asked_for_again_after_an_hour_and_stands_until_then() {
    let mut day = Day::new();
    const HOUR: u64 = 3_600_000;
    day.say(0, 1, 7);
    assert_eq!(day.answer(0, 7, known("a")), 1);
    day.check(1000, Err(Some(HOUR)));
    day.check(HOUR, Ok(7));
    assert_eq!(day.answer(HOUR, 7, known("a")), 0, "nothing new");
    assert_eq!(day.answer(2 * HOUR, 7, Answer::Unknown), 0, "it was what it was");
    assert_eq!(day.answer(3 * HOUR, 7, known("b")), 1);
    let told = day.say(3 * HOUR, 2, 7);
    assert!(matches!(&*told, [Event::Facts { facts, .. }] if facts.text(&Field::SlurmAccount) == "b"));
}

#[test]
fn a_job_is_forgotten_five_minutes_after_its_last_process() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    day.answer(0, 7, known("a"));
    day.forget(1000, 1);
    day.check(2000, Err(None));
    assert_eq!(day.say(3000, 2, 7).len(), 1);
    day.check(3000, Err(Some(3_600_000)));
    day.forget(4000, 2);
    day.check(304_000, Err(None));
    day.say(304_000, 3, 7);
    day.check(304_000, Ok(7));
}

#[test]
fn a_job_that_never_gets_an_answer_is_given_up_after_its_end() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    day.forget(1000, 1);
    day.check(2000, Ok(7));
    day.answer(2000, 7, Answer::None);
    day.check(301_000, Err(None));
    assert_eq!(day.answer(302_000, 7, known("a")), 0);
}

#[test]
fn no_more_than_some_thousands_that_have_ended_wait_for_an_answer() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    for pid in 2..6000 {
        day.say(0, pid, 7);
        day.forget(0, pid);
    }
    assert_eq!(day.answer(1000, 7, known("a")), 4096);
}

#[test]
fn no_more_than_a_thousand_and_some_idle_jobs_are_kept() {
    let mut day = Day::new();
    for job in 0..2000 {
        let at = u64::from(job);
        day.say(at, job, job);
        day.answer(at, job, known("a"));
        day.forget(at, job);
    }
    day.check(2000, Err(None));
    let told = |events: Vec<Event>| match &*events {
        [Event::Facts { facts, .. }] => facts.get(&Field::SlurmAccount) != Fact::Pending,
        _ => false,
    };
    assert!(told(day.say(2001, 1, 1999)) && told(day.say(2001, 1, 2000 - 1024)));
    assert!(!told(day.say(2001, 1, 2000 - 1025)));
}

#[test]
fn facts_that_come_after_a_process_is_forgotten_are_not_told() {
    let mut day = Day::new();
    let late = Event::Facts { process: process(1), generation: 0, facts: facts("7", "1001") };
    let now = day.at(0);
    assert_eq!(day.desk.hear(late, now), Vec::new());
    day.check(0, Err(None));
}

#[test]
fn a_process_that_moves_to_another_job_is_told_of_that_one() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    day.answer(0, 7, known("a"));
    day.say(200, 1, 8);
    day.check(200, Ok(8));
    assert_eq!(day.answer(300, 7, known("b")), 0);
    assert_eq!(day.answer(400, 8, known("c")), 1);
}

#[test]
fn all_four_fields_are_pending_and_set_together() {
    let whole = pending(&facts("7", "1001"));
    assert!(FIELDS.iter().all(|field| whole.get(field) == Fact::Pending));
    let mut whole = whole;
    let Answer::Known(job) = known("a") else { panic!("a job") };
    assert!(set_job(&mut whole, Some(&job)));
    let found: BTreeMap<String, &str> =
        FIELDS.iter().map(|field| (field.to_string(), whole.text(field))).collect();
    let want = [("account", "a"), ("job_name", "x"), ("partition", "gpu"), ("user", "alice")];
    assert_eq!(found, want.map(|(name, value)| (format!("slurm_{name}"), value)).into());
}

#[test]
fn a_job_that_slurm_does_not_know_is_asked_for_again_after_a_minute() {
    let mut day = Day::new();
    day.say(0, 1, 7);
    assert_eq!(day.answer(0, 7, Answer::Unknown), 2);
    day.check(1000, Err(Some(60_000)));
    assert_eq!(day.answer(60_000, 7, Answer::Unknown), 0, "nothing new");
    day.check(60_000, Err(Some(120_000)));
    assert_eq!(day.answer(120_000, 7, known("a")), 1);
    day.check(121_000, Err(Some(3_720_000)));
}

#[test]
fn a_job_that_began_again_does_not_get_the_gpus_of_its_earlier_run() {
    // When the list comes after the answer that a process asked for, and after a list without the job.
    for (lists, want) in [(vec![1], false), (vec![1, 16], true), (vec![61], true)] {
        let mut day = Day::new();
        day.desk = Desk::new(Some(Roster::new(vec!["gpu01".into()], Service::Lists, day.begin)));
        day.desk.want(true);
        day.say(500, 1, 7);
        day.answer(500, 7, known("a"));
        day.forget(900, 1);
        let (last, earlier) = lists.split_last().expect("a list");
        for (second, jobs) in
            earlier.iter().map(|at| (at, vec![])).chain([(last, vec![(7, "now".to_owned())])])
        {
            let now = day.at(second * 1000);
            day.desk.list(Some(jobs), now);
        }
        let asks = day.desk.next(day.at(last * 1000 + 100)) == Next::Ask(Question::Job(7));
        assert_eq!(asks, want, "{lists:?}");
    }
}
