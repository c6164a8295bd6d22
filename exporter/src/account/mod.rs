//! The account stage: takes samples and facts as they come, and keeps the books.
//!
//! One thread owns everything here; it waits for nobody but its events. It never calls the driver, and reads nothing
//! of /proc but the start time of a process that it sees for the first time.

mod accountant;
pub mod book;
mod calls;
mod claims;
pub mod complaints;
mod delay;
mod division;
mod gpu;
mod holdings;
pub mod occupant;
mod place;
mod round;
pub mod series;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use accountant::Accountant;
use book::Book;
pub use calls::Calls;
pub use claims::on_gpu;
pub use gpu::{IdleBasis, Latest};
use snapshot::Snapshot;
use wattribute::facts::ProcessKey;
use wattribute::meter::Reading;
use wattribute::rules::RuleSet;
use wattribute::units::{Microseconds, Milliwatts};

use crate::allocation::Allocations;
use crate::identify;
use crate::sample;

/// What the accountant is told.
pub enum Event {
    Source(sample::Event),
    Identity(identify::Event),
    /// What a scheduler has allocated, all of it.
    Allocations(Allocations),
    /// New rules are in force.
    Rules(Arc<RuleSet>),
    /// Stop, and give the books one last time.
    Stop,
}

impl From<sample::Event> for Event {
    fn from(event: sample::Event) -> Self {
        Self::Source(event)
    }
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        Self::Identity(event)
    }
}

/// What the accountant needs to know from the start.
pub struct Config {
    /// Now, on the monotonic clock.
    pub begins: Microseconds,
    pub interval: Duration,
    pub delay: Duration,
    pub host: String,
    /// Those that will say what they have allocated.
    pub schedulers: BTreeSet<&'static str>,
    pub process_series: usize,
    pub workload_series: usize,
    pub detail: occupant::Detail,
}

/// The stages before and after.
pub struct Neighbours {
    /// Reads facts and notices ends.
    pub identify: Box<dyn identify::Watch>,
    /// The start time of a process that comes into sight.
    pub key_of: Box<dyn Fn(u32) -> Option<ProcessKey> + Send>,
    /// Takes each snapshot.
    pub publish: Box<dyn FnMut(Snapshot) + Send>,
}

/// What the next run needs to continue with a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub last: Option<Reading>,
    pub idle_power: Option<Milliwatts>,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub visible: Book,
    pub hidden: Book,
    pub gpus: BTreeMap<Arc<str>, Progress>,
}
