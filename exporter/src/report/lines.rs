//! The lines of a bill: exact sums by what they are summed by, each with money rounded so that lines add up to teams,
//! and teams to the total. Pure.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::amount::{Amount, Minor};
use super::round::{nearest, parts};
use super::tally::{CARBON, Cell, ELECTRICITY, HARDWARE, Sums};

/// Names and values of what a line is for, in the order they are shown.
pub type Labels = Vec<(String, String)>;

/// Thousandths or millionths, as a decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal<const DIGITS: u32>(pub u64);

impl<const DIGITS: u32> std::fmt::Display for Decimal<DIGITS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = 10_u64.pow(DIGITS);
        write!(f, "{}.{:0width$}", self.0 / one, self.0 % one, width = DIGITS as usize)
    }
}

impl<const DIGITS: u32> Serialize for Decimal<DIGITS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Joules out of millijoules.
pub type Joules = Decimal<3>;
/// Seconds out of microseconds.
pub type Seconds = Decimal<6>;

/// The money of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Energy × building × tariff.
    pub electricity: Amount,
    /// The part of it that is for idleness, rounded by itself.
    pub idle_electricity: Amount,
    /// Time held × rate.
    pub hardware: Amount,
    /// Electricity and hardware.
    pub cost: Amount,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is for.
    #[serde(serialize_with = "as_map")]
    pub labels: Labels,
    /// Active and idle.
    pub energy_joules: Joules,
    /// In which the GPU worked.
    pub active_joules: Joules,
    /// In which it did not.
    pub idle_joules: Joules,
    /// The part of the energy that an estimate divided.
    pub estimated_joules: Joules,
    /// Time held.
    pub held_seconds: Seconds,
    /// Time busy.
    pub busy_seconds: Seconds,
    /// `None` without prices.
    #[serde(flatten)]
    pub money: Option<Money>,
    /// `None` where some of the energy has no carbon factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carbon_kilograms: Option<Decimal<3>>,
}

impl Line {
    /// A label's value; empty where there is none.
    pub fn get(&self, label: &str) -> &str {
        self.labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value)
    }

    /// The share of the energy that is idle, from 0 to 1; `None` without energy.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    pub fn idle_share(&self) -> Option<f64> {
        (self.energy_joules.0 > 0).then(|| self.idle_joules.0 as f64 / self.energy_joules.0 as f64)
    }

    /// Hours held, in thousandths.
    pub fn held_hours(&self) -> Decimal<3> {
        hours(self.held_seconds)
    }

    /// Hours busy, in thousandths.
    pub fn busy_hours(&self) -> Decimal<3> {
        hours(self.busy_seconds)
    }
}

/// Hours in thousandths, rounded.
pub fn hours(seconds: Seconds) -> Decimal<3> {
    Decimal((seconds.0 + 1_800_000) / 3_600_000)
}

fn as_map<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(name, value)| (name, value)))
}

/// Whether there are prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// Lines have money, in this unit.
    Priced(Minor),
    /// Lines have none.
    Unpriced,
}

impl Pricing {
    /// How many of the unit that money is rounded to are one of the currency.
    pub fn per_one(self) -> u64 {
        match self {
            Self::Priced(minor) => minor.per_one(),
            Self::Unpriced => 1,
        }
    }
}

/// All lines of a bill.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Everything.
    pub total: Line,
    /// By team; they add up to the total.
    pub teams: Vec<Line>,
    /// By all labels of owners; those of a team add up to it.
    pub owners: Vec<Line>,
    /// By owner, site, node and model; those of an owner add up to it.
    pub details: Vec<Line>,
    /// By model, by node, by site; each adds up to the total.
    pub models: Vec<Line>,
    pub nodes: Vec<Line>,
    pub sites: Vec<Line>,
}

/// Rounded amounts of [`Money`] and carbon that are handed down from a sum to its parts.
#[derive(Clone, Copy)]
struct Whole {
    electricity: u64,
    hardware: u64,
    carbon: u64,
}

