//! When the roster asks and what it says is held, on virtual time.

use std::time::{Duration, Instant};

use wattribute::facts::Field;

use super::parse::{Job, Share};
use super::roster::{Question, Roster, Service};
use super::scontrol::Answer;
use crate::allocation::{Allocations, Device};

struct Day {
    roster: Roster,
    begin: Instant,
}

impl Day {
    fn new() -> Self {
        let begin = Instant::now();
        Self { roster: Roster::new(vec!["gpu01".into()], Service::Lists, begin), begin }
    }

    fn at(&self, second: u64) -> Instant {
        self.begin + Duration::from_secs(second)
    }

    fn list(&mut self, second: u64, jobs: &[(u32, &str)]) {
        let list = jobs.iter().map(|(job, since)| (*job, (*since).to_owned())).collect();
        self.roster.list(Some(list), |_| None, self.at(second));
    }

    fn fail(&mut self, second: u64) {
        self.roster.list(None, |_| None, self.at(second));
    }

    fn answer(&mut self, second: u64, job: u32, gres: &str) {
        self.say(second, job, &Answer::Known(holding(gres)));
    }

    fn say(&mut self, second: u64, job: u32, answer: &Answer) {
        let now = self.at(second);
        self.roster.answer(job, answer, now);
    }

    #[track_caller]
    fn check_next(&self, second: u64, question: Question) {
        assert_eq!(self.roster.next(), Some((self.at(second), question)));
    }

    /// What is told now: holders and the indices of their GPUs; `None` is nothing new.
    #[track_caller]
    fn check_news(&mut self, want: Option<&[(&str, &[u32])]>) {
        let index = |device: &Device| match device {
            Device::Index(index) => *index,
            Device::Uuid(_) => panic!("Slurm knows no UUIDs"),
        };
        let told = self.roster.news();
        let told: Option<Vec<(&str, Vec<u32>)>> = told.first().map(|told: &Allocations| {
            told.held
                .iter()
                .map(|(name, all)| (&**name, all.iter().map(|one| index(&one.device)).collect()))
                .collect()
        });
        let want = want.map(|want| want.iter().map(|(name, gpus)| (*name, gpus.to_vec())).collect());
        assert_eq!(told, want);
    }
}

fn holding(gres: &str) -> Job {
    let [user, group, account] = ["alice", "staff", "astro"].map(String::from);
    let share = Share { nodes: "gpu01".into(), gres: gres.into() };
    let (partition, name) = ("gpu".into(), "x".into());
    Job { uid: 1001, user, gid: Some(50), group, account, partition, name, shares: Some(vec![share]) }
}

const AT: &str = "2026-11-21T10:00:00";

#[test]
fn a_job_is_asked_of_once_and_holds_until_it_is_no_longer_listed() {
    let mut day = Day::new();
    day.check_next(0, Question::List);
    day.list(0, &[(7, AT)]);
    day.check_next(0, Question::Job(7));
    day.check_news(None);
    day.answer(1, 7, "gpu:2(IDX:0,3)");
    day.check_news(Some(&[("slurm:7", &[0, 3])]));
    day.check_next(15, Question::List);
    day.list(15, &[(7, AT)]);
    day.check_next(30, Question::List);
    day.check_news(None);
    day.list(30, &[]);
    day.check_news(Some(&[]));
}

#[test]
fn a_job_that_began_again_may_have_other_gpus() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    day.answer(1, 7, "gpu:1(IDX:0)");
    day.check_news(Some(&[("slurm:7", &[0])]));
    day.list(15, &[(7, "2026-11-21T10:00:14")]);
    day.check_next(15, Question::Job(7));
    day.check_news(Some(&[]));
    day.answer(15, 7, "gpu:1(IDX:1)");
    day.check_news(Some(&[("slurm:7", &[1])]));
}

#[test]
fn a_node_without_jobs_says_so_once() {
    let mut day = Day::new();
    day.list(0, &[]);
    day.check_news(Some(&[]));
    day.list(15, &[]);
    day.check_news(None);
}

#[test]
fn the_last_list_stands_for_five_minutes_and_failures_are_tried_again_ever_more_rarely() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    day.answer(0, 7, "gpu:1(IDX:0)");
    day.check_news(Some(&[("slurm:7", &[0])]));
    let mut now = 15;
    for wait in [1, 2, 4, 8, 16, 32, 64, 128] {
        day.fail(now);
        day.check_news(None);
        now += wait;
        day.check_next(now, Question::List);
    }
    day.fail(300);
    day.check_news(Some(&[]));
    day.list(600, &[(7, AT)]);
    day.check_next(600, Question::Job(7));
}

#[test]
fn before_the_first_list_nothing_is_told() {
    let mut day = Day::new();
    day.roster.want(1);
    day.check_news(None);
    day.fail(0);
    day.check_news(None);
}

#[test]
fn for_new_rules_all_is_told_again() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    day.answer(0, 7, "gpu:1(IDX:0)");
    day.check_news(Some(&[("slurm:7", &[0])]));
    day.roster.want(5);
    let told: Vec<_> = day.roster.news().iter().map(|told| (told.generation, told.held.len())).collect();
    assert_eq!(told, [(5, 1)]);
}

#[test]
fn a_process_of_an_unknown_job_brings_the_list_forward() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    day.answer(0, 7, "gpu:1(IDX:0)");
    day.roster.hear(7);
    day.check_next(15, Question::List);
    day.roster.hear(8);
    day.check_next(1, Question::List);
}

