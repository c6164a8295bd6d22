//! The time that is billed: half-open, in Unix seconds; read from what people type, in a time zone, and cut into hours.
//! Pure: the zone is a function from Unix seconds to seconds east of Greenwich.

/// How far a place's clocks are ahead of UTC at a moment, in seconds.
pub type Zone<'a> = &'a dyn Fn(i64) -> i64;

/// The longest period that is read: two years.
const LONGEST: i64 = 2 * 366 * 86_400;

/// A time from its first moment up to, and without, its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first second.
    pub from: i64,
    /// The first second that no longer belongs to it.
    pub to: i64,
}

impl Period {
    /// # Errors
    /// Where a time cannot be read, or the period is empty or too long.
    pub fn between(from: &str, to: &str, zone: Zone) -> Result<Self, String> {
        let moment = |flag: &str, text: &str| moment(text, zone).map_err(|error| format!("{flag}: {error}"));
        Self { from: moment("--from", from)?, to: moment("--to", to)? }.checked()
    }

    /// A calendar month, written `2026-11`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn month(text: &str, zone: Zone) -> Result<Self, String> {
        let wrong = || format!("--month: {text:?} is no month: write it like 2026-11");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if (year.len(), month.len()) != (4, 2) {
            return Err(wrong());
        }
        let (year, month) = (number(year).ok_or_else(wrong)?, number(month).ok_or_else(wrong)?);
        if !(1..=12).contains(&month) {
            return Err(wrong());
        }
        let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let midnight = |(year, month)| utc(days(year, month, 1) * 86_400, zone);
        Self { from: midnight((year, month)), to: midnight(next) }.checked()
    }

    /// The hour that begins at this moment.
    ///
    /// # Errors
    /// Where the time cannot be read.
    pub fn hour(text: &str, zone: Zone) -> Result<Self, String> {
        let from = moment(text, zone).map_err(|error| format!("--explain: {error}"))?;
        Self { from, to: from + 3600 }.checked()
    }

    /// Its hours by the zone's clock, since prices change with those; the first and the last may be shorter.
    pub fn hours(self, zone: Zone) -> Vec<Self> {
        let mut hours = vec![];
        let mut from = self.from;
        while from < self.to {
            let next = from + 3600 - (from + zone(from)).rem_euclid(3600);
            hours.push(Self { from, to: next.min(self.to) });
            from = next;
        }
        hours
    }

    /// How long it is.
    pub fn seconds(self) -> i64 {
        self.to - self.from
    }

    fn checked(self) -> Result<Self, String> {
        if self.from >= self.to {
            return Err("the period is empty: --to must be later than --from".into());
        }
        if self.seconds() > LONGEST {
            return Err("the period is longer than two years: take a shorter one".into());
        }
        if self.from < 0 {
            return Err("the period begins before 1970".into());
        }
        Ok(self)
    }
}

/// A moment as RFC 3339, in UTC.
pub fn rfc3339(seconds: i64) -> String {
    local(seconds, &|_| 0) + "Z"
}

