//! Puts each snapshot where scrapes and the page find it, and remembers of it what the page says of the past: what
//! owners had at midnight, and what teams drew in the last minutes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wattribute::units::Microseconds;

use crate::account::occupant::Detail;
use crate::account::snapshot::Snapshot;
use crate::clock;
use crate::expose::overview::Overview;
use crate::expose::page::history::History;
use crate::expose::page::today::{self, Today};
use crate::expose::processes::Listing;
use crate::expose::publish::Published;
use crate::expose::routes::Live;
use crate::expose::rows::{About, Scrapable};
use crate::reload::Standing;

/// What does not change while the exporter runs.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// As in the metric `source_info`.
    pub source: &'static str,
    /// Whether single processes are shown.
    pub detail: Detail,
    /// The time from one sample to the next.
    pub interval: Duration,
    /// How far the counters are behind.
    pub delay: Duration,
}

/// What is shown, and what is said beside the snapshots.
pub struct Showcase {
    frame: Frame,
    standing: Arc<Mutex<Standing>>,
    host: Arc<str>,
    /// `None` before the first snapshot.
    today: Option<Arc<Today>>,
    history: Arc<Mutex<History>>,
    live: Arc<Live>,
}

impl Showcase {
    /// Shows an empty snapshot until the first one comes.
    pub fn new(frame: Frame, standing: Arc<Mutex<Standing>>) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into();
        let history = History::new(Microseconds(frame.interval.as_micros().try_into().unwrap_or(u64::MAX)));
        let history = Arc::new(Mutex::new(history));
        let nothing = Published::new(Arc::new(Scrapable {
            snapshot: Arc::default(),
            about: about(frame, &lock(&standing), None),
        }));
        let live = Arc::new(Live::new(nothing, Overview::default()));
        let this = Self { frame, standing, host, today: None, history, live };
        this.live.overview.store(Arc::new(this.overview(Arc::default(), None)));
        this
    }

    /// Where requests find what is shown.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Shows a snapshot, which is on disk unless that failed.
    pub fn show(&mut self, snapshot: Arc<Snapshot>, state_write_failed: Option<bool>) {
        self.remember(&snapshot, state_write_failed);
        let overview = self.overview(Arc::clone(&snapshot), state_write_failed);
        if self.frame.detail == Detail::Processes {
            self.live.listing.store(Arc::clone(&overview.listing));
        }
        self.live.overview.store(Arc::new(overview));
        self.live.is_ready.store(snapshot.ready, Ordering::Relaxed);
        let about = about(self.frame, &lock(&self.standing), state_write_failed);
        let published = self.live.published.load().next(Arc::new(Scrapable { snapshot, about }));
        self.live.published.store(Arc::new(published));
    }

    /// Keeps what the page says of the past.
    fn remember(&mut self, snapshot: &Snapshot, state_write_failed: Option<bool>) {
        lock(&self.history).note(clock::monotonic(), snapshot);
        let now = now();
        self.today = match self.today.take() {
            Some(today) => Some(today.next(now, snapshot).map_or(today, Arc::new)),
            // With a state directory owners may have had something before; it was not drawn today, or nobody knows.
            None => {
                let before = state_write_failed.map(|_| today::totals(snapshot)).unwrap_or_default();
                Some(Arc::new(Today::start(now.to_zoned(TimeZone::system()), before)))
            }
        };
    }

    fn overview(&self, snapshot: Arc<Snapshot>, state_write_failed: Option<bool>) -> Overview {
        let standing = lock(&self.standing).clone();
        let listing = Listing {
            snapshot,
            host: Arc::clone(&self.host),
            source: self.frame.source,
            rules: standing.page,
            generated: clock::unix().as_seconds(),
        };
        Overview {
            listing: Arc::new(listing),
            rules_since: standing.status.success_timestamp,
            state_write_failed,
            delay: self.frame.delay,
            today: self.today.clone().unwrap_or_else(|| {
                Arc::new(Today::start(now().to_zoned(TimeZone::system()), BTreeMap::new()))
            }),
            history: Arc::clone(&self.history),
            pages: Default::default(),
        }
    }
}

fn about(frame: Frame, standing: &Standing, state_write_failed: Option<bool>) -> About {
    About { source: frame.source, rules: standing.status, state_write_failed }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let micros = i64::try_from(clock::unix().0).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
