//! The calendar of the time zone, which Prometheus does not know: the clock's changes are written out from the tz
//! database, as plain comparisons of the time, which cost next to nothing.

use jiff::Timestamp;
use jiff::civil::Date;

use super::super::calendar::{Calendar, Shift, Year};
use super::text::Rule;

/// From when the clock's changes are written out, if no price is older.
const FIRST: Date = Date::constant(2026, 1, 1);
/// The local time that months and days are of, in seconds; a minute late, so that a month has its last hour.
const LOCAL: &str = "(vector(time() - 60) + max(calendar:utc_offset:seconds))";

/// The rules, with the changes of the clock from the first price until the end of a year.
pub fn rules(calendar: &Calendar, first_price: Option<Timestamp>, until: Year) -> Vec<Rule> {
    let first = calendar.midnight(FIRST);
    let first = first_price.map_or(first, |price| price.min(first));
    let shifts = calendar.shifts(first, calendar.midnight(until.end()));
    let inside: Vec<Inside> = shifts.iter().filter_map(|shift| Inside::of(shift, calendar)).collect();
    vec![offset(calendar.offset(first), &shifts), month(), day(), length(&inside), elapsed(&inside)]
}

fn rule(record: &'static str, comment: &str, expr: String) -> Rule {
    Rule { comment: comment.into(), record, labels: Vec::new(), expr }
}

fn offset(base: i32, shifts: &[Shift]) -> Rule {
    let terms: String = shifts.iter().map(|shift| term('+', shift, &passed(shift))).collect();
    let comment = "Seconds that the clock is ahead of UTC.";
    rule("calendar:utc_offset:seconds", comment, format!("vector(\n  {base}{terms}\n)"))
}

fn month() -> Rule {
    rule("calendar:month:index", "12 * year + month.", format!("12 * year{LOCAL} + month{LOCAL}"))
}

fn day() -> Rule {
    rule("calendar:day:index", "Days since 1970-01-01.", format!("floor({LOCAL} / 86400)"))
}

/// A change of the clock within a month.
struct Inside<'s> {
    shift: &'s Shift,
    month: (Timestamp, Timestamp),
}

impl<'s> Inside<'s> {
    fn of(shift: &'s Shift, calendar: &Calendar) -> Option<Self> {
        let month = shift.inside?;
        Some(Self { shift, month: (calendar.start(month), calendar.start(month.next())) })
    }
}

fn length(inside: &[Inside<'_>]) -> Rule {
    let terms = inside.iter().map(|one| {
        let (from, until) = one.month;
        let factors = format!("(time() - 60 >= bool {}) * {}", from.as_second(), before(until));
        term('-', one.shift, &factors)
    });
    rule(
        "calendar:month:seconds",
        "The length of the month, an hour less or more where the clock changes.",
        format!("86400 * days_in_month{LOCAL}{}", terms.collect::<String>()),
    )
}

fn elapsed(inside: &[Inside<'_>]) -> Rule {
    let terms = inside.iter().map(|one| {
        let factors = format!("{} * {}", passed(one.shift), before(one.month.1));
        term('-', one.shift, &factors)
    });
    let days = format!("86400 * (day_of_month{LOCAL} - 1)\n  + {LOCAL} % 86400");
    let expr = format!("{days}{}", terms.collect::<String>());
    rule("calendar:month:elapsed_seconds", "How much of the month is over.", expr)
}

/// A line that adds or takes the seconds of a shift, if the factors are 1.
fn term(sign: char, shift: &Shift, factors: &str) -> String {
    let sign = match (sign, shift.seconds < 0) {
        ('+', true) | ('-', false) => '-',
        _ => '+',
    };
    format!("\n  {sign} {} * {factors}  # {}", shift.seconds.abs(), shift.at)
}

/// 1 when the shift is over.
fn passed(shift: &Shift) -> String {
    format!("(time() - 1 >= bool {})", shift.at.as_second())
}

/// 1 before this time.
fn before(time: Timestamp) -> String {
    format!("(time() - 60 < bool {})", time.as_second())
}
