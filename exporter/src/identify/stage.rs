//! The thread of the identify stage: what it watches, when it reads, and what it tells.

use super::exits::Exits;
use super::{Command, Ends, Event, Processes, Wanted};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use wattribute::facts::{Facts, ProcessKey};
use wattribute::procfs::{ReadError, Reading};

/// How many processes are read before ends and commands are looked at again.
const BATCH: usize = 32;

/// How often the thread wakes to read, in the time in which each process is read once.
const SLOTS: u32 = 60;

/// Nobody asks or listens any more.
struct Stopped;

/// When to read: at once (`None`, for what was never read), or then.
type Due = Option<Instant>;

/// The way in and the way out.
pub(super) struct Post<T> {
    pub(super) inbox: Receiver<Command>,
    /// Tells an event, and says whether somebody listened.
    pub(super) tell: T,
}

pub(super) struct Stage<P, T> {
    processes: P,
    post: Post<T>,
    exits: Exits,
    interval: Duration,
    begin: Instant,
    wanted: Wanted,
    generation: u64,
    watched: HashMap<ProcessKey, Watched>,
    /// The same processes as in `watched`, by when they are due.
    queue: BTreeSet<(Due, ProcessKey)>,
}

/// What is remembered of a process. What was told is kept so that it is not told twice.
#[derive(Default)]
struct Watched {
    due: Due,
    told: Option<(u64, Arc<Facts>)>,
    failed: Option<(u64, ReadError)>,
    missing: BTreeSet<&'static str>,
}

impl<P: Processes, T: Fn(Event) -> bool> Stage<P, T> {
    pub(super) fn new(processes: P, post: Post<T>, exits: Exits, interval: Duration) -> Self {
        let (watched, queue) = (HashMap::new(), BTreeSet::new());
        let begin = Instant::now();
        Self {
            processes,
            post,
            exits,
            interval,
            begin,
            wanted: Wanted::default(),
            generation: 0,
            watched,
            queue,
        }
    }

    /// Runs until nobody asks or listens any more.
    pub(super) fn run(mut self) {
        while self.turn().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        let ended = self.exits.wait(self.time_to_next()).map_err(|_| Stopped)?;
        for process in ended {
            self.end(process)?;
        }
        self.obey()?;
        let now = Instant::now();
        let due = self.queue.iter().take_while(|(due, _)| *due <= Some(now)).take(BATCH);
        let due: Vec<ProcessKey> = due.map(|(_, process)| *process).collect();
        self.read(&due)
    }

    /// Rounded up: a wait that ends early would only be repeated.
    fn time_to_next(&self) -> Option<Duration> {
        let now = Instant::now();
        let (due, _) = self.queue.first()?;
        let ahead = due.and_then(|due| due.checked_duration_since(now));
        Some(ahead.map_or(Duration::ZERO, |ahead| ahead + Duration::from_millis(1)))
    }