impl Whole {
    fn of(sums: &Sums, pricing: Pricing) -> Self {
        let one = u128::from(pricing.per_one());
        Self {
            electricity: nearest(sums.electricity, ELECTRICITY / one),
            hardware: nearest(sums.hardware, HARDWARE / one),
            carbon: nearest(sums.carbon, CARBON),
        }
    }

    fn divide(self, among: &[Sums], pricing: Pricing) -> Vec<Self> {
        let one = u128::from(pricing.per_one());
        let by = |exact: fn(&Sums) -> u128, unit, whole| {
            parts(&among.iter().map(exact).collect::<Vec<_>>(), unit, whole)
        };
        let electricity = by(|sums| sums.electricity, ELECTRICITY / one, self.electricity);
        let hardware = by(|sums| sums.hardware, HARDWARE / one, self.hardware);
        let carbon = by(|sums| sums.carbon, CARBON, self.carbon);
        (0..among.len())
            .map(|index| Self {
                electricity: electricity[index],
                hardware: hardware[index],
                carbon: carbon[index],
            })
            .collect()
    }

    fn line(self, labels: Labels, sums: &Sums, pricing: Pricing) -> Line {
        let money = match pricing {
            Pricing::Unpriced => None,
            Pricing::Priced(minor) => {
                let amount = |units| Amount { units, minor };
                let idle = nearest(sums.idle_electricity, ELECTRICITY / u128::from(minor.per_one()));
                Some(Money {
                    electricity: amount(self.electricity),
                    idle_electricity: amount(idle.min(self.electricity)),
                    hardware: amount(self.hardware),
                    cost: amount(self.electricity + self.hardware),
                })
            }
        };
        Line {
            labels,
            energy_joules: Decimal(sums.energy_mj()),
            active_joules: Decimal(sums.active_mj),
            idle_joules: Decimal(sums.idle_mj),
            estimated_joules: Decimal(sums.estimated_mj),
            held_seconds: Decimal(sums.held_us),
            busy_seconds: Decimal(sums.busy_us),
            money,
            carbon_kilograms: (sums.unmetered_mj == 0).then_some(Decimal(self.carbon)),
        }
    }
}

/// The lines of these cells. `model` says what a GPU is, `node` which label of a target names its node.
pub fn lines<'a>(
    cells: &BTreeMap<Cell, Sums>,
    model: impl Fn(&str) -> &'a str,
    node: &str,
    pricing: Pricing,
) -> Lines {
    let total: Sums = cells.values().copied().sum();
    let whole = Whole::of(&total, pricing);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let by = |parent: &dyn Fn(&Cell) -> Labels, key: &dyn Fn(&Cell) -> Labels| {
        let mut groups: Groups = BTreeMap::new();
        for (cell, sums) in cells {
            *groups.entry(parent(cell)).or_default().entry(key(cell)).or_default() += *sums;
        }
        groups
    };
    let all = |_: &Cell| vec![];
    let top = [(whole.line(vec![], &total, pricing), whole)];
    let strip = |lines: Vec<(Line, Whole)>| lines.into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    let side = |key: &dyn Fn(&Cell) -> Labels| strip(below(&top, &by(&all, key), pricing));
    let place = |cell: &Cell| {
        let target = &cell.target;
        vec![
            pair("site", target.get("site")),
            pair("node", target.get(node)),
            pair("model", model(&cell.uuid)),
        ]
    };
    let team = |cell: &Cell| vec![pair("team", cell.owner.team())];
    let owner = |cell: &Cell| cell.owner.0.clone();
    let teams = below(&top, &by(&all, &team), pricing);
    let owners = below(&teams, &by(&team, &owner), pricing);
    let details = by(&owner, &|cell| [owner(cell), place(cell)].concat());
    let details = below(&owners, &details, pricing);
    Lines {
        total: whole.line(vec![], &total, pricing),
        models: side(&|cell| vec![pair("model", model(&cell.uuid))]),
        nodes: side(&|cell| vec![pair("node", cell.target.get(node))]),
        sites: side(&|cell| vec![pair("site", cell.target.get("site"))]),
        teams: strip(teams),
        owners: strip(owners),
        details: strip(details),
    }
}

