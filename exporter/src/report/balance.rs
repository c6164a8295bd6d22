//! Budgets against a bill of a calendar month: what a team may cost, did cost, and when its budget is used up. Pure, but
//! for what the prices file says of the calendar.

use serde::Serialize;

use super::credits::decimal;
use super::lines::Line;
use super::period::{Period, date};
use super::rates::Rater;
use crate::money::{Micros, Month};

/// A team's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The team.
    pub team: String,
    /// The project, where the budget is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it may cost in the month.
    pub budget: String,
    /// What it did cost.
    pub cost: String,
    /// What is left; negative where it cost more.
    pub left: String,
    /// The day on which the budget is used up at this month's rate; `None` where it lasts for ever.
    pub used_up: Option<String>,
}

/// The balances of all teams and projects that have a budget in the month; none where the period is not a calendar month.
pub fn balances(rater: &Rater, period: Period, teams: &[Line], owners: &[Line]) -> Vec<Balance> {
    let Some(budgets) = rater.budgets() else { return vec![] };
    let first = rater.date(period.from);
    let month = rater.with_zone(|zone| Period::month(&first[..7], zone)).ok();
    let index = Month::parse(&first[..7]);
    let (true, Some(index)) = (month == Some(period), index) else { return vec![] };
    let mut balances = vec![];
    for team in budgets.teams() {
        let lines = teams.iter().filter(|line| line.get("team") == team.name);
        let of_team =
            budgets.of(&team.name, index).map(|budget| Account { team: &team.name, project: None, budget });
        balances.extend(of_team.map(|account| account.balance(cost(lines), period, rater)));
        for (project, _) in &team.projects {
            let lines =
                owners.iter().filter(|line| line.get("team") == team.name && line.get("project") == project);
            let Some(budget) = budgets.of_project(&team.name, project, index) else { continue };
            let account = Account { team: &team.name, project: Some(project), budget };
            balances.push(account.balance(cost(lines), period, rater));
        }
    }
    balances
}

/// What lines cost together, in millionths of the currency.
fn cost<'a>(lines: impl Iterator<Item = &'a Line>) -> i128 {
    lines.filter_map(|line| line.money).map(|money| money.cost.micros()).sum()
}

/// Who may spend how much.
struct Account<'a> {
    team: &'a str,
    project: Option<&'a str>,
    budget: Micros,
}

impl Account<'_> {
    fn balance(&self, cost: i128, period: Period, rater: &Rater) -> Balance {
        let budget = i128::from(self.budget.0);
        let lasts = (budget * i128::from(period.seconds()))
            .checked_div(cost)
            .and_then(|lasts| i64::try_from(lasts).ok());
        let used_up = lasts.filter(|lasts| *lasts < 100 * 366 * 86_400).map(|lasts| period.from + lasts);
        Balance {
            team: self.team.to_owned(),
            project: self.project.map(str::to_owned),
            budget: self.budget.to_string(),
            cost: decimal(cost),
            left: decimal(budget - cost),
            used_up: used_up.map(|at| rater.with_zone(|zone| date(at, zone))),
        }
    }
}