    fn obey(&mut self) -> Result<(), Stopped> {
        loop {
            match self.post.inbox.try_recv() {
                Ok(Command::Watch(process)) if self.watched.contains_key(&process) => {}
                Ok(Command::Watch(process)) => self.schedule(process, Watched::default()),
                Ok(Command::Forget(process)) => {
                    self.forget(process);
                }
                Ok(Command::Want(wanted, generation)) => self.want(wanted, generation),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stopped),
            }
        }
    }

    fn want(&mut self, wanted: Wanted, generation: u64) {
        (self.wanted, self.generation) = (wanted, generation);
        self.processes.forget();
        let now = Instant::now();
        self.queue.clear();
        for (process, watched) in &mut self.watched {
            watched.due = watched.due.map(|_| now);
            self.queue.insert((watched.due, *process));
        }
    }

    fn read(&mut self, due: &[ProcessKey]) -> Result<(), Stopped> {
        // The pidfd comes before the facts: these compare the start time, so that both are of one process.
        let watch = match self.processes.ends() {
            Ends::ByPidfd => |exits: &mut Exits, process| exits.add(process),
            Ends::ByReading => |_: &mut Exits, _| Ok(()),
        };
        let pidfds: Vec<Result<(), Errno>> =
            due.iter().map(|process| watch(&mut self.exits, *process)).collect();
        let results = self.processes.facts_of(due, &self.wanted);
        let mut outcomes = due.iter().zip(pidfds).zip(results);
        outcomes.try_for_each(|((process, pidfd), result)| self.take(*process, pidfd, result))
    }

    fn take(
        &mut self,
        process: ProcessKey,
        pidfd: Result<(), Errno>,
        result: Result<Reading, ReadError>,
    ) -> Result<(), Stopped> {
        let Some(mut watched) = self.unschedule(process) else { return Ok(()) };
        if result == Err(ReadError::Vanished) {
            self.exits.remove(process);
            return self.tell(Event::Ended { process });
        }
        let mut events = watched.learn(process, self.generation, result);
        events.extend(pidfd.err().and_then(|_| watched.miss(process, "pidfd")));
        watched.due = Some(self.next_slot(Instant::now() + pause(self.interval, process)));
        self.schedule(process, watched);
        events.into_iter().try_for_each(|event| self.tell(event))
    }

    /// Processes are read several at a time, so that the thread sleeps in between.
    fn next_slot(&self, at: Instant) -> Instant {
        let slot = (self.interval / SLOTS).max(Duration::from_millis(1));
        let slots = at.saturating_duration_since(self.begin).as_nanos() / slot.as_nanos() + 1;
        self.begin + slot * u32::try_from(slots).unwrap_or(u32::MAX)
    }

    fn end(&mut self, process: ProcessKey) -> Result<(), Stopped> {
        self.forget(process).map_or(Ok(()), |_| self.tell(Event::Ended { process }))
    }

    fn forget(&mut self, process: ProcessKey) -> Option<Watched> {
        self.exits.remove(process);
        self.unschedule(process)
    }

    fn schedule(&mut self, process: ProcessKey, watched: Watched) {
        self.queue.insert((watched.due, process));
        self.watched.insert(process, watched);
    }

    fn unschedule(&mut self, process: ProcessKey) -> Option<Watched> {
        let watched = self.watched.remove(&process)?;
        self.queue.remove(&(watched.due, process));
        Some(watched)
    }

    fn tell(&self, event: Event) -> Result<(), Stopped> {
        if (self.post.tell)(event) { Ok(()) } else { Err(Stopped) }
    }
}

impl Watched {
    /// What there is to tell after a read.
    fn learn(
        &mut self,
        process: ProcessKey,
        generation: u64,
        read: Result<Reading, ReadError>,
    ) -> Vec<Event> {
        match read {
            Err(error) => {
                let known = self.failed.replace((generation, error)) == Some((generation, error));
                let failed = Event::Failed { process, reason: error.reason() };
                if known { Vec::new() } else { vec![failed] }
            }
            Ok(reading) => {
                self.failed = None;
                let parts = reading.unread.iter().filter_map(|part| self.miss(process, part.name()));
                let mut events: Vec<Event> = parts.collect();
                let facts = self.news(generation, reading);
                events.extend(facts.map(|facts| Event::Facts { process, generation, facts }));
                events
            }
        }
    }

    fn miss(&mut self, process: ProcessKey, part: &'static str) -> Option<Event> {
        self.missing.insert(part).then_some(Event::Missing { process, part })
    }

    /// Facts other than those told. Of a process that is ending they are hollow, and count only if there were
    /// none before.
    fn news(&mut self, generation: u64, reading: Reading) -> Option<Arc<Facts>> {
        let (of, facts) = match self.told.take() {
            Some((of, told)) if reading.ending || *told == reading.facts => (Some(of), told),
            _ => (None, Arc::new(reading.facts)),
        };
        self.told = Some((generation, Arc::clone(&facts)));
        (of != Some(generation)).then_some(facts)
    }
}

/// How long until a process is read again: three quarters of the interval up to the whole, by the process, so
/// that those that came together drift apart.
fn pause(interval: Duration, process: ProcessKey) -> Duration {
    let spread = process.pid.wrapping_mul(0x9E37_79B9) >> 22;
    interval / (4 * 1024) * (3 * 1024 + spread)
}