/// Sums by the labels of the line above, and then by those of the line.
type Groups = BTreeMap<Labels, BTreeMap<Labels, Sums>>;

/// The parts of each line above.
fn below(above: &[(Line, Whole)], groups: &Groups, pricing: Pricing) -> Vec<(Line, Whole)> {
    let mut lines = Vec::new();
    for (parent, whole) in above {
        let Some(group) = groups.get(&parent.labels) else { continue };
        let sums: Vec<Sums> = group.values().copied().collect();
        for ((labels, sums), whole) in group.iter().zip(whole.divide(&sums, pricing)) {
            lines.push((whole.line(labels.clone(), sums, pricing), whole));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::quantity::{Owner, Target};
    use std::sync::Arc;

    fn cell(owner: &[(&str, &str)], uuid: &str, node: &str) -> Cell {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        Cell {
            owner: Arc::new(Owner(own(owner))),
            uuid: uuid.into(),
            target: Arc::new(Target(own(&[("instance", node)]))),
        }
    }

    /// A third of a cent.
    const THIRD: u128 = ELECTRICITY / 300;

    fn cells() -> BTreeMap<Cell, Sums> {
        let sums = Sums { electricity: THIRD, active_mj: 1, ..Sums::default() };
        BTreeMap::from([
            (cell(&[("team", "a")], "1", "n"), sums),
            (cell(&[("team", "a"), ("project", "p")], "1", "n"), sums),
            (cell(&[("team", "a"), ("project", "p")], "2", "m"), sums),
            (cell(&[("team", "b"), ("project", "p")], "2", "m"), sums),
            (cell(&[("team", "b"), ("project", "q")], "2", "m"), Sums { electricity: 10 * THIRD, ..sums }),
        ])
    }

    fn costs(lines: &[Line]) -> Vec<u64> {
        lines.iter().map(|line| line.money.unwrap().cost.units).collect()
    }

    #[test]
    fn lines_add_up_to_owners_to_teams_to_the_total() {
        let lines = lines(&cells(), |_| "H100", "instance", Pricing::Priced(Minor::of("EUR")));
        assert_eq!(lines.total.money.unwrap().cost.units, 5); // 14 thirds
        assert_eq!(costs(&lines.teams), [1, 4]);
        assert_eq!(costs(&lines.owners), [0, 1, 1, 3]);
        assert_eq!(costs(&lines.details), [0, 1, 0, 1, 3]);
        for side in [&lines.models, &lines.nodes, &lines.sites] {
            assert_eq!(costs(side).iter().sum::<u64>(), 5);
        }
    }

    #[test]
    fn money_is_rounded_to_the_unit_of_its_currency() {
        // 14 thirds of a cent: 0.04667.
        let cost = |currency| {
            lines(&cells(), |_| "", "instance", Pricing::Priced(Minor::of(currency)))
                .total
                .money
                .unwrap()
                .cost
        };
        assert_eq!(["EUR", "JPY", "KWD"].map(|currency| cost(currency).to_string()), ["0.05", "0", "0.047"]);
    }

    #[test]
    fn without_prices_lines_have_no_money() {
        let lines = lines(&cells(), |_| "", "instance", Pricing::Unpriced);
        assert_eq!((lines.total.money, lines.total.energy_joules), (None, Decimal(5)));
        assert!(!serde_json::to_string(&lines.total).unwrap().contains("cost"));
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!([Decimal::<3>(5).to_string(), Decimal::<6>(1_000_001).to_string()], ["0.005", "1.000001"]);
    }
}
