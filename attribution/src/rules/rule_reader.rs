//! YAML to a rule: its matchers, its owner or look-up, and every error in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::matcher::Matcher;
use super::place::Place;
use super::problem::{Fault, Report, quote};
use super::rule::{Action, Origin, Rule};
use super::schema;
use super::table::{self, Table};
use super::template::{self, Template};
use super::verdict::check_value;
use super::yaml::{Entry, Node};
use crate::facts::Field;
use crate::owner::TEAM;

/// What the files say outside the rules that a rule refers to.
pub(super) struct Context {
    pub labels: Vec<Arc<str>>,
    pub tables: BTreeMap<String, Arc<Table>>,
}

/// Reads a rule and reports all its errors.
pub(super) fn read(node: &Node, context: &Context, report: &mut Report<'_>) -> Option<Rule> {
    let entries = schema::map(node, "", report)?;
    schema::check_keys(entries, &["name", "match", "owner", "lookup"], report);
    let name = schema::name(node, entries, report);
    let matchers = read_matchers(node, entries, report);
    let place = Place { file: report.file().into(), line: node.line };
    let (lines, matchers): (Vec<usize>, Option<Vec<Matcher>>) = match matchers {
        Some(matchers) => {
            let (lines, matchers) = matchers.into_iter().unzip();
            (lines, Some(matchers))
        }
        None => (Vec::new(), None),
    };
    let action = Reader { context, matchers: matchers.as_deref(), report }.action(node, entries);
    Some(Rule::new(name?, matchers?, action?, Origin { place, lines }))
}

fn read_matchers(node: &Node, entries: &[Entry], report: &mut Report<'_>) -> Option<Vec<(usize, Matcher)>> {
    let matchers = match schema::get(entries, "match") {
        Some(entry) => schema::matchers(&entry.value, "match", report)?,
        None => Vec::new(),
    };
    if matchers.is_empty() && schema::get(entries, "lookup").is_none() {
        let help = r#"a rule for every process says so: match: ['comm=~".*"']"#;
        report.add(node.line, Fault::new("no matcher").key("match").help(help));
    }
    check_captures(&matchers, report);
    Some(matchers)
}

fn check_captures(matchers: &[(usize, Matcher)], report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (line, matcher) in matchers {
        for (_, name) in matcher.captures() {
            let fault = if matcher.is_negative() {
                Fault::new(format!("capture {} under a negative operator", quote(name)))
                    .help("it matches nothing to capture: write (?:…)")
            } else if Field::parse(name).is_some() {
                Fault::new(format!("capture {} has a field's name", quote(name))).help("give it another name")
            } else if seen.contains(&name) {
                Fault::new(format!("capture {} comes twice in this rule", quote(name)))
                    .help("give one of them another name")
            } else {
                seen.push(name);
                continue;
            };
            report.add(*line, fault.key("match"));
        }
    }
}

/// Reads what a rule does. Without its matchers, of which one has an error, captures are unknown, and names in
/// templates are not looked up: no error follows from another.
struct Reader<'c, 'r, 'f> {
    context: &'c Context,
    matchers: Option<&'c [Matcher]>,
    report: &'r mut Report<'f>,
}

impl Reader<'_, '_, '_> {
    fn action(&mut self, node: &Node, entries: &[Entry]) -> Option<Action> {
        match (schema::get(entries, "owner"), schema::get(entries, "lookup")) {
            (Some(owner), None) => self.owner(owner),
            (None, Some(lookup)) => self.lookup(lookup),
            (Some(_), Some(lookup)) => {
                let fault = Fault::new("both owner and lookup");
                self.report.add(lookup.line, fault.help("keep one, or make two rules of it"));
                None
            }
            (None, None) => {
                let fault = Fault::new("neither owner nor lookup");
                self.report.add(node.line, fault.help("add `owner: {team: …}`"));
                None
            }
        }
    }

    fn owner(&mut self, entry: &Entry) -> Option<Action> {
        let entries = schema::map(&entry.value, "owner", self.report)?;
        if schema::get(entries, TEAM).is_none() {
            self.report.add(entry.line, Fault::new("team is missing").key("owner").help("add `team: …`"));
        }
        let mut owner = Vec::new();
        for entry in entries {
            let key = format!("owner.{}", entry.key);
            let label = table::label(&entry.key, &self.context.labels).map_err(|fault| fault.key("owner"));
            let label = self.report.check(entry.line, label);
            let Some((label, template)) = label.zip(self.template(&entry.value, &key)) else { continue };
            let checked = check_template(&label, &template, self.matchers.unwrap_or_default());
            self.report.check(entry.value.line, checked.map_err(|fault| fault.key(key)));
            owner.push((label, template));
        }
        Some(Action::Owner(owner))
    }

    fn lookup(&mut self, entry: &Entry) -> Option<Action> {
        let entries = schema::map(&entry.value, "lookup", self.report)?;
        schema::check_keys(entries, &["table", "key"], self.report);
        for key in ["table", "key"].into_iter().filter(|key| schema::get(entries, key).is_none()) {
            self.report.add(entry.line, Fault::new(format!("{key} is missing")).key("lookup"));
        }
        let table = schema::get(entries, "table").and_then(|entry| self.table(&entry.value));
        let key = schema::get(entries, "key").and_then(|entry| self.template(&entry.value, "lookup.key"));
        Some(Action::Lookup { table: table?, key: key? })
    }

    fn table(&mut self, node: &Node) -> Option<Arc<Table>> {
        const KEY: &str = "lookup.table";
        let name = schema::text(node, KEY, self.report)?;
        let tables = &self.context.tables;
        let unknown = || Fault::unknown("table", name, tables.keys().map(String::as_str)).key(KEY);
        self.report.check(node.line, tables.get(name).cloned().ok_or_else(unknown))
    }

    fn template(&mut self, node: &Node, key: &str) -> Option<Template> {
        let text = schema::text(node, key, self.report)?;
        let pieces = self.report.check(node.line, template::split(text).map_err(|fault| fault.key(key)))?;
        match Template::resolve(pieces, self.matchers?) {
            Ok(template) => Some(template),
            Err(faults) => {
                for fault in faults {
                    self.report.add(node.line, fault.key(key));
                }
                None
            }
        }
    }
}

fn check_template(label: &str, template: &Template, matchers: &[Matcher]) -> Result<(), Fault> {
    if let Some(value) = template.literal() {
        return check_value(label, value);
    }
    // A command line has parts worth a capture; an identifier has none that is not the identifier again.
    let captured = template.captured(matchers).filter(|field| **field != Field::Cmdline);
    match template.fields().chain(captured).find(|field| field.is_unbounded()) {
        Some(field) => Err(Fault::new(format!("{field} has no bound and may not become an owner label"))
            .help("jobs, pods and containers are workloads, which have series of their own")),
        None => Ok(()),
    }
}