/// A moment with the zone's own clock and its distance from UTC.
pub fn with_zone(seconds: i64, zone: Zone) -> String {
    let offset = zone(seconds);
    let (sign, offset_minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
    format!("{}{sign}{:02}:{:02}", local(seconds, zone), offset_minutes / 60, offset_minutes % 60)
}

/// The calendar day of a moment.
pub fn date(seconds: i64, zone: Zone) -> String {
    local(seconds, zone)[..10].to_owned()
}

fn local(seconds: i64, zone: Zone) -> String {
    let local = seconds + zone(seconds);
    let (year, month, day) = civil(local.div_euclid(86_400));
    let second = local.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// `2026-11-01`, `2026-11-01T06:00`, `2026-11-01T06:00:00`, each of the latter with `Z` or without.
fn moment(text: &str, zone: Zone) -> Result<i64, String> {
    let wrong =
        || format!("{text:?} is no time: write it like 2026-11-01, 2026-11-01T06:00 or 2026-11-01T06:00:00Z");
    let (body, is_utc) = text.strip_suffix('Z').map_or((text, false), |body| (body, true));
    let (date, time) = body.split_once(['T', ' ']).unwrap_or((body, "00:00"));
    if is_utc && !body.contains(['T', ' ']) {
        return Err(wrong());
    }
    let date: Vec<i64> = numbers(date, '-').filter(|parts| parts.len() == 3).ok_or_else(wrong)?;
    let time: Vec<i64> =
        numbers(time, ':').filter(|parts| (2..=3).contains(&parts.len())).ok_or_else(wrong)?;
    let (hour, minute, second) = (time[0], time[1], time.get(2).copied().unwrap_or(0));
    let day = days(date[0], date[1], date[2]);
    if civil(day) != (date[0], date[1], date[2]) || hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    let local = day * 86_400 + hour * 3600 + minute * 60 + second;
    Ok(if is_utc { local } else { utc(local, zone) })
}

fn numbers(text: &str, between: char) -> Option<Vec<i64>> {
    text.split(between).map(number).collect()
}

fn number(text: &str) -> Option<i64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// When the zone's clocks show this. Of an hour that there is twice it is the first, of one that there is not, the next.
fn utc(local: i64, zone: Zone) -> i64 {
    let early = local - zone(local - 86_400);
    let late = local - zone(local + 86_400);
    [early, late].into_iter().filter(|at| at + zone(*at) == local).min().unwrap_or(early)
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The reverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let month_of_year = if month < 10 { month + 3 } else { month - 9 };
    let first = i64::from(month_of_year <= 2);
    (year + era * 400 + first, month_of_year, day_of_year - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Zone = &|_| 0;
    /// Berlin in 2026: summer time from 29 March, 01:00 UTC, to 25 October, 01:00 UTC.
    const BERLIN: Zone = &|at| if (1_774_746_000..1_792_890_000).contains(&at) { 7200 } else { 3600 };

    #[track_caller]
    fn check(from: &str, to: &str, zone: Zone, want: (&str, i64)) {
        let period = Period::between(from, to, zone).unwrap();
        assert_eq!((rfc3339(period.from).as_str(), period.seconds()), want);
    }

    #[test]
    fn times_are_read_in_their_zone() {
        check("2026-11-01", "2026-12-01", UTC, ("2026-11-01T00:00:00Z", 30 * 86_400));
        check("2026-11-01", "2026-12-01", BERLIN, ("2026-10-31T23:00:00Z", 30 * 86_400));
        check("2026-11-01T06:30", "2026-11-01T06:30:05Z", BERLIN, ("2026-11-01T05:30:00Z", 3605));
        check("2026-11-01 06:30:00Z", "2026-11-01 07:30:00", UTC, ("2026-11-01T06:30:00Z", 3600));
    }

    #[test]
    fn a_month_has_an_hour_more_or_less_where_clocks_change() {
        let hours = |text| Period::month(text, BERLIN).unwrap().hours(BERLIN).len();
        assert_eq!([hours("2026-03"), hours("2026-10"), hours("2026-11")], [743, 745, 720]);
        assert_eq!(Period::month("2028-02", UTC).unwrap().seconds(), 29 * 86_400);
        assert_eq!(rfc3339(Period::month("2026-12", UTC).unwrap().to), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn an_hour_that_clocks_show_twice_is_the_first_one() {
        check("2026-10-25T02:30", "2026-10-25T03:30", BERLIN, ("2026-10-25T00:30:00Z", 7200));
    }

    #[test]
    fn moments_are_shown_with_their_zone() {
        assert_eq!(with_zone(1_792_886_400, BERLIN), "2026-10-25T02:00:00+02:00");
        assert_eq!(with_zone(1_792_890_000, BERLIN), "2026-10-25T02:00:00+01:00");
        assert_eq!(date(1_792_890_000, &|_| -12_600), "2026-10-24");
    }

    #[test]
    fn hours_are_cut_where_the_clock_has_them() {
        let seconds =
            |zone| Period { from: 100, to: 7400 }.hours(zone).into_iter().map(Period::seconds).collect();
        let (utc, kolkata): (Vec<i64>, Vec<i64>) = (seconds(UTC), seconds(&|_| 19_800));
        assert_eq!((utc, kolkata), (vec![3500, 3600, 200], vec![1700, 3600, 2000]));
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -200_000..200_000 {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for (from, to) in [
            ("2026-11-01", "2026-11-01"),
            ("2026-12-01", "2026-11-01"),
            ("2026-13-01", "2027-01-01"),
            ("2026-02-29", "2027-01-01"),
            ("1.11.2026", "2027-01-01"),
            ("2026-11-01T24:00", "2027-01-01"),
            ("2026-11-01Z", "2027-01-01"),
            ("2026-11-01", "2029-01-01"),
            ("1960-01-01", "1960-01-02"),
            ("", ""),
        ] {
            assert!(Period::between(from, to, UTC).is_err(), "{from} {to}");
        }
        for month in ["2026", "2026-13", "2026-1", "2026-00", "nov", "2026-11-01"] {
            assert!(Period::month(month, UTC).is_err(), "{month}");
        }
    }
}
