//! Reads nodes as what a key asks for, and reports what they are instead. Used by every reader of a section.

use super::matcher::{self, Matcher};
use super::problem::{Fault, Report, quote, single_quoted};
use super::yaml::{Entry, Kind, Node};

/// The entries of a map.
pub fn map<'n>(node: &'n Node, key: &str, report: &mut Report<'_>) -> Option<&'n [Entry]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => wrong(node, "a map", key, report),
    }
}

/// The items of a list.
pub fn list<'n>(node: &'n Node, key: &str, report: &mut Report<'_>) -> Option<&'n [Node]> {
    match &node.kind {
        Kind::List(items) => Some(items),
        _ => wrong(node, "a list", key, report),
    }
}

/// A scalar, as written.
pub fn text<'n>(node: &'n Node, key: &str, report: &mut Report<'_>) -> Option<&'n str> {
    match &node.kind {
        Kind::Text(text) => Some(text),
        _ => wrong(node, "a text", key, report),
    }
}

/// A scalar, where nothing written is the empty text.
pub(super) fn text_or_empty<'n>(node: &'n Node, key: &str, report: &mut Report<'_>) -> Option<&'n str> {
    if node.kind == Kind::Empty { Some("") } else { text(node, key, report) }
}

fn wrong<T>(node: &Node, wanted: &str, key: &str, report: &mut Report<'_>) -> Option<T> {
    let fault = Fault::new(format!("expected {wanted}, found {}", node.describe()));
    report.add(node.line, if key.is_empty() { fault } else { fault.key(key) });
    None
}

/// Reports the keys that are none of the known.
pub fn check_keys(entries: &[Entry], known: &[&str], report: &mut Report<'_>) {
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let fault = Fault::unknown("key", &entry.key, known.iter().copied());
        report.add(entry.line, fault.or_help(format!("known: {}", known.join(", "))));
    }
}

/// The value of a key.
#[must_use]
pub fn get<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// The name of a rule or test; the report is of what it names.
pub(super) fn name<'n>(node: &'n Node, entries: &'n [Entry], report: &mut Report<'_>) -> Option<&'n str> {
    const LONGEST: usize = 128;
    let Some(entry) = get(entries, "name") else {
        report.add(node.line, Fault::new("a name is missing").help("add `name: …`"));
        return None;
    };
    let name = text(&entry.value, "name", report)?;
    if name.is_empty() || name.len() > LONGEST {
        let fault = format!("a name has 1 to {LONGEST} bytes, this one {}", name.len());
        report.add(entry.line, Fault::new(fault).key("name"));
        return None;
    }
    Some(name)
}

/// What a list item is called in messages: by its name, else by its number from 1.
pub(super) fn subject(kind: &str, (index, node): (usize, &Node)) -> String {
    let entry = match &node.kind {
        Kind::Map(entries) => get(entries, "name"),
        _ => None,
    };
    match entry.map(|entry| &entry.value.kind) {
        Some(Kind::Text(name)) => format!("{kind} {}", quote(name)),
        _ => format!("{kind} {}", index + 1),
    }
}

/// The matchers of a list and their lines. Nothing if one of them is faulty, so that no error follows from another.
pub(super) fn matchers(node: &Node, key: &str, report: &mut Report<'_>) -> Option<Vec<(usize, Matcher)>> {
    let items = list(node, key, report)?;
    let mut read = |item: &Node| Some((item.line, one_matcher(item, key, report)?));
    let parsed: Vec<Option<(usize, Matcher)>> = items.iter().map(&mut read).collect();
    parsed.into_iter().collect()
}

fn one_matcher(node: &Node, key: &str, report: &mut Report<'_>) -> Option<Matcher> {
    let result = match &node.kind {
        Kind::Text(text) => matcher::parse(text),
        Kind::Map(entries) => Err(broken_by_yaml(entries)),
        _ => Err(Fault::new(format!("expected a matcher, found {}", node.describe()))
            .help(r#"a matcher reads: field="value""#)),
    };
    // The message of an unknown field names the field, which says more than the key.
    let keyed = result
        .map_err(|fault| if fault.message.starts_with("unknown field") { fault } else { fault.key(key) });
    report.check(node.line, keyed)
}

/// `comm="a: b"` without quotes around it is a map to YAML.
fn broken_by_yaml(entries: &[Entry]) -> Fault {
    let fault = Fault::new("expected a matcher, found a map");
    match entries {
        [Entry { key, value: Node { kind: Kind::Text(value), .. }, .. }] => {
            let written = single_quoted(&format!("{key}: {value}"), 200);
            fault.help(format!(
                "YAML reads `: ` as the end of a key: put the whole item in single quotes, '{written}'"
            ))
        }
        _ => fault.help("put the whole item in single quotes"),
    }
}
