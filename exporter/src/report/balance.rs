//! Budgets against a bill of a calendar month: what a team may cost, did cost, and when its budget is used up. Pure, but
//! for what the prices file says of the calendar.

use serde::Serialize;

use super::lines::{Line, Money};
use super::period::{Period, date};
use super::rates::Rater;
use crate::money::{Micros, Month};

/// A team's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The team.
    pub team: String,
    /// What it may cost in the month.
    pub budget: String,
    /// What it did cost.
    pub cost: String,
    /// What is left; negative where it cost more.
    pub left: String,
    /// The day on which the budget is used up at this month's rate; `None` where it lasts for ever.
    pub used_up: Option<String>,
}

/// The balances of all teams that have a budget in the month; none where the period is not a calendar month.
pub fn balances(rater: &Rater, period: Period, teams: &[Line]) -> Vec<Balance> {
    let Some(budgets) = rater.budgets() else { return vec![] };
    let first = rater.date(period.from);
    let month = rater.with_zone(|zone| Period::month(&first[..7], zone)).ok();
    let index = Month::parse(&first[..7]);
    let (true, Some(index)) = (month == Some(period), index) else { return vec![] };
    let of_team =
        |name: &str| teams.iter().find(|line| line.get("team") == name).and_then(|line| line.money.as_ref());
    let with_budget =
        budgets.teams().iter().filter_map(|team| Some((&team.name, budgets.of(&team.name, index)?)));
    with_budget.map(|(name, budget)| balance((name, budget), of_team(name), period, rater)).collect()
}

fn balance((team, budget): (&str, Micros), money: Option<&Money>, period: Period, rater: &Rater) -> Balance {
    let cents = money.map_or(0, |money| money.cost.0);
    let left = i128::from(budget.0) - i128::from(cents) * 10_000;
    let seconds = u128::from(budget.0) * u128::from(period.seconds().unsigned_abs());
    let lasts =
        seconds.checked_div(u128::from(cents) * 10_000).and_then(|seconds| i64::try_from(seconds).ok());
    let used_up = lasts.filter(|seconds| *seconds < 100 * 366 * 86_400).map(|seconds| period.from + seconds);
    Balance {
        team: team.to_owned(),
        budget: budget.to_string(),
        cost: Micros(cents * 10_000).to_string(),
        left: format!(
            "{}{}",
            if left < 0 { "-" } else { "" },
            Micros(u64::try_from(left.abs()).unwrap_or(u64::MAX))
        ),
        used_up: used_up.map(|at| rater.with_zone(|zone| date(at, zone))),
    }
}
