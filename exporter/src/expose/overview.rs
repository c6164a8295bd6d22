//! What the page for people is made of: the newest snapshot, and what is remembered beside it. It becomes a page when
//! somebody looks, once for all who look at the same snapshot.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::page::{self, history::History, today::Today};
use super::processes::Listing;
use super::publish;
use crate::account::occupant::Detail;

/// What the page is made of.
#[derive(Default)]
pub struct Overview {
    pub listing: Arc<Listing>,
    /// When the rules in force were loaded, Unix time in seconds.
    pub rules_since: f64,
    /// `None` without a state directory.
    pub state_write_failed: Option<bool>,
    /// How far the counters are behind.
    pub delay: Duration,
    pub today: Arc<Today>,
    pub history: Arc<Mutex<History>>,
    /// Without single processes, and with them.
    pub pages: [OnceLock<Page>; 2],
}

/// A page, as it is and packed.
#[derive(Clone)]
pub struct Page {
    pub plain: Bytes,
    /// `None` if it could not be packed.
    pub gzip: Option<Bytes>,
}

impl Overview {
    /// The page, if somebody has looked already.
    #[must_use]
    pub fn made(&self, detail: Detail) -> Option<Page> {
        self.slot(detail).get().cloned()
    }

    /// The page, made now if need be; that takes milliseconds where there are many teams and processes.
    pub fn page(&self, detail: Detail, telemetry_path: &str) -> Page {
        let make = || {
            let plain = page::render(&page::gather::view(self, detail), telemetry_path);
            Page { gzip: publish::gzip(plain.as_bytes()).ok(), plain: plain.into() }
        };
        self.slot(detail).get_or_init(make).clone()
    }

    fn slot(&self, detail: Detail) -> &OnceLock<Page> {
        let [teams, processes] = &self.pages;
        match detail {
            Detail::Teams => teams,
            Detail::Processes => processes,
        }
    }
}

/// The state of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// No file was given: everything is unattributed.
    #[default]
    None,
    /// All files given are in force.
    InForce {
        /// How many rules they hold.
        rules: usize,
    },
    /// The last attempt to load them failed; the last good rules are in force.
    Refused {
        /// Every error, one to a line.
        errors: String,
    },
}

/// Whether the first complete sample is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// It is.
    Ready,
}
