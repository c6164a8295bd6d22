//! What teams may spend: `rules/budgets.yaml`.

use std::collections::BTreeMap;

use jiff::civil::Date;
use wattribute::rules::Problems;
use wattribute::yaml::{self, Entry, Fault, Report, quote};

use super::calendar::Month;
use super::micros::Micros;
use super::reader::{Form, currency, date, decimal, file, label_value, month, required, scalar, steps};
use super::steps::Steps;

/// What no amount is written as, in a step that ends a budget.
const NONE: &str = "none";
const AMOUNTS: [&str; 2] = ["monthly", "months"];

/// The budgets of all teams, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    currency: String,
    thresholds: Vec<u16>,
    teams: Vec<Team>,
}

/// What a team has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// The value of the label `team`.
    pub name: String,
    /// By month; empty if it has credits or budgets of projects alone.
    pub budget: Budget,
    /// Of its projects, by the label `project`, in the order of the file.
    pub projects: Vec<(String, Budget)>,
    /// What it paid beforehand.
    pub credits: Vec<Credit>,
}

/// Amounts by month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// From a month on; `None` ends it.
    monthly: Steps<Month, Option<Micros>>,
    /// In single months, which go first.
    months: BTreeMap<Month, Micros>,
}

/// An amount paid beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The day from which it can be spent.
    pub from: Date,
    /// How much, in the currency.
    pub amount: Micros,
    /// What people wrote of it; empty if nothing.
    pub note: String,
}

impl Budget {
    /// The amount of a month; `None`: it has none.
    pub fn of(&self, month: Month) -> Option<Micros> {
        self.months.get(&month).copied().or_else(|| self.monthly.at(month).copied().flatten())
    }

    /// The months in which the amount may change, in rising order.
    pub fn changes(&self) -> Vec<Month> {
        let steps = self.monthly.windows().map(|(window, _)| window.from);
        let single = self.months.keys().flat_map(|month| [*month, month.next()]);
        let mut changes: Vec<Month> = steps.chain(single).collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }
}

impl Budgets {
    /// Reads a file of budgets.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn read(name: &str, text: &str) -> Result<Self, Problems> {
        file(name, text, "teams: {}", read)
    }

    /// What all amounts are in.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Percentages of a budget at which people want to know, in rising order.
    pub fn thresholds(&self) -> &[u16] {
        &self.thresholds
    }

    /// All teams, in the order of the file.
    pub fn teams(&self) -> &[Team] {
        &self.teams
    }

    /// The budget of a team in a month; `None`: it has none.
    pub fn of(&self, team: &str, month: Month) -> Option<Micros> {
        self.team(team)?.budget.of(month)
    }

    /// The budget of a project in a month; `None`: it has none.
    pub fn of_project(&self, team: &str, project: &str, month: Month) -> Option<Micros> {
        let projects = &self.team(team)?.projects;
        projects.iter().find(|(name, _)| name == project)?.1.of(month)
    }

    /// What a team paid beforehand; empty if nothing.
    pub fn credits(&self, team: &str) -> &[Credit] {
        self.team(team).map_or(&[], |team| &team.credits)
    }

    fn team(&self, name: &str) -> Option<&Team> {
        self.teams.iter().find(|team| team.name == name)
    }
}

fn read(entries: &[Entry], report: &mut Report<'_>) -> Option<Budgets> {
    yaml::check_keys(entries, &["currency", "thresholds", "teams"], report);
    let currency = required(entries, "currency", 1, report)
        .and_then(|entry| scalar(&entry.value, "currency", report, currency));
    let thresholds = yaml::get(entries, "thresholds").map(|entry| read_thresholds(entry, report));
    let teams = required(entries, "teams", 1, report)
        .and_then(|entry| yaml::map(&entry.value, "teams", report))
        .unwrap_or_default();
    let teams: Vec<Option<Team>> = teams
        .iter()
        .map(|entry| read_team(entry, &mut report.within(format!("team {}", quote(&entry.key)))))
        .collect();
    let thresholds = thresholds.unwrap_or_else(|| Some(vec![50, 80, 100]));
    let teams = teams.into_iter().flatten().collect();
    Some(Budgets { currency: currency?, thresholds: thresholds?, teams })
}

