//! The report as a document: what every format shows, and what the JSON format is, word for word. The schema is described
//! in `docs/report.md`; amounts are decimals in strings, so that no reader makes floats of them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::amount::{Amount, Minor};
use super::balance::{Balance, balances};
use super::collect::{Collection, Plan};
use super::credits::{Before, Credits, credits};
use super::lines::{Decimal, Joules, Line, Lines, Pricing, lines};
use super::period::{rfc3339, with_zone};
use super::rates::Rater;
use super::reconcile::{Expected, Reconciliation, reconcile};
use super::round;
use super::tally::{ELECTRICITY, HARDWARE, Sums};
use crate::cli::Tolerance;

/// A report.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The version of this format.
    pub schema: &'static str,
    /// What wrote it.
    pub software: String,
    /// The time that is billed.
    pub period: Time,
    /// Where the numbers come from.
    pub source: Source,
    /// What money is in; `None` without prices.
    pub currency: Option<String>,
    /// Everything.
    pub total: Line,
    /// By team.
    pub teams: Vec<Line>,
    /// By all labels of owners.
    pub owners: Vec<Line>,
    /// By GPU model.
    pub models: Vec<Line>,
    /// By node.
    pub nodes: Vec<Line>,
    /// By site.
    pub sites: Vec<Line>,
    /// By owner, site, node and model.
    pub lines: Vec<Line>,
    /// By day and team.
    pub days: Vec<Day>,
    /// Budgets, where they were given and the period is a calendar month.
    pub balances: Vec<Balance>,
    /// What was paid beforehand; `None` without budgets.
    pub credits: Option<Credits>,
    /// Whether it is complete.
    pub reconciliation: Reconciliation,
}

/// A period, half-open.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    /// The first moment.
    pub from: String,
    /// The first that no longer belongs to it.
    pub to: String,
    /// Both in UTC, for formats that know no other.
    #[serde(skip)]
    pub from_utc: String,
    #[serde(skip)]
    pub to_utc: String,
    /// The zone that days and prices are of.
    pub time_zone: String,
    /// How long it is.
    pub hours: Decimal<3>,
}

/// Where the numbers come from.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// The server.
    pub server: String,
    /// Which series alone.
    pub matchers: String,
    /// How much later values are shown.
    pub exposition_delay_seconds: Decimal<3>,
    /// How many samples were read.
    pub samples: u64,
}

/// A team on a day. For charts: the money of each is rounded by itself.
#[derive(Clone, Debug, Serialize)]
pub struct Day {
    /// The calendar day.
    pub date: String,
    /// The team.
    pub team: String,
    /// Its energy.
    pub energy_joules: Joules,
    /// Its cost; `None` without prices.
    pub cost: Option<Amount>,
}

/// What is beside the numbers.
pub struct Circumstances<'a> {
    /// What was read.
    pub plan: &'a Plan,
    /// The prices.
    pub rater: &'a Rater,
    /// The server's URL.
    pub server: &'a str,
    /// Which series alone.
    pub matchers: &'a str,
    /// Which label names a node.
    pub node_label: &'a str,
    /// The GPUs that there should be, if that is known.
    pub inventory: Option<&'a BTreeSet<String>>,
    /// How far the recording rules may be from it.
    pub tolerance: Tolerance,
    /// What the reports before say.
    pub before: Option<&'a Before>,
}

/// Makes the document.
///
/// # Errors
/// Where the reports before make no sense.
pub fn document(found: &Collection, given: &Circumstances<'_>) -> Result<Document, String> {
    let Circumstances { plan, rater, .. } = given;
    let pricing = rater.currency().map_or(Pricing::Unpriced, |currency| Pricing::Priced(Minor::of(currency)));
    let model = |uuid: &str| found.devices.get(uuid).map_or("", |device| device.model.as_str());
    let Lines { total, teams, owners, details, models, nodes, sites } =
        lines(&found.tally.cells, model, given.node_label, pricing);
    let expected = Expected {
        period: plan.period,
        node_label: given.node_label,
        inventory: given.inventory,
        pricing,
        tolerance: given.tolerance,
    };
    let mut reconciliation = reconcile(found, &expected);
    reconciliation.differences.extend(given.before.and_then(|before| before.difference(plan.period)));
    Ok(Document {
        schema: "wattribute-report/1",
        software: concat!("wattribute ", env!("CARGO_PKG_VERSION")).into(),
        period: rater.with_zone(|zone| Time {
            from: with_zone(plan.period.from, zone),
            to: with_zone(plan.period.to, zone),
            from_utc: rfc3339(plan.period.from),
            to_utc: rfc3339(plan.period.to),
            time_zone: rater.zone_name().to_owned(),
            hours: Decimal(plan.period.seconds().unsigned_abs() * 1000 / 3600),
        }),
        source: Source {
            server: given.server.to_owned(),
            matchers: given.matchers.to_owned(),
            exposition_delay_seconds: Decimal(plan.delay_ms.unsigned_abs()),
            samples: found.samples,
        },
        currency: rater.currency().map(str::to_owned),
        total,
        models,
        nodes,
        sites,
        balances: balances(rater, plan.period, &teams, &owners),
        credits: credits(rater, plan.period, &teams, given.before)?,
        owners,
        teams,
        lines: details,
        days: days(found, pricing),
        reconciliation,
    })
}

fn days(found: &Collection, pricing: Pricing) -> Vec<Day> {
    let cost = |sums: &Sums| {
        let Pricing::Priced(minor) = pricing else { return None };
        let one = u128::from(minor.per_one());
        let electricity = round::nearest(sums.electricity, ELECTRICITY / one);
        Some(Amount { units: electricity + round::nearest(sums.hardware, HARDWARE / one), minor })
    };
    let days = found.tally.days.iter().map(|((date, team), sums)| Day {
        date: date.clone(),
        team: team.clone(),
        energy_joules: Decimal(sums.energy_mj()),
        cost: cost(sums),
    });
    days.collect()
}
