//! The calendar of the time zone, which Prometheus does not know: the clock's changes are written out from the tz
//! database, through 2040.

use jiff::Timestamp;
use jiff::civil::Date;

use super::super::calendar::{Calendar, Shift};
use super::text::Rule;

/// From when the clock's changes are written out, if no price is older.
const FIRST: Date = Date::constant(2026, 1, 1);
/// Until when they are.
const END: Date = Date::constant(2041, 1, 1);
/// The local time that months and days are of, in seconds; a minute late, so that a month has its last hour.
const LOCAL: &str = "(vector(time() - 60) + max(calendar:utc_offset:seconds))";
const MONTH: &str = "max(calendar:month:index)";

/// The rules, with the changes of the clock since the first price.
pub fn rules(calendar: &Calendar, first_price: Option<Timestamp>) -> Vec<Rule> {
    let first = calendar.midnight(FIRST);
    let first = first_price.map_or(first, |price| price.min(first));
    let shifts = calendar.shifts(first, calendar.midnight(END));
    vec![offset(calendar.offset(first), &shifts), month(), day(), length(&shifts), elapsed(&shifts)]
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

fn length(shifts: &[Shift]) -> Rule {
    let terms = shifts.iter().filter_map(|shift| Some(term('-', shift, &inside(shift)?)));
    let expr = format!("86400 * days_in_month{LOCAL}{}", terms.collect::<String>());
    rule(
        "calendar:month:seconds",
        "The length of the month, an hour less or more where the clock changes.",
        expr,
    )
}

fn elapsed(shifts: &[Shift]) -> Rule {
    let both = |shift: &Shift| Some(format!("{} * {}", inside(shift)?, passed(shift)));
    let terms = shifts.iter().filter_map(|shift| Some(term('-', shift, &both(shift)?)));
    let days = format!("86400 * (day_of_month{LOCAL} - 1) + {LOCAL} % 86400");
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

/// 1 in the month of the shift.
fn inside(shift: &Shift) -> Option<String> {
    shift.inside.map(|month| format!("({MONTH} == bool {})", month.index()))
}
