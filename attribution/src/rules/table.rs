//! Look-up tables: key → owner, inline or as CSV. Values are literal.

use std::collections::BTreeMap;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::problem::{Fault, Report, quote};
use super::schema;
use super::verdict::check_value;
use super::yaml::{Entry, Kind, check_size};
use crate::owner::{Owner, TEAM};

/// The owners of the keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(BTreeMap<String, Owner>);

impl Table {
    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owner of a key.
    pub fn get(&self, key: &str) -> Option<&Owner> {
        self.0.get(key)
    }
}

/// Reads the text of a CSV file, named as the rules file names it.
pub(super) type Read<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// The label of this name among the owner labels.
pub(super) fn label(name: &str, labels: &[Arc<str>]) -> Result<Arc<str>, Fault> {
    let found = labels.iter().find(|label| &***label == name);
    found.cloned().ok_or_else(|| {
        let fault = Fault::unknown("owner label", name, labels.iter().map(|label| &**label));
        fault.or_help(format!("the file's `labels` are {}", labels.join(", ")))
    })
}

/// Reads one entry under `tables`.
pub(super) fn read(
    entry: &Entry,
    labels: &[Arc<str>],
    read: &mut Read<'_>,
    report: &mut Report<'_>,
) -> Table {
    let Some(rows) = schema::map(&entry.value, "", report) else { return Table::default() };
    // A row whose key is "file" is a map; the name of a file is not.
    match schema::get(rows, "file").map(|entry| &entry.value) {
        Some(file) if !matches!(file.kind, Kind::Map(_)) => {
            schema::check_keys(rows, &["file"], report);
            let Some(name) = schema::text(file, "file", report) else { return Table::default() };
            let text = read(name)
                .map_err(|reason| Fault::new(format!("cannot read {}: {reason}", quote(name))).key("file"));
            let text = report.check(file.line, text);
            text.map(|text| from_csv(&text, labels, &mut report.of_file(name))).unwrap_or_default()
        }
        _ => inline(rows, labels, report),
    }
}

fn inline(rows: &[Entry], labels: &[Arc<str>], report: &mut Report<'_>) -> Table {
    let mut table = Table::default();
    for row in rows {
        let Some(values) = schema::map(&row.value, &quote(&row.key), report) else { continue };
        let mut text = |entry: &Entry| {
            let key = format!("{}.{}", quote(&row.key), entry.key);
            Some((entry.key.clone(), schema::text_or_empty(&entry.value, &key, report)?.to_owned()))
        };
        let pairs: Vec<Option<(String, String)>> = values.iter().map(&mut text).collect();
        let Some(pairs) = pairs.into_iter().collect() else { continue };
        if let Some(owner) = (Row { line: row.line, key: &row.key, pairs }).owner(labels, report) {
            table.0.insert(row.key.clone(), owner);
        }
    }
    table
}

/// One key, and the labels and values of its owner.
struct Row<'a> {
    line: usize,
    key: &'a str,
    pairs: Vec<(String, String)>,
}

impl Row<'_> {
    fn owner(&self, labels: &[Arc<str>], report: &mut Report<'_>) -> Option<Owner> {
        if self.key.is_empty() {
            let help = "an absent fact is the empty text, and would match: give it a rule of its own";
            report.add(self.line, Fault::new("an empty key").help(help));
            return None;
        }
        if !self.pairs.iter().any(|(name, _)| name == TEAM) {
            report.add(self.line, Fault::new("team is missing").key(quote(self.key)));
            return None;
        }
        let mut owner = Vec::new();
        for (name, value) in &self.pairs {
            let checked = label(name, labels).and_then(|label| check_cell(&label, value).map(|()| label));
            let keyed = checked.map_err(|fault| fault.key(format!("{}.{name}", quote(self.key))));
            owner.extend(report.check(self.line, keyed).map(|label| (label, value.as_str())));
        }
        Some(Owner::new(owner))
    }
}

fn check_cell(label: &str, value: &str) -> Result<(), Fault> {
    if value.contains("${") {
        return Err(Fault::new("a table holds no templates").help("write the value out"));
    }
    check_value(label, value)
}

