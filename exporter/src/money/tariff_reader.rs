//! Reads a tariff: one price per kilowatt-hour, or bands of hours and days that make up a week.

use wattribute::yaml::{self, Entry, Fault, Kind, Node, Report, quote};

use super::calendar::WeekHour;
use super::micros::Micros;
use super::reader::{decimal, required, scalar};
use super::tariff::{Band, Tariff, WEEK};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const PER_KWH: &str = "per_kwh";

/// The tariff of a step of `electricity`.
pub fn read((node, entries): (&Node, &[Entry]), report: &mut Report<'_>) -> Option<Tariff> {
    let base = yaml::get(entries, PER_KWH);
    let base = base.map(|entry| scalar(&entry.value, PER_KWH, report, decimal));
    let Some(bands) = yaml::get(entries, "bands") else {
        if base.is_none() {
            let help = "add `per_kwh: …`, or `bands:` by hours and days";
            report.add(node.line, Fault::new("neither per_kwh nor bands").key("electricity").help(help));
        }
        return base?.map(Tariff::flat);
    };
    let mut week = [None; WEEK];
    let mut complete = true;
    for item in yaml::list(&bands.value, "bands", report)? {
        complete &= read_band(item, &mut week, report).is_some();
    }
    if complete {
        report.check(bands.line, check_cover(&week, base.is_some()).map_err(|fault| fault.key("bands")));
    }
    let base = base.unwrap_or(Some(Micros(0)))?;
    Some(Tariff::new(week.map(|hour| hour.map_or(base, |(price, _)| price))))
}

/// The price of an hour, and the line that says it.
type Hour = Option<(Micros, usize)>;

fn read_band(node: &Node, week: &mut [Hour; WEEK], report: &mut Report<'_>) -> Option<()> {
    let entries = yaml::map(node, "bands", report)?;
    yaml::check_keys(entries, &["days", "hours", PER_KWH], report);
    let price = required(entries, PER_KWH, node.line, report);
    let price = price.and_then(|entry| scalar(&entry.value, "bands.per_kwh", report, decimal));
    let days = ranges(entries, "days", day_range, report);
    let hours = ranges(entries, "hours", hour_range, report);
    let (price, days, hours) = (price?, days?, hours?);
    let days = u8::try_from(days & u32::from(Band::EVERY_DAY)).unwrap_or(Band::EVERY_DAY);
    let mut first = None;
    for at in (Band { days, hours }).week_hours() {
        match &mut week[at.day * 24 + at.hour] {
            Some((_, line)) => first = first.or(Some((at, *line))),
            free => *free = Some((price, node.line)),
        }
    }
    let Some((at, line)) = first else { return Some(()) };
    let fault = Fault::new(format!("overlaps the band in line {line}, first on {}", show(at)));
    report.add(node.line, fault.key("bands").help("an hour has one price: take it out of one of them"));
    None
}

fn show(at: WeekHour) -> String {
    format!("{} from {} to {}", DAYS[at.day], at.hour, at.hour + 1)
}

/// Every hour has a price: its band's, or the tariff's own, which must be good for something.
fn check_cover(week: &[Hour; WEEK], has_base: bool) -> Result<(), Fault> {
    match (week.iter().position(Option::is_none), has_base) {
        (Some(gap), false) => {
            let at = show(WeekHour { day: gap / 24, hour: gap % 24 });
            Err(Fault::new(format!("no price on {at}"))
                .help("add a band, or `per_kwh: …` beside `bands` for all other hours"))
        }
        (None, true) => Err(Fault::new("per_kwh beside bands that leave no hour").help("drop per_kwh")),
        _ => Ok(()),
    }
}

/// The bits of a text or a list of texts; all where the key is absent.
fn ranges(
    entries: &[Entry],
    key: &str,
    parse: fn(&str) -> Result<u32, Fault>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let Some(entry) = yaml::get(entries, key) else { return Some(u32::MAX) };
    let name = format!("bands.{key}");
    let nodes = match &entry.value.kind {
        Kind::List(nodes) if nodes.is_empty() => {
            let fault = Fault::new("an empty list").key(name);
            report.add(entry.line, fault.help(format!("name some {key}, or drop the key: then it is all")));
            return None;
        }
        Kind::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let bits: Vec<Option<u32>> = nodes.iter().map(|node| scalar(node, &name, report, parse)).collect();
    bits.into_iter().collect::<Option<Vec<u32>>>().map(|bits| bits.into_iter().fold(0, |all, one| all | one))
}

/// `mon` or `mon-fri`; bit 0 is Monday.
fn day_range(text: &str) -> Result<u32, Fault> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let day = |name: &str| {
        let known = DAYS.iter().position(|day| *day == name.trim());
        known.ok_or_else(|| Fault::unknown("day", name.trim(), DAYS).or_help(DAYS.join(" ")))
    };
    let (first, last) = (day(first)?, day(last)?);
    if first > last {
        let fault = Fault::new(format!("{} runs over the end of the week", quote(text)));
        return Err(fault.help("the week begins on mon: write a list, like [fri-sun, mon]"));
    }
    Ok((first..=last).fold(0, |bits, day| bits | 1 << day))
}

/// `6-22`: from 6:00 until 22:00; bit 0 is the hour after midnight.
fn hour_range(text: &str) -> Result<u32, Fault> {
    let hour = |text: &str| text.trim().parse::<u32>().ok().filter(|hour| *hour <= 24);
    let range = text.split_once('-').and_then(|(first, end)| hour(first).zip(hour(end)));
    match range {
        Some((first, end)) if first < end => Ok((first..end).fold(0, |bits, hour| bits | 1 << hour)),
        Some((first, end)) => {
            let fault = Fault::new(format!("{} ends before it begins", quote(text)));
            let help = "the hours are of each day itself: write a list, like";
            Err(fault.help(format!("{help} [{first}-24, 0-{end}]")))
        }
        None => {
            let fault = Fault::new(format!("{} is no range of hours", quote(text)));
            Err(fault.help("like 6-22, from 6:00 until 22:00, whole hours from 0 to 24"))
        }
    }
}
