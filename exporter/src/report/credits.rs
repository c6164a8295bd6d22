//! What teams paid beforehand, less what they used: a balance that goes on from one report to the next. It begins with the
//! last balance of the report before, so that nobody has to read the data of old periods again. Pure, but for
//! [`Before::read`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lines::Line;
use super::manifest;
use super::period::{Period, date, rfc3339};
use super::rates::Rater;
use crate::money::Micros;

const REPORT: &str = "report.json";
/// Further ahead nobody is told of a day, in seconds.
const FORESEEN: i128 = 100 * 366 * 86_400;

/// All balances, of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credits {
    /// Credits that begin before this moment are in it.
    pub until: String,
    /// By team.
    pub teams: Vec<Account>,
}

/// A team's balance. Amounts are decimals of the currency, with a minus where they are below 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The team.
    pub team: String,
    /// The last balance of the report before; of a first report, what was paid before the period.
    pub opening: String,
    /// What was paid since; less than nothing where the file has less than it had.
    pub added: String,
    /// What the report that this one corrects had taken.
    pub returned: String,
    /// What the team costs in this period.
    pub consumed: String,
    /// What is left.
    pub closing: String,
    /// The day on which nothing is left, or was, at this period's rate; `None` where it lasts for ever.
    pub used_up: Option<String>,
    /// All that was ever paid, by now.
    pub granted: String,
}

/// What reports before this one say.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The first moment that is no longer in the report before.
    to: String,
    /// Its balances; `None` where it has none.
    credits: Option<Credits>,
    /// What each team had consumed in the report that is corrected; `None` where none is.
    amended: Option<BTreeMap<String, i128>>,
}

/// The part of a report that is read again.
#[derive(Deserialize)]
struct Written {
    currency: Option<String>,
    credits: Option<Credits>,
}

impl Before {
    /// Out of the folders of the report before and of the one that is corrected; `None` where there is neither.
    ///
    /// # Errors
    /// Where a report was changed, or is in another currency.
    pub fn read(
        previous: Option<&Path>,
        amends: Option<&Path>,
        currency: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let Some(folder) = previous.or(amends) else { return Ok(None) };
        let (to, credits) = read(folder, currency)?;
        let amended = match amends {
            Some(folder) => {
                let accounts = read(folder, currency)?.1.map_or(vec![], |credits| credits.teams);
                let consumed = |account: Account| Ok((account.team, micros(&account.consumed)?));
                Some(accounts.into_iter().map(consumed).collect::<Result<_, String>>()?)
            }
            None => None,
        };
        Ok(Some(Self { to, credits, amended }))
    }

    /// Whether balances would be lost without a file of budgets.
    pub fn has_credits(&self) -> bool {
        self.credits.as_ref().is_some_and(|credits| !credits.teams.is_empty())
    }

    /// Why balances lack something.
    pub fn difference(&self, period: Period) -> Option<String> {
        let from = rfc3339(period.from);
        (self.has_credits() && self.amended.is_none() && self.to != from).then(|| {
            format!("the report before ends at {}, this one begins at {from}: what was used between is in no balance of credits", self.to)
        })
    }
}

fn read(folder: &Path, currency: Option<&str>) -> Result<(String, Option<Credits>), String> {
    let (manifest, _) = manifest::read(folder)?;
    let path = folder.join(REPORT);
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let bytes = fs::read(&path).map_err(|error| say(&error))?;
    if manifest.files.get(REPORT) != Some(&manifest::sha256(&bytes)) {
        return Err(say(&"it was changed since it was written: see wattribute verify"));
    }
    let written: Written = serde_json::from_slice(&bytes).map_err(|error| say(&error))?;
    if written.credits.is_some() && written.currency.as_deref() != currency {
        return Err(say(&"its balances are in another currency"));
    }
    let [_, to] = manifest.period;
    Ok((to, written.credits))
}

/// The balances after this period; `None` without budgets.
///
/// # Errors
/// Where the reports before make no sense.
pub fn credits(
    rater: &Rater,
    period: Period,
    teams: &[Line],
    before: Option<&Before>,
) -> Result<Option<Credits>, String> {
    let Some(budgets) = rater.budgets() else { return Ok(None) };
    let last = before.and_then(|before| before.credits.as_ref());
    let until =
        last.and_then(|last| last.until.parse::<Timestamp>().ok()).map_or(i64::MIN, Timestamp::as_second);
    let until = until.max(period.to);
    let with_credits = budgets.teams().iter().map(|team| team.name.as_str());
    let with_credits = with_credits.filter(|team| !budgets.credits(team).is_empty());
    let names: BTreeSet<&str> =
        with_credits.chain(last.iter().flat_map(|last| &last.teams).map(|one| one.team.as_str())).collect();
    let accounts = names.into_iter().map(|team| {
        let granted = rater.granted(team, until);
        let earlier = last.and_then(|last| last.teams.iter().find(|one| one.team == team));
        let (opening, granted_before) = match (earlier, before) {
            (Some(earlier), _) => (micros(&earlier.closing)?, micros(&earlier.granted)?),
            (None, Some(_)) => (0, 0),
            (None, None) => {
                let opening = rater.granted(team, period.from + 1);
                (opening, opening)
            }
        };
        let returned = before.and_then(|before| before.amended.as_ref()?.get(team).copied()).unwrap_or(0);
        let money = teams.iter().find(|line| line.get("team") == team).and_then(|line| line.money);
        let flow = Flow {
            team,
            granted,
            until,
            opening,
            added: granted - granted_before,
            returned,
            consumed: money.map_or(0, |money| money.cost.micros()),
        };
        Ok(flow.account(period, rater))
    });
    Ok(Some(Credits { until: rfc3339(until), teams: accounts.collect::<Result<_, String>>()? }))
}

/// What came and went, in millionths of the currency.
struct Flow<'a> {
    team: &'a str,
    granted: i128,
    until: i64,
    opening: i128,
    added: i128,
    returned: i128,
    consumed: i128,
}

impl Flow<'_> {
    fn account(&self, period: Period, rater: &Rater) -> Account {
        let available = self.opening + self.added + self.returned;
        let closing = available - self.consumed;
        // From the beginning of the period, if that was its end; else from where the balance stands.
        let (from, there) = if closing > 0 { (self.until, closing) } else { (period.from, available.max(0)) };
        let lasts = (there * i128::from(period.seconds())).checked_div(self.consumed);
        let lasts = lasts.filter(|lasts| *lasts < FORESEEN && (closing > 0 || self.until == period.to));
        let used_up = lasts.and_then(|lasts| i64::try_from(lasts).ok()).map(|lasts| from + lasts);
        Account {
            team: self.team.to_owned(),
            opening: decimal(self.opening),
            added: decimal(self.added),
            returned: decimal(self.returned),
            consumed: decimal(self.consumed),
            closing: decimal(closing),
            used_up: used_up.map(|at| rater.with_zone(|zone| date(at, zone))),
            granted: decimal(self.granted),
        }
    }
}

/// Millionths as a decimal.
pub fn decimal(micros: i128) -> String {
    let size = Micros(u64::try_from(micros.unsigned_abs()).unwrap_or(u64::MAX));
    format!("{}{size}", if micros < 0 { "-" } else { "" })
}

fn micros(text: &str) -> Result<i128, String> {
    let (sign, size) = text.strip_prefix('-').map_or((1, text), |size| (-1, size));
    let size = Micros::parse(size).ok_or_else(|| format!("--previous: its balance {text:?} is no amount"))?;
    Ok(sign * i128::from(size.0))
}

#[cfg(test)]
#[path = "credits_tests.rs"]
mod tests;
