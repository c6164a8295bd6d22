//! A process written in YAML: `process:` of a test, and the file of `explain --process`.

use std::collections::BTreeMap;

use super::matcher::parse_field;
use super::problem::{Fault, Problems, Report, quote};
use super::schema;
use super::set::Source;
use super::yaml::{self, Entry, Kind, Node};
use crate::cgroup;
use crate::facts::{Facts, Field};

/// The facts of a process that is written in a file: the form of a test's `process:`, with or without that key.
///
/// # Errors
/// Everything wrong with the file.
pub fn process(source: &Source) -> Result<Facts, Problems> {
    let mut problems = Vec::new();
    let mut report = Report::new(&source.name, &mut problems);
    let facts = yaml::parse(&source.text, yaml::NO_RULES, &mut report)
        .and_then(|node| read(unwrapped(&node), &mut report));
    match facts {
        Some(facts) if problems.is_empty() => Ok(facts),
        _ => Err(Problems(problems)),
    }
}

/// What stands under `process:`, where that is the only key.
fn unwrapped(node: &Node) -> &Node {
    match &node.kind {
        Kind::Map(entries) if entries.len() == 1 && entries[0].key == "process" => &entries[0].value,
        _ => node,
    }
}

/// The facts of a process: what its control group proves, then what is written out.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Facts> {
    const KEY: &str = "process";
    let entries = schema::map(node, KEY, report)?;
    let mut written = Vec::new();
    let mut ancestors = Vec::new();
    for entry in entries {
        if entry.key == "ancestors" {
            let items = schema::list(&entry.value, "process.ancestors", report).unwrap_or_default();
            ancestors.extend(items.iter().map(|item| read_ancestor(item, report)));
            continue;
        }
        let field = report.check(entry.line, field_of_process(&entry.key).map_err(|fault| fault.key(KEY)));
        let text = schema::text_or_empty(&entry.value, &format!("process.{}", entry.key), report);
        written.extend(field.zip(text));
    }
    let mut facts = Facts::default();
    if let Some((_, text)) = written.iter().find(|(field, _)| *field == Field::Cgroup) {
        cgroup::derive(text, &mut facts);
    }
    for (field, text) in written {
        facts.set(field, text);
    }
    for ancestor in ancestors {
        facts.push_ancestor(ancestor);
    }
    Some(facts)
}

/// The fields a map expects by their names, as in `facts:` of a test; nothing written means absent.
pub(super) fn expected(entry: &Entry, report: &mut Report<'_>) -> Vec<(Field, String)> {
    let mut fields = Vec::new();
    for entry in schema::map(&entry.value, "facts", report).unwrap_or_default() {
        let field =
            report.check(entry.line, field_of_process(&entry.key).map_err(|fault| fault.key("facts")));
        let text = schema::text_or_empty(&entry.value, &format!("facts.{}", entry.key), report);
        fields.extend(field.zip(text.map(str::to_owned)));
    }
    fields
}

fn field_of_process(name: &str) -> Result<Field, Fault> {
    let field = parse_field(name)?;
    if field.is_of_ancestors() {
        let fault = Fault::new(format!("{name} belongs to the ancestors"));
        return Err(
            fault.help("write `ancestors: [{comm: …, exe: …, cmdline: …, env_NAME: …}]`, the nearest first")
        );
    }
    Ok(field)
}

fn read_ancestor(node: &Node, report: &mut Report<'_>) -> BTreeMap<Field, String> {
    const KEY: &str = "process.ancestors";
    let mut fields = BTreeMap::new();
    for entry in schema::map(node, KEY, report).unwrap_or_default() {
        let field = Field::parse(&format!("ancestor_{}", entry.key)).ok_or_else(|| {
            let fault = Fault::new(format!("unknown field {} of an ancestor", quote(&entry.key)));
            fault.key(KEY).help("known: comm, exe, cmdline, env_<NAME>")
        });
        let field = report.check(entry.line, field);
        let text = schema::text_or_empty(&entry.value, KEY, report);
        if let (Some(field), Some(text)) = (field, text.filter(|text| !text.is_empty())) {
            fields.insert(field, text.to_owned());
        }
    }
    fields
}
