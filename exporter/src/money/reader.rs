//! Reads what prices and budgets have in common: decimals, days, names, and lists of values by when they begin.

use jiff::civil::Date;
use wattribute::rules::{LONGEST_VALUE, Problems};
use wattribute::yaml::{self, Entry, Fault, Node, Report, quote};

use super::calendar::{Month, parse_date};
use super::micros::Micros;
use super::steps::Steps;

/// Reads a whole file, which must be a map. Nothing but the problems if there is one.
pub fn file<T>(
    name: &str,
    text: &str,
    smallest: &str,
    read: impl FnOnce(&[Entry], &mut Report<'_>) -> Option<T>,
) -> Result<T, Problems> {
    let mut problems = Vec::new();
    let mut report = Report::new(name, &mut problems);
    let root = yaml::parse(text, smallest, &mut report);
    let read = root.and_then(|root| read(yaml::map(&root, "", &mut report)?, &mut report));
    problems.sort_by_key(|problem| problem.line);
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(Problems(problems)),
    }
}

/// The value of a key that must be there; else reported at this line.
pub fn required<'n>(
    entries: &'n [Entry],
    key: &str,
    line: usize,
    report: &mut Report<'_>,
) -> Option<&'n Entry> {
    let entry = yaml::get(entries, key);
    if entry.is_none() {
        report.add(line, Fault::new(format!("{key} is missing")).help(format!("add `{key}: …`")));
    }
    entry
}

/// Makes something of a text.
pub fn scalar<T>(
    node: &Node,
    key: &str,
    report: &mut Report<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    let text = yaml::text(node, key, report)?;
    report.check(node.line, parse(text).map_err(|fault| fault.key(key)))
}

/// A decimal that is not negative.
pub fn decimal(text: &str) -> Result<Micros, Fault> {
    Micros::parse(text).ok_or_else(|| {
        let fault = Fault::new(format!("{} is no amount", quote(text)));
        fault.help("a decimal like 0.31, not negative, with at most six digits after the point")
    })
}

/// A day.
pub fn date(text: &str) -> Result<Date, Fault> {
    parse_date(text).ok_or_else(|| {
        Fault::new(format!("{} is no day", quote(text))).help("a day from 1970 to 2199, like 2026-11-30")
    })
}

/// A month.
pub fn month(text: &str) -> Result<Month, Fault> {
    Month::parse(text).ok_or_else(|| {
        Fault::new(format!("{} is no month", quote(text))).help("a month from 1970 to 2199, like 2026-11")
    })
}

/// A currency, by its code.
pub fn currency(text: &str) -> Result<String, Fault> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(format!("{} is no currency", quote(text)));
    Err(fault.help("three capital letters, like EUR"))
}

/// A value of a Prometheus label.
pub fn label_value(text: &str) -> Result<String, Fault> {
    match text.len() {
        1..=LONGEST_VALUE => Ok(text.to_owned()),
        length => Err(Fault::new(format!("a value has 1 to {LONGEST_VALUE} bytes, this one {length}"))),
    }
}

/// What a step looks like.
pub struct Form<'k, F> {
    /// All its keys, `from` among them.
    pub keys: &'k [&'k str],
    /// Reads when it begins.
    pub from: F,
}

/// A list of maps, each with `from` and other keys. Reports steps that do not rise; an empty list is one, too.
pub fn steps<K: Copy + Ord, T>(
    entry: &Entry,
    form: &Form<'_, impl Fn(&str) -> Result<K, Fault>>,
    mut read: impl FnMut((&Node, &[Entry]), &mut Report<'_>) -> Option<T>,
    report: &mut Report<'_>,
) -> Option<Steps<K, T>> {
    let key = entry.key.as_str();
    let items = yaml::list(&entry.value, key, report)?;
    if items.is_empty() {
        report.add(entry.line, Fault::new("an empty list").key(key).help("write one step, or drop the key"));
    }
    let mut steps = Steps::default();
    for item in items {
        let Some(entries) = yaml::map(item, key, report) else { continue };
        yaml::check_keys(entries, form.keys, report);
        let from = required(entries, "from", item.line, report);
        let from = from.and_then(|from| scalar(&from.value, &format!("{key}.from"), report, &form.from));
        let value = read((item, entries), report);
        let Some((from, value)) = from.zip(value) else { continue };
        if steps.push(from, value).is_err() {
            let fault = Fault::new("not later than the step before it").key(format!("{key}.from"));
            report.add(item.line, fault.help("the oldest stands first, no day twice"));
        }
    }
    Some(steps)
}
