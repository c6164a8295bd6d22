//! What the recording rules made of the same hours, beside the bill: people see those numbers first, on dashboards. The
//! rules take `increase()` of whole hours, which extrapolates, so they are close to the bill and never it. Called by
//! `command`, which asks, and [`super::reconcile`], which shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::answer::Series;
use super::period::Period;
use super::round::nearest;
use super::server::{Server, Window};
use super::tally::{ELECTRICITY, HARDWARE, Sums, Tally};
use crate::cli::Tolerance;
use crate::money::Micros;

/// How many hours are asked for at once.
const PIECE_HOURS: i64 = 31 * 24;
const HOUR: i64 = 3600;
/// Why equal numbers are not to be expected.
pub const REASON: &str = "rules extrapolate by increase() to the edges of each hour, miss what a counter gains between the last \
     scrape of an hour and the first of the next, and are behind by the exposition delay";

/// A number that the rules record and a bill has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// In millijoules.
    EnergyJoules,
    /// In microseconds.
    HeldSeconds,
    /// In millionths of the currency.
    Cost,
}

impl Figure {
    const ALL: [Self; 3] = [Self::EnergyJoules, Self::HeldSeconds, Self::Cost];

    /// The series with the sums of closed hours.
    fn metric(self) -> &'static str {
        match self {
            Self::EnergyJoules => "team:energy_joules:closed_hour",
            Self::HeldSeconds => "team_project_model_site:held_seconds:closed_hour",
            Self::Cost => "team:cost:closed_hour",
        }
    }

    /// As the JSON format has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnergyJoules => "energy_joules",
            Self::HeldSeconds => "held_seconds",
            Self::Cost => "cost",
        }
    }

    fn digits(self) -> u32 {
        if self == Self::EnergyJoules { 3 } else { 6 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "bounded before")]
    fn whole(self, value: f64) -> Option<i128> {
        let units = (value * 10_f64.powi(self.digits().cast_signed())).round();
        (units.is_finite() && units.abs() < 1e18).then_some(units as i128)
    }

    fn decimal(self, whole: i128) -> String {
        let one = 10_u128.pow(self.digits());
        let (sign, size) = (if whole < 0 { "-" } else { "" }, whole.unsigned_abs());
        format!("{sign}{}.{:0width$}", size / one, size % one, width = self.digits() as usize)
    }

    fn of(self, sums: &Sums) -> i128 {
        match self {
            Self::EnergyJoules => sums.energy_mj().into(),
            Self::HeldSeconds => sums.held_us.into(),
            Self::Cost => {
                let electricity = nearest(sums.electricity, ELECTRICITY / 1_000_000);
                i128::from(electricity) + i128::from(nearest(sums.hardware, HARDWARE / 1_000_000))
            }
        }
    }
}

/// What the rules recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recording {
    /// It was not asked for.
    #[default]
    Off,
    /// The period is not of whole hours of UTC, of which the rules are.
    BrokenHours,
    /// Nothing.
    Absent,
    /// By figure and team.
    Found {
        /// How many hours have something.
        hours: u64,
        /// Sums of the period, in the figure's smallest unit.
        sums: Vec<(Figure, String, i128)>,
    },
}

/// Asks for the recorded hours of a period. A question takes in at most a month, and its answer has a number for each team
/// and hour.
///
/// # Errors
/// Why there is no whole answer.
pub async fn recording(
    server: &mut Server,
    period: Period,
    matchers: &str,
    currency: Option<&str>,
) -> Result<Recording, String> {
    if period.from % HOUR != 0 || period.to % HOUR != 0 {
        return Ok(Recording::BrokenHours);
    }
    let mut hours: BTreeSet<i64> = BTreeSet::new();
    let mut sums: BTreeMap<(Figure, String), i128> = BTreeMap::new();
    for figure in Figure::ALL {
        let mut from = period.from;
        while from < period.to {
            let until = (from + PIECE_HOURS * HOUR).min(period.to);
            let window = Window { after: from * 1000, until: until * 1000 };
            for series in server.closed_hours(figure.metric(), matchers, window).await? {
                let is_ours =
                    figure != Figure::Cost || series.labels.get("currency").map(String::as_str) == currency;
                if is_ours {
                    let team = series.labels.get("team").cloned().unwrap_or_default();
                    *sums.entry((figure, team)).or_default() += sum(figure, &series)?;
                    hours.extend(series.samples.iter().map(|(time, _)| *time));
                }
            }
            from = until;
        }
    }
    if sums.is_empty() {
        return Ok(Recording::Absent);
    }
    let sums = sums.into_iter().map(|((figure, team), sum)| (figure, team, sum)).collect();
    Ok(Recording::Found { hours: u64::try_from(hours.len()).unwrap_or(u64::MAX), sums })
}