/// A header `key,team,…`, then one row per key.
fn from_csv(text: &str, labels: &[Arc<str>], report: &mut Report<'_>) -> Table {
    let mut table = Table::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(fault) = check_size(text) {
        report.add(1, fault);
        return table;
    }
    let reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let records: Result<Vec<StringRecord>, _> = reader.into_records().collect();
    let records = records.map_err(|error| Fault::new(format!("not CSV: {error}")));
    let Some(records) = report.check(1, records) else { return table };
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut records = records.into_iter();
    let header = records.next().unwrap_or_default();
    if let Err(fault) = check_header(&header, labels) {
        report.add(lines.of(&header), fault);
        return table;
    }
    let mut seen = BTreeMap::new();
    for record in records {
        let line = lines.of(&record);
        if let Err(fault) = check_record(&record, &header) {
            report.add(line, fault);
            continue;
        }
        let key = record.get(0).unwrap_or_default();
        if let Some(first) = seen.get(key) {
            report.add(line, Fault::new(format!("duplicate key {} (first in line {first})", quote(key))));
            continue;
        }
        seen.insert(key.to_owned(), line);
        let pairs = header.iter().zip(&record).skip(1);
        let pairs = pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        if let Some(owner) = (Row { line, key, pairs }).owner(labels, report) {
            table.0.insert(key.to_owned(), owner);
        }
    }
    table
}

fn check_header(header: &StringRecord, labels: &[Arc<str>]) -> Result<(), Fault> {
    let wanted = || format!("the first line reads: key,{}", labels.join(","));
    if header.get(0) != Some("key") {
        let found = quote(header.get(0).unwrap_or_default());
        return Err(Fault::new(format!("the first column is {found}, not \"key\"")).help(wanted()));
    }
    let names: Vec<&str> = header.iter().skip(1).collect();
    for (index, name) in names.iter().enumerate() {
        label(name, labels)?;
        if names[..index].contains(name) {
            return Err(Fault::new(format!("the column {} comes twice", quote(name))));
        }
    }
    if names.contains(&TEAM) { Ok(()) } else { Err(Fault::new("no column \"team\"").help(wanted())) }
}

fn check_record(record: &StringRecord, header: &StringRecord) -> Result<(), Fault> {
    if record.iter().any(|value| value.contains(['\n', '\r'])) {
        return Err(Fault::new("a value with a line break").help("is a closing quote missing?"));
    }
    if record.len() == header.len() {
        return Ok(());
    }
    let fault = format!("{} columns, where the first line has {}", record.len(), header.len());
    Err(Fault::new(fault).help("put a value that holds a comma in double quotes"))
}

/// Counts lines up to a record. The position of a record is that of the empty lines before it.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, record: &StringRecord) -> usize {
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok());
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if start.is_none_or(|start| self.at >= start) && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut problems = Vec::new();
        let labels = ["team".into(), "project".into()];
        let table = from_csv(text, &labels, &mut Report::new("a.csv", &mut problems));
        let rows = table.0.iter().map(|(key, owner)| format!("{key}: {owner}"));
        let got: Vec<String> = rows.chain(problems.iter().map(ToString::to_string)).collect();
        assert_eq!(got.join("\n"), want);
    }

    #[test]
    fn a_row_is_an_owner() {
        check(
            "\u{feff}key, team,project\r\nastro,physics,\"sky, far\"\r\n\r\nbio,life,\r\n",
            "astro: team=\"physics\", project=\"sky, far\"\nbio: team=\"life\"",
        );
    }

    #[test]
    fn the_order_of_columns_does_not_matter() {
        check("key,project,team\na,b,c\n", "a: team=\"c\", project=\"b\"");
    }

    #[test]
    fn line_breaks_of_another_system_and_empty_lines_count() {
        check(
            "\u{feff}key,team\r\n\r\na,b\r\n\r\n\r\na,c\r\n",
            "a: team=\"b\"\na.csv:6: duplicate key \"a\" (first in line 3)",
        );
        check(
            "\n\nkay,team\n",
            "a.csv:3: the first column is \"kay\", not \"key\" (the first line reads: key,team,project)",
        );
    }

    #[test]
    fn the_line_is_that_of_the_file() {
        check(
            "key,team\n\n\"a\nb\",t\nc\n",
            "a.csv:3: a value with a line break (is a closing quote missing?)\na.csv:5: 1 columns, where the first line has 2 (put a value that holds a comma in double quotes)",
        );
    }
}
