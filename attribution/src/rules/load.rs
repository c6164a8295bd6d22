//! Rules files to a [`RuleSet`]: all sections of all files, all errors at once. Reads no file itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::matcher::Matcher;
use super::place::Place;
use super::problem::{Fault, Problem, Problems, Report, quote};
use super::rule::Rule;
use super::rule_reader::{self, Context};
use super::screen::Screen;
use super::set::{RuleSet, Source};
use super::table::{self, Table};
use super::test::{self, Known};
use super::yaml::{self, Entry, Node};
use super::{schema, settings, trust};

const SECTIONS: &[&str] =
    &["labels", "idle_policy", "idle_watts", "limits", "declared", "ignore", "tables", "rules", "tests"];

type ReadTable<'a> = dyn FnMut(&str, &str) -> Result<String, String> + 'a;

/// See [`RuleSet::load`].
pub(super) fn load(sources: &[Source], read_table: &mut ReadTable<'_>) -> Result<RuleSet, Problems> {
    let mut problems = Vec::new();
    let files = sources.iter().filter_map(|source| File::parse(source, &mut problems)).collect();
    let set = Loader { files, problems: &mut problems }.load(read_table);
    if problems.is_empty() {
        return Ok(set);
    }
    let place = |problem: &Problem| sources.iter().position(|source| source.name == problem.file);
    problems.sort_by_cached_key(|problem| (place(problem).unwrap_or(sources.len()), problem.line));
    Err(Problems(problems))
}

/// A file that is a map.
struct File<'s> {
    name: &'s str,
    entries: Vec<Entry>,
}

impl<'s> File<'s> {
    fn parse(source: &'s Source, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut report = Report::new(&source.name, problems);
        let root = yaml::parse(&source.text, yaml::NO_RULES, &mut report)?;
        match root.kind {
            yaml::Kind::Map(entries) => {
                schema::check_keys(&entries, SECTIONS, &mut report);
                Some(Self { name: &source.name, entries })
            }
            _ => {
                let fault = Fault::new(format!("expected a map of sections, found {}", root.describe()));
                report.add(root.line, fault.help("rules stand in a list under `rules:`"));
                None
            }
        }
    }
}

struct Loader<'s, 'p> {
    files: Vec<File<'s>>,
    problems: &'p mut Vec<Problem>,
}

impl Loader<'_, '_> {
    fn load(mut self, read_table: &mut ReadTable<'_>) -> RuleSet {
        let default = RuleSet::default();
        let labels = self.single("labels", settings::labels).unwrap_or(default.labels);
        let tables = self.tables(&labels, read_table);
        let by_name = tables.iter().map(|(name, _, table)| (name.clone(), Arc::clone(table))).collect();
        let context = Context { tables: by_name, labels };
        let idle_policy = self.single("idle_policy", settings::idle_policy).unwrap_or_default();
        let idle_watts = self.single("idle_watts", settings::idle_watts).unwrap_or_default();
        let owner_limit = self.single("limits", settings::owner_limit).unwrap_or(default.owner_limit);
        let trust = self.single("declared", trust::read);
        let ignore = self.each("ignore", read_ignore).into_iter().flatten().collect();
        let (rules, names) = self.rules(&context);
        let known = Known { labels: &context.labels, rules: &names };
        let tests = self.items("tests", |item, report| {
            test::read(item.1, &known, &mut report.within(schema::subject("test", item)))
        });
        let labels = context.labels;
        let wanted_env = BTreeSet::new();
        let screen = Screen::of(&rules);
        let files = self.files.iter().map(|file| file.name.into()).collect();
        let set = RuleSet {
            files,
            labels,
            idle_policy,
            idle_watts,
            owner_limit,
            trust,
            ignore,
            tables,
            rules,
            screen,
            tests,
            wanted_env,
        };
        set.with_wanted_env()
    }