fn sum(figure: Figure, series: &Series) -> Result<i128, String> {
    let whole = |value: f64| {
        figure
            .whole(value)
            .ok_or_else(|| format!("{} has the value {value}: see --rules-tolerance=off", figure.metric()))
    };
    series.samples.iter().map(|(_, value)| whole(*value)).sum()
}

/// The rules against the bill.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// `compared`, or why not.
    pub state: &'static str,
    /// How far they may be apart, in percent.
    pub tolerance_percent: Option<String>,
    /// Hours that the rules recorded.
    pub recorded_hours: u64,
    /// Hours of the period.
    pub expected_hours: u64,
    /// Figures that the rules did not record.
    pub not_recorded: Vec<Figure>,
    /// Sums over all teams.
    pub totals: Vec<Compared>,
    /// By team.
    pub teams: Vec<Compared>,
}

/// A figure by the rules and here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The team; `None` for the sum over all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Which.
    pub figure: Figure,
    /// By the rules.
    pub recorded: String,
    /// Here, before money is rounded.
    pub report: String,
    /// Recorded less here.
    pub difference: String,
    /// The same by what is here; `None` where that is 0.
    pub difference_percent: Option<String>,
    /// Whether they are as close as they may be.
    pub is_within_tolerance: bool,
}

/// Compares.
pub fn compare(recording: &Recording, tally: &Tally, period: Period, tolerance: Tolerance) -> Comparison {
    let mut comparison = Comparison {
        state: match recording {
            Recording::Off => "not asked for",
            Recording::BrokenHours => "not compared: rules have whole hours of UTC, and the period has not",
            Recording::Absent => "no recorded series: not compared",
            Recording::Found { .. } => "compared",
        },
        tolerance_percent: None,
        recorded_hours: 0,
        expected_hours: period.seconds().unsigned_abs() / 3600,
        not_recorded: vec![],
        totals: vec![],
        teams: vec![],
    };
    let (Recording::Found { hours, sums }, Tolerance::Percent(percent)) = (recording, tolerance) else {
        return comparison;
    };
    comparison.recorded_hours = *hours;
    comparison.tolerance_percent = Some(percent.to_string());
    let mut here: BTreeMap<&str, Sums> = BTreeMap::new();
    for (cell, sums) in &tally.cells {
        *here.entry(cell.owner.team()).or_default() += *sums;
    }
    for figure in Figure::ALL {
        let recorded =
            sums.iter().filter(|(of, ..)| *of == figure).map(|(_, team, sum)| (team.as_str(), *sum));
        let recorded: BTreeMap<&str, i128> = recorded.collect();
        if recorded.is_empty() {
            comparison.not_recorded.push(figure);
            continue;
        }
        let teams: BTreeSet<&str> = here.keys().chain(recorded.keys()).copied().collect();
        let (mut all_recorded, mut all_here) = (0, 0);
        for team in teams {
            let recorded = recorded.get(team).copied().unwrap_or_default();
            let here = here.get(team).map_or(0, |sums| figure.of(sums));
            (all_recorded, all_here) = (all_recorded + recorded, all_here + here);
            comparison.teams.push(compared(Some(team), figure, (recorded, here), percent));
        }
        comparison.totals.push(compared(None, figure, (all_recorded, all_here), percent));
    }
    comparison
}

fn compared(
    team: Option<&str>,
    figure: Figure,
    (recorded, here): (i128, i128),
    tolerance: Micros,
) -> Compared {
    let difference = recorded - here;
    // In millionths of a percent; a unit more or less is no difference.
    let is_within =
        difference.abs() <= 1 || difference.abs() * 100_000_000 <= here.abs() * i128::from(tolerance.0);
    let percent = (difference * 100_000).checked_div(here);
    Compared {
        team: team.map(str::to_owned),
        figure,
        recorded: figure.decimal(recorded),
        report: figure.decimal(here),
        difference: figure.decimal(difference),
        difference_percent: percent.map(|thousandths| Figure::EnergyJoules.decimal(thousandths)),
        is_within_tolerance: is_within,
    }
}

impl Comparison {
    /// What is further apart than it may be, a sentence each.
    pub fn differences(&self) -> impl Iterator<Item = String> {
        let tolerance = self.tolerance_percent.as_deref().unwrap_or_default();
        let beyond = self.teams.iter().filter(|compared| !compared.is_within_tolerance);
        beyond.map(move |Compared { team, figure, recorded, report, .. }| {
            format!(
                "team {}: {} by the recording rules is {recorded}, by the report {report}: more than {tolerance} % apart",
                team.as_deref().unwrap_or_default(),
                figure.as_str(),
            )
        })
    }
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
