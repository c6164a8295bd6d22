//! What each owner had at the last midnight, so that the page can say what it drew since: by the clock and the zone of
//! this machine. Called by `showcase` with every snapshot; it adds up owners once a day, and at the start.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use wattribute::owner::Owner;
use wattribute::units::Millijoules;

use super::view::Because;
use crate::account::snapshot::Snapshot;

/// A day that is noticed later than this after it began, as after a suspend, is counted from then.
const PUNCTUAL: SignedDuration = SignedDuration::from_mins(2);

/// A day, or what the exporter has seen of it.
#[derive(Clone, Debug)]
pub struct Today {
    /// When it began.
    pub since: Zoned,
    pub because: Because,
    /// The midnight that ends it.
    until: Timestamp,
    /// What each owner had been given when it began.
    before: BTreeMap<Owner, Millijoules>,
}

impl Default for Today {
    fn default() -> Self {
        Self::start(Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), BTreeMap::new())
    }
}

impl Today {
    /// The exporter begins, and owners have been given so much before.
    pub fn start(now: Zoned, before: BTreeMap<Owner, Millijoules>) -> Self {
        Self { until: end_of_day(&now), since: now, because: Because::Start, before }
    }

    /// The day that is, if it is no longer this one.
    pub fn next(&self, now: Timestamp, snapshot: &Snapshot) -> Option<Self> {
        let was_set_back = now < self.since.timestamp() - PUNCTUAL;
        if now < self.until && !was_set_back {
            return None;
        }
        let now = now.to_zoned(self.since.time_zone().clone());
        let late = now.start_of_day().map_or(SignedDuration::MAX, |midnight| now.duration_since(&midnight));
        let because = if late <= PUNCTUAL { Because::Midnight } else { Because::Clock };
        Some(Self { because, ..Self::start(now, totals(snapshot)) })
    }

    /// What an owner was given since, of so much in all.
    pub fn gained(&self, owner: &Owner, total: Millijoules) -> Millijoules {
        total.saturating_sub(self.before.get(owner).copied().unwrap_or_default())
    }
}

/// What each owner has been given in all, seen by scrapes or not yet.
pub fn totals(snapshot: &Snapshot) -> BTreeMap<Owner, Millijoules> {
    let mut totals: BTreeMap<Owner, Millijoules> = BTreeMap::new();
    for (_, account) in snapshot.visible.ledger.gpus().chain(snapshot.hidden.ledger.gpus()) {
        for (owner, amounts) in &account.owners {
            *totals.entry(owner.clone()).or_default() += amounts.active + amounts.idle;
        }
    }
    totals
}

fn end_of_day(now: &Zoned) -> Timestamp {
    let tomorrow = now.tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
    tomorrow.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattribute::owner::Reserved;

    fn berlin(time: &str) -> Zoned {
        format!("{time}[Europe/Berlin]").parse().expect("a time")
    }

    fn snapshot(millijoules: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.visible.ledger.book_whole(&"GPU-0".into(), Millijoules(millijoules), Reserved::Unobserved);
        snapshot.hidden.ledger.book_whole(&"GPU-1".into(), Millijoules(1), Reserved::Unobserved);
        snapshot
    }

    /// Begins at noon with 5 mJ; says what the next day begins with, if it has come.
    #[track_caller]
    fn check(now: &str, want: Option<Because>) {
        let noon = Today::start(berlin("2026-10-24T12:00:00"), BTreeMap::new());
        let next = noon.next(berlin(now).timestamp(), &snapshot(5));
        assert_eq!(next.as_ref().map(|next| next.because), want);
        let owner = Owner::from(Reserved::Unobserved);
        let gained = next.map(|next| next.gained(&owner, Millijoules(9)));
        assert_eq!(gained, want.map(|_| Millijoules(3)));
    }

    #[test]
    fn a_day_ends_at_local_midnight() {
        check("2026-10-24T12:00:01", None);
        check("2026-10-24T23:59:59", None);
        check("2026-10-25T00:00:00", Some(Because::Midnight));
        check("2026-10-25T00:01:30", Some(Because::Midnight));
    }

    #[test]
    fn a_clock_that_is_set_and_a_machine_that_slept_say_so() {
        check("2026-10-25T07:30:00", Some(Because::Clock));
        check("2026-10-24T11:59:00", None);
        check("2026-10-24T10:00:00", Some(Because::Clock));
    }

    #[test]
    fn a_day_has_as_many_hours_as_the_zone_says() {
        let today = Today::start(berlin("2026-10-25T00:00:00"), BTreeMap::new());
        let hours = today.until.duration_since(today.since.timestamp()).as_hours();
        assert_eq!(hours, 25);
    }

    #[test]
    fn what_an_owner_had_before_the_start_does_not_count() {
        let owner = Owner::new([("team", "a")]);
        let today =
            Today::start(berlin("2026-10-24T12:00:00"), BTreeMap::from([(owner.clone(), Millijoules(70))]));
        assert_eq!(today.gained(&owner, Millijoules(100)), Millijoules(30));
        assert_eq!(today.gained(&Owner::new([("team", "b")]), Millijoules(8)), Millijoules(8));
    }
}
