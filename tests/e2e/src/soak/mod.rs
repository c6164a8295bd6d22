//! A long time in the life of an exporter, or a short one: many processes that come and go, rules that change, clients
//! of all manners, a driver with troubles, `kill -9` if wanted. Every scrape is audited, and what the exporter takes of
//! the machine is written down. `tests/soak` runs the long form, `tests/e2e/tests/soak.rs` the short one.

mod clients;
mod crowd;
mod outcome;
mod ticks;
mod troubles;
mod usage;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::clients::Clients;
use self::crowd::Crowd;
pub use self::outcome::Outcome;
use self::ticks::Ticks;
use self::troubles::{Excuse, trouble};
use self::usage::Usage;
use crate::TEAM_OF_ENVIRONMENT;
use crate::books::Auditor;
use crate::exporter::{Exporter, Flags};
use crate::scratch::Scratch;
use crate::text::Scrape;
use crate::wait::PATIENCE;

/// Between two audited scrapes.
const LOOK: Duration = Duration::from_millis(400);
const INTERVAL: Duration = Duration::from_secs(1);
const RELOADED: &str = "wattribute_rules_last_reload_successful";

const BAD_RULES: [&str; 3] = [
    "rules: [\n",
    "rules:\n  - name: a\n    match: ['comm=~\"(\"']\n    owner: {team: a}\n",
    "rules:\n  - name: a\n    matches: []\n",
];

/// What is to happen, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long.
    pub time: Duration,
    /// How long until figures are taken: ended processes are shown for five minutes, so the crowd grows until then.
    pub settle: Duration,
    /// How many GPUs, 2 at least.
    pub gpus: u32,
    /// On each GPU, all the time.
    pub processes: u32,
    /// Guests come and go so often, some at a time.
    pub turn: Duration,
    /// Some at a time.
    pub newcomers: u64,
    /// Something goes wrong so often.
    pub trouble: Duration,
    /// Rules are read again so often, every second time bad ones.
    pub reload: Duration,
    /// `kill -9` so often, if at all.
    pub kill: Option<Duration>,
    /// As `--exposition.delay`.
    pub delay: Duration,
    /// A GPU without a sample for longer has missed a tick.
    pub missed_after: Duration,
}

impl Plan {
    /// Eight GPUs with 64 processes each.
    #[must_use]
    pub fn long(time: Duration) -> Self {
        Self {
            time,
            settle: (time / 2).min(Duration::from_secs(400)),
            gpus: 8,
            processes: 64,
            turn: Duration::from_secs(2),
            newcomers: 4,
            trouble: Duration::from_secs(25),
            reload: Duration::from_secs(15),
            kill: None,
            delay: Duration::from_secs(10),
            missed_after: INTERVAL * 2,
        }
    }

    /// All of it within half a minute, on a machine that has other things to do.
    #[must_use]
    pub fn short() -> Self {
        Self {
            time: Duration::from_secs(24),
            settle: Duration::from_secs(4),
            gpus: 3,
            processes: 8,
            turn: Duration::from_secs(1),
            newcomers: 2,
            trouble: Duration::from_secs(4),
            reload: Duration::from_secs(3),
            kill: None,
            delay: Duration::from_secs(3),
            missed_after: Duration::from_secs(6),
        }
    }
}

/// Runs it.
///
/// # Panics
/// When the exporter does not start, or its first scrapes are wrong. All else is in what is returned.
#[must_use]
#[track_caller]
pub fn soak(plan: &Plan) -> Outcome {
    let scratch = Scratch::new("soak");
    let mut crowd = Crowd::gather(plan.gpus, plan.processes, scratch.path("scenario.yaml"));
    let mut flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", &good_rules(0))],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(plan.delay),
        sample_interval: Some(INTERVAL),
        others: vec!["--processes.max-series=1000".into()],
        ..Flags::with_fake(&scratch, &crowd.scenario)
    };
    // As the unit that is shipped has it. Else each thread that happens to read the fake driver's scenario keeps as much.
    flags.env.push(("MALLOC_ARENA_MAX".into(), "1".into()));
    crowd.turn(0, None);
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    let before = rest(&exporter, &mut auditor);
    let clients = Clients::default();
    let mut run = Run::new(*plan, &scratch, crowd, (exporter, auditor));
    scope(|scope| {
        clients.start(scope, run.exporter.address());
        while run.begin.elapsed() < plan.time && run.outcome.failures.is_empty() {
            run.step();
        }
        clients.stop();
    });
    run.outcome.answered = clients.answered.load(Ordering::Relaxed);
    run.outcome.abandoned = clients.abandoned.load(Ordering::Relaxed);
    run.crowd.dismiss();
    run.outcome.at_rest = before.and_then(|before| Some((before, rest_again(&run.exporter, before)?)));
    run.end()
}

