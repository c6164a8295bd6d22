//! Budgets as rules: one per team and per project, a branch per run of months with the same amount.

use jiff::Timestamp;

use super::super::budgets::{Budget, Budgets, Team};
use super::super::calendar::{Calendar, Month};
use super::super::micros::Micros;
use super::super::steps::Window;
use super::text::{Rule, any, during};

/// The rules of all teams, and the thresholds.
pub fn rules(budgets: &Budgets, calendar: &Calendar) -> Vec<Rule> {
    let mut rules = Vec::new();
    for team in budgets.teams() {
        rules.extend(team_rules(team, budgets, calendar));
    }
    rules.extend(budgets.thresholds().iter().map(|percent| threshold(*percent)));
    rules
}

fn threshold(percent: u16) -> Rule {
    Rule {
        comment: String::new(),
        record: "budget:threshold:ratio",
        labels: vec![("threshold", percent.to_string())],
        expr: format!("vector({})", Micros(u64::from(percent) * 10_000)),
    }
}

fn team_rules(team: &Team, budgets: &Budgets, calendar: &Calendar) -> Vec<Rule> {
    let currency = ("currency", budgets.currency().to_owned());
    let rule = |record, labels: Vec<(&'static str, String)>, budget: &Budget| {
        let expr = amounts(budget, calendar);
        (!expr.is_empty()).then(|| Rule { comment: String::new(), record, labels, expr })
    };
    let team_label = ("team", team.name.clone());
    let own = rule("team:budget:month", vec![team_label.clone(), currency.clone()], &team.budget);
    let projects = team.projects.iter().filter_map(|(project, budget)| {
        let project = ("project", project.clone());
        rule("team_project:budget:month", vec![team_label.clone(), project, currency.clone()], budget)
    });
    own.into_iter().chain(projects).collect()
}

/// A branch for each run of months; months without an amount have none.
fn amounts(budget: &Budget, calendar: &Calendar) -> String {
    let changes = budget.changes();
    let ends = changes.iter().skip(1).map(|month| Some(*month)).chain([None]);
    let runs = changes.iter().zip(ends).filter_map(|(from, until)| {
        let window = Window { from: calendar.start(*from), until: until.map(|until| calendar.start(until)) };
        Some(format!("vector({}) and {}", budget.of(*from)?, when(window, (*from, until))))
    });
    any(&runs.collect::<Vec<_>>())
}

/// A minute late, as the calendar's month.
fn when(window: Window<Timestamp>, (from, until): (Month, Option<Month>)) -> String {
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    format!("{}  # from {from}{until}", during(window, 60))
}
