//! Local time: when days and months begin in the time zone that prices are in, daylight saving included.
//!
//! The tz database is that of the binary, not the machine's: the same files render alike everywhere.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A time zone and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    name: String,
    zone: TimeZone,
}

/// A calendar month, of a year from 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    index: u32,
}

/// A year from 1970 to 2199.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Year(i16);

impl Year {
    /// Reads `2040`.
    ///
    /// # Errors
    /// It is none from 1970 to 2199.
    pub fn parse(text: &str) -> Result<Self, String> {
        let year = text.parse().ok().filter(|year| (1970..2200).contains(year));
        year.map(Self).ok_or_else(|| "a year from 1970 to 2199".to_owned())
    }

    /// The first day of the year after it.
    pub fn end(self) -> Date {
        Date::new(self.0 + 1, 1, 1).unwrap_or(Date::MAX)
    }
}

/// An hour of the week by the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekHour {
    /// 0 is Monday.
    pub day: usize,
    /// 0 to 23.
    pub hour: usize,
}

/// A change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The first second of the new time.
    pub at: Timestamp,
    /// How many seconds the clock goes forward.
    pub seconds: i32,
    /// The month in which that is; `None` if a month begins with it.
    pub inside: Option<Month>,
}

impl Month {
    /// Reads `2026-11`.
    pub fn parse(text: &str) -> Option<Self> {
        parse_date(&format!("{text}-01")).map(Self::of)
    }

    /// The month of a day.
    pub fn of(date: Date) -> Self {
        let year = u32::try_from(date.year()).unwrap_or_default();
        Self { index: 12 * year + u32::try_from(date.month()).unwrap_or_default() }
    }

    /// 12 × year + month, as `calendar:month:index` in Prometheus.
    #[cfg(test)]
    pub fn index(self) -> u32 {
        self.index
    }

    /// The month after it.
    pub fn next(self) -> Self {
        Self { index: self.index + 1 }
    }

    /// Its first day.
    pub fn first(self) -> Date {
        let (year, month) = ((self.index - 1) / 12, (self.index - 1) % 12 + 1);
        let year = i16::try_from(year).unwrap_or(9999);
        Date::new(year, i8::try_from(month).unwrap_or(1), 1).unwrap_or(Date::MAX)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", (self.index - 1) / 12, (self.index - 1) % 12 + 1)
    }
}

/// Reads `2026-11-30`, of a year from 1970 to 2199.
pub fn parse_date(text: &str) -> Option<Date> {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date: Date = text.parse().ok().filter(|_| shaped)?;
    (1970..2200).contains(&date.year()).then_some(date)
}

impl Calendar {
    /// The time zone of this name in the tz database: `Europe/Berlin`, `UTC`.
    pub fn new(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // The database finds names in any case; people and programs that read the rules may not.
        let known = zone.iana_name().unwrap_or(name) == name;
        known.then(|| Self { name: name.to_owned(), zone })
    }

    /// The names there are.
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    /// The time zone's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When a day begins.
    pub fn midnight(&self, date: Date) -> Timestamp {
        date.to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// When a month begins.
    pub fn start(&self, month: Month) -> Timestamp {
        self.midnight(month.first())
    }

    /// The day that it is.
    pub fn date(&self, time: Timestamp) -> Date {
        self.zone.to_datetime(time).date()
    }

    /// The month that it is.
    pub fn month(&self, time: Timestamp) -> Month {
        Month::of(self.date(time))
    }

    /// The hour that the clock shows, and the day of the week.
    pub fn week_hour(&self, time: Timestamp) -> WeekHour {
        let local = self.zone.to_datetime(time);
        let day = usize::try_from(local.date().weekday().to_monday_zero_offset()).unwrap_or_default();
        WeekHour { day, hour: usize::try_from(local.hour()).unwrap_or_default() }
    }

    /// Seconds that the clock is ahead of UTC.
    pub fn offset(&self, time: Timestamp) -> i32 {
        self.zone.to_offset(time).seconds()
    }

    /// The changes of the clock after one time and before another.
    pub fn shifts(&self, after: Timestamp, before: Timestamp) -> Vec<Shift> {
        let mut offset = self.offset(after);
        let mut shifts = Vec::new();
        for transition in self.zone.following(after).take_while(|one| one.timestamp() < before) {
            let (at, new) = (transition.timestamp(), transition.offset().seconds());
            let month = self.month(at);
            let inside = (self.start(month) < at).then_some(month);
            // A zone may change its name alone.
            if new != offset {
                shifts.push(Shift { at, seconds: new - offset, inside });
            }
            offset = new;
        }
        shifts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Calendar {
        Calendar::new("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_zone_is_known_by_its_exact_name() {
        assert_eq!(Calendar::new("UTC").unwrap().name(), "UTC");
        assert_eq!(Calendar::new("europe/berlin"), None);
        assert_eq!(Calendar::new("Europe/Berlyn"), None);
        assert!(Calendar::names().contains(&"Europe/Berlin".to_owned()));
    }

    #[test]
    fn a_month_begins_at_local_midnight() {
        let month = Month::parse("2026-12").unwrap();
        assert_eq!(berlin().start(month), at("2026-11-30T23:00:00Z"));
        assert_eq!(berlin().start(month.next()), at("2026-12-31T23:00:00Z"));
        assert_eq!((month.index(), month.next().index()), (24_324, 24_325));
        assert_eq!(berlin().month(at("2026-12-31T22:59:59Z")), month);
        assert_eq!(berlin().month(at("2026-12-31T23:00:00Z")).to_string(), "2027-01");
    }

    #[track_caller]
    fn check_hour(time: &str, day: usize, hour: usize) {
        assert_eq!(berlin().week_hour(at(time)), WeekHour { day, hour });
    }

    #[test]
    fn the_hour_is_that_of_the_local_clock() {
        check_hour("2026-03-28T23:30:00Z", 6, 0);
        check_hour("2026-03-29T00:59:59Z", 6, 1);
        check_hour("2026-03-29T01:00:00Z", 6, 3);
        check_hour("2026-10-25T00:30:00Z", 6, 2);
        check_hour("2026-10-25T01:30:00Z", 6, 2);
        check_hour("2026-11-30T00:00:00Z", 0, 1);
    }

    #[test]
    fn the_clock_changes_twice_a_year() {
        let shifts = berlin().shifts(at("2025-12-31T23:00:00Z"), at("2026-12-31T23:00:00Z"));
        let march = Shift { at: at("2026-03-29T01:00:00Z"), seconds: 3600, inside: Month::parse("2026-03") };
        let october =
            Shift { at: at("2026-10-25T01:00:00Z"), seconds: -3600, inside: Month::parse("2026-10") };
        assert_eq!(shifts, [march, october]);
        let utc = Calendar::new("UTC").unwrap();
        assert_eq!(utc.shifts(Timestamp::UNIX_EPOCH, at("2040-01-01T00:00:00Z")), []);
    }

    #[test]
    fn days_and_months_are_written_in_full() {
        for wrong in ["2026-1-1", "20260101", "2026-02-30", "2026-01-01T00", "1969-12-31", "2200-01-01", ""] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
        for wrong in ["2026", "2026-13", "2026-1", "2026-01-01", "2026-00"] {
            assert_eq!(Month::parse(wrong), None, "{wrong}");
        }
    }
}