/// A run on its way.
struct Run<'a> {
    plan: Plan,
    begin: Instant,
    scratch: &'a Scratch,
    crowd: Crowd,
    exporter: Exporter,
    auditor: Auditor,
    ticks: Ticks,
    excuses: Vec<Excuse>,
    /// What the exporter must say of its rules, and until when it may take to.
    expected: Option<(&'static str, Instant)>,
    /// How often a turn has come.
    turns: u32,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(plan: Plan, scratch: &'a Scratch, crowd: Crowd, watched: (Exporter, Auditor)) -> Self {
        let (exporter, auditor) = watched;
        let now = Duration::from_micros(crowd.scenario.now_us());
        let (begin, excuse) = (Instant::now(), Excuse::all(now, now));
        let (ticks, outcome) = (Ticks::default(), Outcome::default());
        let (excuses, expected, turns) = (vec![excuse], None, 0);
        Self { plan, begin, scratch, crowd, exporter, auditor, ticks, excuses, expected, turns, outcome }
    }

    /// Scenario time.
    fn now(&self) -> Duration {
        Duration::from_micros(self.crowd.scenario.now_us())
    }

    /// What is due, then one look.
    fn step(&mut self) {
        let begin = Instant::now();
        if self.is_due(self.plan.turn, self.turns) {
            self.turns += 1;
            let faults = self.due_trouble();
            self.crowd.turn(self.plan.newcomers, faults);
        }
        if self.is_due(self.plan.reload, self.outcome.reloads) {
            self.reload();
        }
        if self.plan.kill.is_some_and(|every| self.is_due(every, self.outcome.kills)) {
            self.kill();
        }
        self.look();
        sleep(LOOK.saturating_sub(begin.elapsed()));
    }

    /// Whether it is time for what happens so often and has happened so many times.
    fn is_due<N: TryInto<u32>>(&self, every: Duration, so_far: N) -> bool {
        self.begin.elapsed() >= every * (so_far.try_into().unwrap_or(u32::MAX - 1) + 1)
    }

    fn due_trouble(&mut self) -> Option<fake_nvml::Fault> {
        let is_due = self.is_due(self.plan.trouble, self.outcome.troubles);
        is_due.then(|| {
            let from = self.crowd.scenario.now_us() + 400_000;
            let from_s = Duration::from_micros(from).as_secs_f64();
            let (fault, lasts) = trouble(self.outcome.troubles, self.crowd.scenario.gpus.len(), from_s);
            if let Some(lasts) = lasts {
                let begin = self.now();
                self.excuses.push(Excuse { gpu: fault.gpu, ..Excuse::all(begin, begin + lasts) });
            }
            self.outcome.troubles += 1;
            fault
        })
    }

    /// Good rules and bad ones in turn; that they are refused, or not, is looked for in what follows.
    fn reload(&mut self) {
        let round = self.outcome.reloads;
        let is_good = round % 2 == 1;
        let text = if is_good { good_rules(round / 2) } else { BAD_RULES[round / 2 % 3].into() };
        self.scratch.write("rules.yaml", &text);
        self.exporter.signal(Signal::HUP);
        self.expected = Some((if is_good { "1" } else { "0" }, Instant::now() + PATIENCE));
        self.outcome.reloads += 1;
    }

    fn kill(&mut self) {
        let begin = self.now();
        // With bad rules it would not start.
        self.scratch.write("rules.yaml", &good_rules(0));
        self.expected = None;
        self.exporter.kill9();
        if let Err(exit) = self.exporter.restart() {
            self.outcome.failures.push(format!("it did not start again: {exit:?}"));
        }
        self.excuses.push(Excuse::all(begin, self.now()));
        self.outcome.kills += 1;
    }

    /// One audited scrape; once a second what the exporter takes.
    fn look(&mut self) {
        let (auditor, exporter) = (&mut self.auditor, &self.exporter);
        match catch_unwind(AssertUnwindSafe(|| auditor.scrape(exporter))) {
            Ok(scrape) => self.see(&scrape),
            Err(why) => self.outcome.failures.push(format!("a scrape: {}", said(&*why))),
        }
        let at = self.begin.elapsed();
        let last =
            self.outcome.usage.last().map_or(self.plan.settle, |last| last.at + Duration::from_secs(1));
        if at >= last {
            match Usage::of(self.exporter.pid(), at) {
                Ok(usage) => self.outcome.usage.push(usage),
                Err(error) => self.outcome.failures.push(format!("the exporter is not there: {error}")),
            }
        }
    }

    fn see(&mut self, scrape: &Scrape) {
        self.auditor.forget_ended(scrape);
        if let Err(error) = self.ticks.read(&self.scratch.path("journal.jsonl"), self.plan.missed_after) {
            self.outcome.failures.push(format!("the journal: {error}"));
        }
        if let Some((want, deadline)) = self.expected {
            if scrape.value(RELOADED, &[]) == Some(want) {
                self.expected = None;
            } else if Instant::now() > deadline {
                self.outcome.failures.push(format!("{RELOADED} is not {want} after a reload"));
            }
        }
    }

    fn end(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.scrapes = self.auditor.scrapes;
        outcome.guests = self.crowd.guests_so_far;
        outcome.samples = self.ticks.seen;
        outcome.missed = self.ticks.missed(&self.excuses);
        let log = self.exporter.stderr();
        outcome.failures.extend(log.lines().filter(|line| line.contains("panicked")).take(3).map(Into::into));
        outcome
    }
}

/// By which every team pays for itself, under one name of the rule or the other.
fn good_rules(round: usize) -> String {
    TEAM_OF_ENVIRONMENT.replace("said by the process", ["said", "said by the process"][round % 2])
}

/// What is open when nothing happens: as soon as two looks agree.
fn rest(exporter: &Exporter, auditor: &mut Auditor) -> Option<Usage> {
    let look = || Usage::of(exporter.pid(), Duration::ZERO).ok();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let first = look()?;
        // Meanwhile accounts begin, at 0, which must be seen.
        auditor.watch(exporter, INTERVAL * 2);
        let second = look()?;
        if first.descriptors == second.descriptors || Instant::now() > deadline {
            return Some(second);
        }
    }
}

/// The same when all have gone: as soon as no more is open than before, else after a minute.
fn rest_again(exporter: &Exporter, before: Usage) -> Option<Usage> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let usage = Usage::of(exporter.pid(), Duration::ZERO).ok()?;
        let is_at_rest = usage.sockets <= before.sockets && usage.descriptors <= before.descriptors;
        if is_at_rest || Instant::now() > deadline {
            return Some(usage);
        }
        sleep(LOOK);
    }
}

/// What a panic said.
fn said(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}
