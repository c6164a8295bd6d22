//! The thread that keeps the driver's session: what it does with what it is told. `session` starts it.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::nvml::Driver;
use super::session::{
    COUNT, Census, Held, News, Order, PATIENCE, Plan, RELEASE, RETRY, Report, STEADY, State, timed,
};
use super::ticks::{self, Ending};
use super::{Event, Ticks};

/// Keeps the session.
pub struct Keeper<E> {
    pub(super) plan: Plan<E>,
    pub(super) news: Sender<News>,
    /// The threads that hold the driver, and what each does.
    pub(super) holders: BTreeMap<u64, String>,
    pub(super) last: u64,
    /// How long until the next attempt, should this session end soon.
    pub(super) retry: Duration,
    pub(super) state: State,
}

impl<E: From<Event> + Send + 'static> Keeper<E> {
    /// Until told to stop.
    pub(super) fn run(mut self, inbox: &Receiver<News>) {
        loop {
            let wait = self.act(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(News::Order(Order::Release)) => self.release(),
                Ok(News::Order(Order::Acquire)) => self.acquire("an operator gave it back"),
                Ok(News::Ended { holder, report }) => self.hear(holder, report),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Does what is due, and says how long there is nothing to do.
    fn act(&mut self, now: Instant) -> Duration {
        let due = match &mut self.state {
            State::Held(held) if held.next <= now => return self.count(),
            State::Held(held) => held.next,
            State::Away { opening: Some(_), .. } => now + COUNT,
            State::Away { due, patience, .. } => {
                let due = if self.holders.is_empty() { *due } else { (*due).max(*patience) };
                if due <= now {
                    return self.open();
                }
                due
            }
            State::Released { until, .. } if *until <= now => {
                self.acquire("the time of its release is over");
                return Duration::ZERO;
            }
            State::Released { until, patience, is_said } => {
                if !*is_said && self.holders.is_empty() {
                    *is_said = true;
                    tracing::info!("the driver is released: nothing here holds a gpu");
                }
                if !*is_said && patience.is_some_and(|patience| patience <= now) {
                    *patience = None;
                    let by = self.holders.values().cloned().collect::<Vec<_>>().join(", ");
                    tracing::warn!(by, "the driver cannot be released yet: these calls have not returned");
                }
                patience.filter(|_| !*is_said).map_or(*until, |patience| patience.min(*until))
            }
        };
        due.saturating_duration_since(now).clamp(Duration::from_millis(10), COUNT)
    }

    /// Starts a thread that may call the driver.
    fn begin(&mut self, what: String, task: impl FnOnce() -> Report + Send + 'static) -> Option<u64> {
        self.last += 1;
        let (holder, news) = (self.last, self.news.clone());
        let run = move || {
            let report = task();
            let _ = news.send(News::Ended { holder, report });
        };
        match thread::Builder::new().name(what.clone()).spawn(run) {
            Ok(_) => {
                self.holders.insert(holder, what);
                Some(holder)
            }
            Err(error) => {
                tracing::error!(%error, what, "no thread for the driver: trying again");
                None
            }
        }
    }

    fn hear(&mut self, holder: u64, report: Report) {
        self.holders.remove(&holder);
        if let State::Held(held) = &mut self.state {
            held.asking.remove(&holder);
        }
        match report {
            Report::Closed => {}
            Report::Opened(outcome) => self.opened(holder, outcome),
            Report::Sampled(ending) => {
                let State::Held(held) = &mut self.state else { return };
                let before = held.gpus.len();
                held.gpus.retain(|_, (own, _)| *own != holder);
                if let (Ending::DriverGone(why), true) = (ending, held.gpus.len() < before) {
                    self.lose(why);
                }
            }
            Report::Counted(outcome) => {
                if self.is_looking(holder) {
                    match outcome {
                        Ok(count) => self.probe(count),
                        Err(why) => self.fail_to_look(why),
                    }
                    self.finish_census();
                }
            }
            Report::Probed(index, outcome) => {
                if self.is_looking(holder) {
                    match outcome {
                        Ok(uuid) => self.found(index, uuid),
                        Err(why) => self.fail_to_look(why),
                    }
                    self.finish_census();
                }
            }
        }
    }

    /// Whether this thread belongs to the census under way; it does no longer.
    fn is_looking(&mut self, holder: u64) -> bool {
        let State::Held(Held { census: Some(census), .. }) = &mut self.state else { return false };
        let before = census.looking.len();
        census.looking.retain(|own| *own != holder);
        census.looking.len() < before
    }

    /// Begins a census. One that is still under way hangs: it is given up, and nobody is known to be missing by it.
    fn count(&mut self) -> Duration {
        let State::Held(held) = &mut self.state else { return Duration::ZERO };
        held.next = Instant::now() + COUNT;
        held.census = None;
        if held.asking.values().any(Option::is_none) {
            return Duration::ZERO;
        }
        let (driver, events) = (held.driver.clone(), self.plan.events.clone());
        let count = move || {
            let outcome = timed(&events, "nvmlDeviceGetCount_v2", || driver.count());
            drop(driver);
            Report::Counted(outcome)
        };
        let looking: Vec<u64> = self.begin("census".into(), count).into_iter().collect();
        let has_gaps = looking.is_empty();
        if let State::Held(held) = &mut self.state {
            held.asking.extend(looking.iter().map(|&holder| (holder, None)));
            held.census = Some(Census { looking, found: BTreeMap::new(), has_gaps });
        }
        self.finish_census();
        Duration::ZERO
    }

    /// Asks each GPU who it is, in a thread for each: one may hang.
    fn probe(&mut self, count: u32) {
        for index in 0..count {
            let State::Held(held) = &mut self.state else { return };
            if held.asking.values().any(|asked| *asked == Some(index)) {
                held.census.iter_mut().for_each(|census| census.has_gaps = true);
                continue;
            }
            let (driver, events) = (held.driver.clone(), self.plan.events.clone());
            let probe = move || {
                let outcome = timed(&events, "nvmlDeviceGetHandleByIndex_v2", || driver.uuid(index));
                drop(driver);
                Report::Probed(index, outcome)
            };
            let holder = self.begin(format!("opening of gpu {index}"), probe);
            if let State::Held(Held { census: Some(census), asking, .. }) = &mut self.state {
                census.has_gaps |= holder.is_none();
                census.looking.extend(holder);
                asking.extend(holder.map(|holder| (holder, Some(index))));
            }
        }
    }

    fn fail_to_look(&mut self, why: &'static str) {
        if ticks::is_gone(why) {
            self.lose(why);
        } else if let State::Held(Held { census: Some(census), .. }) = &mut self.state {
            census.has_gaps = true;
        }
    }

    /// A GPU is there: if it has no thread yet it gets one.
    fn found(&mut self, index: u32, uuid: String) {
        let State::Held(held) = &mut self.state else { return };
        if let Some(census) = &mut held.census {
            census.found.insert(uuid.clone(), index);
        }
        if held.gpus.contains_key(&uuid) {
            return;
        }
        let driver = held.driver.clone();
        let (stop, stopped) = mpsc::channel();
        let ticks = Ticks { interval: self.plan.interval, events: self.plan.events.clone(), stop: stopped };
        let what = format!("gpu-{index}");
        let own = uuid.clone();
        let sample = move || {
            let ending = driver.drive((index, &own), &ticks);
            drop(driver);
            Report::Sampled(ending)
        };
        let holder = self.begin(what, sample);
        if let (State::Held(held), Some(holder)) = (&mut self.state, holder) {
            held.gpus.insert(uuid, (holder, stop));
        }
    }

    /// When everybody has answered: those that are no longer there need no thread.
    fn finish_census(&mut self) {
        let State::Held(held) = &mut self.state else { return };
        if held.census.as_ref().is_none_or(|census| !census.looking.is_empty()) {
            return;
        }
        let Some(Census { found, has_gaps: false, .. }) = held.census.take() else { return };
        held.gpus.retain(|uuid, _| {
            let is_there = found.contains_key(uuid);
            if !is_there {
                tracing::warn!(
                    uuid,
                    "the driver no longer has this gpu: its counters stand until it is back"
                );
            }
            is_there
        });
    }

    /// The driver went away: everything is let go of, and taken up again when it is back.
    fn lose(&mut self, why: &'static str) {
        tracing::warn!(why, "the driver went away: its gpus are silent until it is back");
        let State::Held(held) = &self.state else { return };
        let now = Instant::now();
        if held.since.elapsed() > STEADY {
            self.retry = RETRY[0];
        }
        let due = now + self.retry;
        // To a session that was open, another version is another kernel module: loaded since.
        let restarted = why == ticks::NOT_LOADED || why == ticks::OTHER_VERSION;
        self.let_go(State::Away { due, patience: now + PATIENCE, opening: None, restarted, said: why });
    }

    /// Drops the driver where it cannot hold up this thread, and all that stops its threads.
    fn let_go(&mut self, next: State) {
        if let State::Held(held) = std::mem::replace(&mut self.state, next) {
            self.close(held.driver);
        }
    }

    fn close(&mut self, driver: Driver) {
        let close = move || {
            drop(driver);
            Report::Closed
        };
        self.begin("closing of the library".into(), close);
    }

    fn open(&mut self) -> Duration {
        let (library, events) = (self.plan.library.clone(), self.plan.events.clone());
        let open = move || Report::Opened(timed(&events, "nvmlInit_v2", || Driver::open(library.as_deref())));
        let holder = self.begin("opening of the library".into(), open);
        if let State::Away { opening, due, .. } = &mut self.state {
            *opening = holder;
            *due = Instant::now() + self.retry;
        }
        Duration::ZERO
    }

    fn opened(&mut self, holder: u64, outcome: Result<Driver, &'static str>) {
        let is_awaited = matches!(self.state, State::Away { opening: Some(own), .. } if own == holder);
        match outcome {
            // Nobody wants it any more.
            Ok(driver) if !is_awaited => self.close(driver),
            Ok(driver) => self.hold(driver),
            Err(why) => self.wait_longer(why, is_awaited),
        }
    }

    fn hold(&mut self, driver: Driver) {
        if matches!(self.state, State::Away { restarted: true, .. }) {
            // Nobody listens any more: the exporter is stopping.
            let _ = self.plan.events.send(Event::DriverRestarted.into());
        }
        tracing::info!("the driver is open again");
        let now = Instant::now();
        self.retry = (self.retry * 2).min(RETRY[1]);
        self.state = State::Held(Held::new(driver, now));
    }

    fn wait_longer(&mut self, why: &'static str, is_awaited: bool) {
        let State::Away { due, opening, restarted, said, .. } = &mut self.state else { return };
        if !is_awaited {
            return;
        }
        *opening = None;
        *restarted |= why == ticks::NOT_LOADED;
        *due = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY[1]);
        if std::mem::replace(said, why) != why {
            tracing::warn!(why, "the driver cannot be opened: trying again until it can");
        }
    }

    fn release(&mut self) {
        let now = Instant::now();
        tracing::info!(
            minutes = RELEASE.as_secs() / 60,
            "letting go of the driver: SIGUSR2 takes it again, and so does the time"
        );
        let (until, patience) = (now + RELEASE, Some(now + PATIENCE));
        self.let_go(State::Released { until, patience, is_said: false });
    }

    fn acquire(&mut self, why: &'static str) {
        if !matches!(self.state, State::Released { .. }) {
            tracing::info!("the driver is not released: there is nothing to take again");
            return;
        }
        tracing::info!(why, "taking the driver again");
        let now = Instant::now();
        self.retry = RETRY[0];
        self.state =
            State::Away { due: now, patience: now + PATIENCE, opening: None, restarted: false, said: "" };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keeper whose library is not there.
    fn keeper(state: State) -> (Keeper<Event>, Receiver<News>) {
        let (news, inbox) = mpsc::channel();
        let plan = Plan {
            library: Some("/nonexistent/libnvidia-ml.so.1".into()),
            interval: Duration::from_secs(1),
            events: mpsc::channel().0,
        };
        (Keeper { plan, news, holders: BTreeMap::new(), last: 0, retry: RETRY[0], state }, inbox)
    }

    fn away(now: Instant) -> State {
        State::Away { due: now, patience: now, opening: None, restarted: false, said: "" }
    }

    #[test]
    fn a_driver_that_is_not_there_is_looked_for_at_growing_intervals() {
        let now = Instant::now();
        let (mut keeper, inbox) = keeper(away(now));
        let mut waits = vec![];
        for _ in 0..7 {
            waits.push(keeper.retry.as_secs());
            keeper.act(now + RETRY[1] * 10);
            let Ok(News::Ended { holder, report }) = inbox.recv() else { panic!("an attempt ends") };
            assert!(matches!(report, Report::Opened(Err("library_not_found"))));
            keeper.hear(holder, report);
            assert!(keeper.holders.is_empty() && matches!(keeper.state, State::Away { opening: None, .. }));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_release_ends_by_itself_and_not_before_its_time() {
        let now = Instant::now();
        let (mut keeper, _inbox) = keeper(away(now));
        keeper.release();
        keeper.act(now + RELEASE / 2);
        assert!(matches!(keeper.state, State::Released { is_said: true, .. }));
        keeper.act(now + RELEASE + Duration::from_secs(1));
        assert!(matches!(keeper.state, State::Away { .. }));
    }

    #[test]
    fn a_driver_that_is_being_opened_when_it_is_released_is_not_held() {
        let now = Instant::now();
        let (mut keeper, inbox) = keeper(away(now));
        keeper.act(now);
        keeper.release();
        let Ok(News::Ended { holder, report }) = inbox.recv() else { panic!("an attempt ends") };
        keeper.hear(holder, report);
        assert!(matches!(keeper.state, State::Released { .. }));
    }
}