    /// A section of every file that has it.
    fn each<T>(
        &mut self,
        section: &str,
        mut read: impl FnMut(&Node, &mut Report<'_>) -> Option<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for file in &self.files {
            let entry = schema::get(&file.entries, section);
            all.extend(
                entry.and_then(|entry| read(&entry.value, &mut Report::new(file.name, self.problems))),
            );
        }
        all
    }

    /// A section that stands in at most one of the files.
    fn single<T>(&mut self, section: &str, read: fn(&Node, &mut Report<'_>) -> Option<T>) -> Option<T> {
        let mut places = Vec::new();
        for file in &self.files {
            let Some(entry) = schema::get(&file.entries, section) else { continue };
            if let Some((first, line)) = places.first() {
                let fault = Fault::new(format!("{section} stands already in {first}:{line}"));
                Report::new(file.name, self.problems)
                    .add(entry.line, fault.help("keep it in one of the files"));
            }
            places.push((file.name, entry.line));
        }
        self.each(section, read).into_iter().next()
    }

    /// The items of a list of every file that has it.
    fn items<T>(
        &mut self,
        section: &str,
        mut read: impl FnMut((usize, &Node), &mut Report<'_>) -> Option<T>,
    ) -> Vec<T> {
        let lists = self.each(section, |node, report| {
            let items = schema::list(node, section, report)?;
            Some(items.iter().enumerate().filter_map(|item| read(item, report)).collect::<Vec<T>>())
        });
        lists.into_iter().flatten().collect()
    }

    fn rules(&mut self, context: &Context) -> (Vec<Rule>, BTreeSet<String>) {
        let mut names = Names::default();
        let rules = self.items("rules", |item, report| {
            let mut report = report.within(schema::subject("rule", item));
            if let yaml::Kind::Map(entries) = &item.1.kind {
                let name = schema::get(entries, "name").map(|entry| (&entry.value.kind, entry.line));
                if let Some((yaml::Kind::Text(name), line)) = name {
                    names.add(name, line, &mut report);
                }
            }
            rule_reader::read(item.1, context, &mut report)
        });
        (rules, names.0.into_keys().collect())
    }

    fn tables(
        &mut self,
        labels: &[Arc<str>],
        read_table: &mut ReadTable<'_>,
    ) -> Vec<(String, Place, Arc<Table>)> {
        let mut names = Names::default();
        let tables = self.each("tables", |node, report| {
            let mut tables = Vec::new();
            for entry in schema::map(node, "tables", report)? {
                let mut report = report.within(format!("table {}", quote(&entry.key)));
                names.add(&entry.key, entry.line, &mut report);
                let source = report.file();
                let mut read = |file: &str| read_table(source, file);
                let table = table::read(entry, labels, &mut read, &mut report);
                let place = Place { file: source.into(), line: entry.line };
                tables.push((entry.key.clone(), place, Arc::new(table)));
            }
            Some(tables)
        });
        tables.into_iter().flatten().collect()
    }
}

/// The matchers of `ignore`, and where each stands.
fn read_ignore(node: &Node, report: &mut Report<'_>) -> Option<Vec<(Place, Matcher)>> {
    let file: Arc<str> = report.file().into();
    let matchers = schema::matchers(node, "ignore", report)?;
    let place = |line| Place { file: Arc::clone(&file), line };
    Some(matchers.into_iter().map(|(line, matcher)| (place(line), matcher)).collect())
}

/// Names that must be unique over all files, and where each was first.
#[derive(Default)]
struct Names(BTreeMap<String, (String, usize)>);

impl Names {
    fn add(&mut self, name: &str, line: usize, report: &mut Report<'_>) {
        match self.0.get(name) {
            Some((file, first)) => {
                report.add(line, Fault::new(format!("the name stands already in {file}:{first}")));
            }
            None => {
                self.0.insert(name.to_owned(), (report.file().to_owned(), line));
            }
        }
    }
}
