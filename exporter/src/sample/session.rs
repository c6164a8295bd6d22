//! The driver's session: who holds the driver's library, from when to when.
//!
//! One thread keeps it. It looks every few seconds which GPUs there are and gives each a sampling thread; it lets go of
//! everything when the driver went away, and takes it up again when the driver is back; and it lets go when an operator
//! says so. It never calls the driver itself, for any call may hang: threads of its own do, and tell it. A thread that
//! hangs keeps the library loaded until it returns; nothing is shut down under it.
//! Not done here: reading a GPU (`nvml`), and what silence means for the accounts (the account stage).
//! Caller: `source`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};
use std::{io, thread};

use nvml_wrapper::error::NvmlError;

use super::answers::error_name;
use super::keeper::Keeper;
use super::nvml::Driver;
use super::ticks::Ending;
use super::{Call, Event};

/// How often the keeper looks which GPUs there are.
pub(super) const COUNT: Duration = Duration::from_secs(10);
/// How long until a driver that went away is looked for again: the first time, and the longest.
pub(super) const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A session shorter than this is no success: the next retry waits longer still.
pub(super) const STEADY: Duration = Duration::from_secs(60);
/// How long threads that were told to stop may take before that is said, or the driver is taken up beside them.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long the driver stays released when nobody takes it again.
pub(super) const RELEASE: Duration = Duration::from_secs(600);

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let go of every GPU and of the library.
    Release,
    /// Take them again.
    Acquire,
}

/// Takes the orders of an operator.
#[derive(Clone, Debug)]
pub struct Orders(Sender<News>);

impl Orders {
    /// Passes an order on.
    pub fn give(&self, order: Order) {
        // The keeper has gone only when the exporter stops.
        let _ = self.0.send(News::Order(order));
    }
}

/// The running keeper; dropping it stops all sampling.
#[derive(Debug)]
pub struct Session(Sender<News>);

impl Session {
    /// Where orders are taken.
    pub fn orders(&self) -> Orders {
        Orders(self.0.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.send(News::Stop);
    }
}

/// What the sampling needs to know.
pub struct Plan<E> {
    /// The library's path, if it was given.
    pub library: Option<PathBuf>,
    /// The time between two samples.
    pub interval: Duration,
    /// Where samples go.
    pub events: Sender<E>,
}

/// Starts the keeper with a driver that was opened.
///
/// # Errors
/// If the kernel gives no thread.
pub fn start<E: From<Event> + Send + 'static>(driver: Driver, plan: Plan<E>) -> io::Result<Session> {
    let (news, inbox) = mpsc::channel();
    let held = Held::new(driver, Instant::now());
    let (holders, last, retry) = (BTreeMap::new(), 0, RETRY[0]);
    let state = State::Held(held);
    let keeper = Keeper { plan, news: news.clone(), holders, last, retry, state };
    thread::Builder::new().name("driver".into()).spawn(move || keeper.run(&inbox))?;
    Ok(Session(news))
}

/// What the keeper is told.
pub(super) enum News {
    Order(Order),
    /// A thread has ended, and what it held is dropped.
    Ended {
        holder: u64,
        report: Report,
    },
    Stop,
}

/// What a thread that held the driver found.
pub(super) enum Report {
    Sampled(Ending),
    Counted(Result<u32, &'static str>),
    /// Which uuid the GPU of this index has.
    Probed(u32, Result<String, &'static str>),
    Opened(Result<Driver, &'static str>),
    Closed,
}

/// A look at which GPUs there are: under way.
pub(super) struct Census {
    /// The threads that look; the first counts.
    pub(super) looking: Vec<u64>,
    pub(super) found: BTreeMap<String, u32>,
    /// Whether a GPU did not say who it is: then nobody is known to be missing.
    pub(super) has_gaps: bool,
}

/// A driver that is held.
pub(super) struct Held {
    pub(super) driver: Driver,
    pub(super) since: Instant,
    /// By uuid: the sampling thread, and what stops it.
    pub(super) gpus: BTreeMap<String, (u64, Sender<()>)>,
    pub(super) census: Option<Census>,
    /// The threads of censuses that have not returned, and the index of which each asks; `None` for the count. One of
    /// an earlier census hangs, and nobody asks the same beside it.
    pub(super) asking: BTreeMap<u64, Option<u32>>,
    /// When the next census is due; one that is still under way then is given up.
    pub(super) next: Instant,
}

impl Held {
    /// A driver just opened: who is there is not known yet.
    pub(super) fn new(driver: Driver, now: Instant) -> Self {
        let (gpus, asking) = (BTreeMap::new(), BTreeMap::new());
        Self { driver, since: now, gpus, census: None, asking, next: now }
    }
}

pub(super) enum State {
    Held(Held),
    /// The driver went away.
    Away {
        due: Instant,
        patience: Instant,
        opening: Option<u64>,
        restarted: bool,
        said: &'static str,
    },
    /// An operator has it.
    Released {
        until: Instant,
        patience: Option<Instant>,
        is_said: bool,
    },
}

/// Makes a call and tells how long it took and how it failed.
pub(super) fn timed<T, E: From<Event>>(
    events: &Sender<E>,
    name: &'static str,
    call: impl FnOnce() -> Result<T, NvmlError>,
) -> Result<T, &'static str> {
    let start = Instant::now();
    let outcome = call().map_err(|error| error_name(&error));
    let call = Call { name, took: start.elapsed(), error: outcome.as_ref().err().copied() };
    // Nobody listens any more: the exporter is stopping.
    let _ = events.send(Event::Called(vec![call]).into());
    outcome
}