fn read_thresholds(entry: &Entry, report: &mut Report<'_>) -> Option<Vec<u16>> {
    const KEY: &str = "thresholds";
    let percent = |text: &str| {
        let percent = text.parse().ok().filter(|percent| (1..=1000).contains(percent));
        let fault = || Fault::new(format!("{} is no percentage", quote(text)));
        percent.ok_or_else(|| fault().help("a whole number from 1 to 1000"))
    };
    let nodes = yaml::list(&entry.value, KEY, report)?;
    let read: Vec<Option<u16>> = nodes.iter().map(|node| scalar(node, KEY, report, percent)).collect();
    let thresholds = read.into_iter().collect::<Option<Vec<u16>>>()?;
    if !thresholds.is_sorted_by(|one, next| one < next) {
        report.add(entry.line, Fault::new("they do not rise").key(KEY).help("the lowest stands first"));
    }
    Some(thresholds)
}

fn read_team(entry: &Entry, report: &mut Report<'_>) -> Option<Team> {
    report.check(entry.line, label_value(&entry.key));
    let entries = yaml::map(&entry.value, "", report)?;
    yaml::check_keys(entries, &["monthly", "months", "projects", "credits"], report);
    if entries.is_empty() {
        report.add(entry.line, Fault::new("it has nothing").help("add `monthly: […]`, or drop the team"));
    }
    let budget = read_budget(entries, report);
    let projects = yaml::get(entries, "projects");
    let projects = projects.and_then(|entry| yaml::map(&entry.value, "projects", report));
    let mut read_projects = Vec::new();
    for project in projects.unwrap_or_default() {
        let subject = format!("team {}: project {}", quote(&entry.key), quote(&project.key));
        read_projects.extend(read_project(project, &mut report.within(subject)));
    }
    let credits = yaml::get(entries, "credits").and_then(|entry| read_credits(entry, report));
    let credits = credits.unwrap_or_default();
    Some(Team { name: entry.key.clone(), budget, projects: read_projects, credits })
}

fn read_project(entry: &Entry, report: &mut Report<'_>) -> Option<(String, Budget)> {
    report.check(entry.line, label_value(&entry.key));
    let entries = yaml::map(&entry.value, "", report)?;
    yaml::check_keys(entries, &AMOUNTS, report);
    if entries.is_empty() {
        report.add(entry.line, Fault::new("it has nothing").help("add `monthly: […]`, or drop the project"));
    }
    Some((entry.key.clone(), read_budget(entries, report)))
}

fn read_budget(entries: &[Entry], report: &mut Report<'_>) -> Budget {
    let amount = |text: &str| if text == NONE { Ok(None) } else { decimal(text).map(Some) };
    let monthly = yaml::get(entries, "monthly").and_then(|entry| {
        let read = |(node, entries): (&_, &[Entry]), report: &mut Report<'_>| {
            let node: &yaml::Node = node;
            let entry = required(entries, "amount", node.line, report)?;
            scalar(&entry.value, "monthly.amount", report, amount)
        };
        steps(entry, &Form { keys: &["from", "amount"], from: month }, read, report)
    });
    let mut months = BTreeMap::new();
    let single = yaml::get(entries, "months").and_then(|entry| yaml::map(&entry.value, "months", report));
    for entry in single.unwrap_or_default() {
        let month = report.check(entry.line, month(&entry.key).map_err(|fault| fault.key("months")));
        let amount = scalar(&entry.value, &format!("months.{}", entry.key), report, decimal);
        months.extend(month.zip(amount));
    }
    Budget { monthly: monthly.unwrap_or_default(), months }
}

fn read_credits(entry: &Entry, report: &mut Report<'_>) -> Option<Vec<Credit>> {
    let mut credits = Vec::new();
    for item in yaml::list(&entry.value, "credits", report)? {
        let Some(entries) = yaml::map(item, "credits", report) else { continue };
        yaml::check_keys(entries, &["from", "amount", "note"], report);
        let from = required(entries, "from", item.line, report)
            .and_then(|entry| scalar(&entry.value, "credits.from", report, date));
        let amount = required(entries, "amount", item.line, report)
            .and_then(|entry| scalar(&entry.value, "credits.amount", report, decimal));
        let note = yaml::get(entries, "note").and_then(|entry| yaml::text(&entry.value, "note", report));
        let note = note.unwrap_or_default().to_owned();
        credits.extend(from.zip(amount).map(|(from, amount)| Credit { from, amount, note }));
    }
    Some(credits)
}