#[test]
fn what_slurm_says_of_the_holder_is_all_known() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    day.answer(0, 7, "shard:2(IDX:0)");
    let told = day.roster.news();
    let one = &told[0].held["slurm:7"][0];
    assert_eq!(one.replicas, 2);
    let facts: Vec<String> =
        one.facts.iter().map(|(field, value)| format!("{field}={}", value.unwrap_or("?"))).collect();
    let want = "uid=1001 user=alice gid=50 group=staff scheduler=slurm job_id=7 slurm_account=astro slurm_user=alice \
                slurm_partition=gpu slurm_job_name=x";
    assert_eq!(facts.join(" "), want);
    assert_eq!(one.facts.text(&Field::SlurmAccount), "astro");
}

#[test]
fn a_job_of_the_prolog_is_asked_of_and_pending_until_the_answer() {
    let mut day = Day::new();
    day.roster.list(None, |_| None, day.at(0));
    day.roster.map([(7, vec![Device::Uuid("MIG-a".into())])].into(), day.at(0));
    let account = |told: &[Allocations]| match told {
        [only] if only.source == "prolog" => {
            format!("{:?}", only.held["slurm:7"][0].facts.get(&Field::SlurmAccount))
        }
        other => format!("{other:?}"),
    };
    day.check_next(0, Question::Job(7));
    day.check_news(None);
    day.say(0, 7, &Answer::None);
    assert_eq!(account(&day.roster.news()), "Pending");
    day.answer(0, 7, "gpu:1(IDX:0)");
    assert_eq!(account(&day.roster.news()), "Known(\"astro\")");
    day.roster.map([].into(), day.at(3));
    assert!(day.roster.news().iter().all(|told| told.held.is_empty()));
    day.check_next(0, Question::List);
}

#[test]
fn where_nobody_can_be_asked_a_job_of_the_prolog_has_its_number_alone() {
    let mut roster = Roster::new(vec![], Service::None, Instant::now());
    roster.map([(7, vec![Device::Index(0)])].into(), Instant::now());
    let told = roster.news();
    let facts = &told[0].held["slurm:7"][0].facts;
    assert_eq!(facts.iter().map(|(_, value)| value).collect::<Vec<_>>(), [Some("slurm"), Some("7")]);
    assert_eq!(roster.next(), None);
}

#[test]
fn a_file_that_was_left_behind_holds_nothing_while_slurm_lists_jobs() {
    let mut day = Day::new();
    day.list(0, &[(8, AT)]);
    day.answer(0, 8, "gpu:2(IDX:0-1)");
    day.roster.news();
    let files = [(7, vec![Device::Index(0)]), (8, vec![Device::Index(1)])];
    day.roster.map(files.into(), day.at(3));
    let held = |told: &[Allocations]| -> Vec<(&'static str, Vec<String>)> {
        told.iter().map(|told| (told.source, told.held.keys().map(ToString::to_string).collect())).collect()
    };
    let told = day.roster.news();
    assert_eq!(held(&told), [("slurm", vec!["slurm:8".into()]), ("prolog", vec!["slurm:8".into()])]);
    let gpus: Vec<&Device> = told[0].held["slurm:8"].iter().map(|one| &one.device).collect();
    assert_eq!(gpus, [&Device::Index(1)], "the files know best");
    day.fail(15);
    day.fail(320);
    let told = day.roster.news();
    assert_eq!(held(&told)[1], ("prolog", vec!["slurm:7".into(), "slurm:8".into()]));
    day.list(400, &[]);
    assert!(day.roster.news().iter().all(|told| told.held.is_empty()));
}

#[test]
fn a_listed_job_that_slurm_does_not_know_is_asked_of_again_at_least_each_minute() {
    let mut day = Day::new();
    day.list(0, &[(7, AT)]);
    let mut now = 0;
    for (wait, answer) in
        [1, 2, 4, 8, 16, 32, 60, 60].into_iter().zip([Answer::Unknown, Answer::None].iter().cycle())
    {
        day.list(now, &[(7, AT)]);
        day.check_next(now, Question::Job(7));
        day.say(now, 7, answer);
        now += wait;
        day.roster.list(Some(vec![(7, AT.into())]), |_| None, day.at(now));
        day.check_next(now, Question::Job(7));
    }
    day.answer(now, 7, "gpu:1(IDX:0)");
    day.check_news(Some(&[("slurm:7", &[0])]));
    day.say(now, 7, &Answer::Unknown);
    day.check_news(None);
}

#[test]
fn a_job_of_the_prolog_that_was_unknown_is_asked_of_when_it_is_listed() {
    let mut day = Day::new();
    day.roster.map([(7, vec![Device::Index(0)])].into(), day.at(0));
    day.say(0, 7, &Answer::Unknown);
    day.check_next(0, Question::List);
    day.list(1, &[(7, AT)]);
    day.check_next(1, Question::Job(7));
}

#[test]
fn a_controller_that_answers_of_any_job_is_asked_for_the_list_at_once() {
    for (answer, want) in [(Answer::Unknown, 3), (Answer::Known(holding("")), 3), (Answer::None, 7)] {
        let mut day = Day::new();
        [0, 1, 3].into_iter().for_each(|second| day.fail(second));
        day.say(3, 99, &answer);
        day.check_next(want, Question::List);
    }
}

#[test]
fn that_a_jobs_gpus_cannot_be_told_is_said_once() {
    let mut day = Day::new();
    day.list(0, &[(7, AT), (8, AT)]);
    day.roster.answer(7, &Answer::Known(Job { shares: None, ..holding("") }), day.at(0));
    day.answer(0, 8, "gpu:1(IDX:0)");
    assert_eq!(day.roster.unclear(), [7]);
    assert_eq!(day.roster.unclear(), Vec::<u32>::new());
    day.list(15, &[(8, AT)]);
    assert_eq!(day.roster.unclear(), Vec::<u32>::new());
}
