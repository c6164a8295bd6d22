//! For who doubts a number: every hour of a team on every GPU, and one hour of one GPU from counters to money.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::collect::Collection;
use super::document::Document;
use super::extract::Step;
use super::lines::{Decimal, hours};
use super::rates::Rater;
use super::table::plain;
use super::tally::{ELECTRICITY, HARDWARE, Sums};
use super::traces::{Parts, Trace};

/// The hours of a team.
///
/// # Errors
/// Where the period does not have the team.
pub fn detail(team: &str, document: &Document, found: &Collection, rater: &Rater) -> Result<String, String> {
    let Some(line) = document.teams.iter().find(|line| line.get("team") == team) else {
        let teams: Vec<&str> = document.teams.iter().map(|line| line.get("team")).collect();
        return Err(format!(
            "--team: no team {team:?} in the period: there are {}",
            plain(&teams.join(", "))
        ));
    };
    let mut out = format!("{} from {} to {}\n", plain(team), document.period.from, document.period.to);
    let mut hours_of_it = found.tally.hours.iter().filter(|(_, sums)| **sums != Sums::default()).peekable();
    while let Some((place @ (hour, uuid, owner), sums)) = hours_of_it.next() {
        let others: Vec<String> =
            owner.0.iter().skip(1).map(|(name, value)| format!("{name}={value}")).collect();
        let _ = write!(
            out,
            "{}  {}  {}  active {} J  idle {} J  held {} h",
            rater.with_zone(|zone| super::period::with_zone(*hour, zone)),
            plain(uuid),
            plain(&others.join(" ")),
            Decimal::<3>(sums.active_mj),
            Decimal::<3>(sums.idle_mj),
            hours(Decimal(sums.held_us)),
        );
        if let Some(currency) = &document.currency {
            let (electricity, hardware) =
                (exact(sums.electricity, ELECTRICITY), exact(sums.hardware, HARDWARE));
            let _ = write!(out, "  electricity {electricity}  hardware {hardware} {}", plain(currency));
        }
        out.push('\n');
        out.push_str(&parts(found.traces.hours.get(place), sums));
        if hours_of_it.peek().is_none_or(|((next, ..), _)| next != hour) {
            out.push_str(&rules(found.traces.rules.get(hour)));
        }
    }
    let _ = write!(out, "total: {} J, held {} h", line.energy_joules, line.held_hours());
    if let (Some(money), Some(currency)) = (&line.money, &document.currency) {
        let _ = write!(
            out,
            "; electricity {} + hardware {} = {} {}, rounded once",
            money.electricity,
            money.hardware,
            money.cost,
            plain(currency)
        );
    }
    out.push('\n');
    out.push_str(RULES_PROVE);
    Ok(out)
}

/// What the counters of rules cannot say.
const RULES_PROVE: &str = "rules are counted by exporter, without GPU and team: they show which rules were at work on a node in an hour, and not \
     which one booked what stands above\n";

/// Workloads and processes of an hour, and what of it had no series of its own: together the hour's own number.
fn parts(trace: Option<&Trace>, sums: &Sums) -> String {
    let Some(Trace { workloads, processes }) = trace else {
        return "    no workload or process had a series of its own\n".into();
    };
    let mut out = String::new();
    for (name, energy, held) in &workloads.named {
        let (energy, held) = (Decimal::<3>(*energy), hours(Decimal(*held)));
        let _ = writeln!(out, "    workload {}  {energy} J  held {held} h", plain(name));
    }
    out.push_str(&rest("workloads", workloads, sums, Some(sums.held_us)));
    for (name, energy, _) in &processes.named {
        let _ = writeln!(out, "    process {}  {} J", plain(name), Decimal::<3>(*energy));
    }
    out.push_str(&rest("processes", processes, sums, None));
    out
}

/// What the named ones leave of the hour.
fn rest(what: &str, parts: &Parts, sums: &Sums, held_us: Option<u64>) -> String {
    let named = |of: fn(&(String, u64, u64)) -> u64| -> i128 {
        parts.named.iter().map(|part| i128::from(of(part))).sum()
    };
    let mut out = String::new();
    if parts.others > 0 {
        let energy = thousandths(i128::from(parts.energy_mj) - named(|part| part.1));
        let _ = writeln!(out, "    {} {what} more  {energy} J", parts.others);
    }
    let energy = i128::from(sums.energy_mj()) - i128::from(parts.energy_mj);
    let held = held_us.map(|held| i128::from(held) - i128::from(parts.held_us));
    if energy != 0 || held.is_some_and(|held| held != 0) {
        let held = held.map_or(String::new(), |held| format!("  held {} h", thousandths(held / 3_600_000)));
        let excess = if energy < 0 {
            ": more than the hour has, so a series of before the period was not seen in the hour before it"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "    {what} without a series of their own  {} J{held}{excess}",
            thousandths(energy)
        );
    }
    out
}

fn thousandths(number: i128) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", number.unsigned_abs() / 1000, number.unsigned_abs() % 1000)
}

/// Rules at work in an hour, by node.
fn rules(nodes: Option<&BTreeMap<String, Vec<(String, u64)>>>) -> String {
    let mut out = String::new();
    for (node, rules) in nodes.into_iter().flatten() {
        let rules = rules.iter().map(|(rule, energy)| format!("{rule} {} J", Decimal::<3>(*energy)));
        let rules = rules.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "  rules at work on {} in that hour, for all teams: {}",
            plain(node),
            plain(&rules)
        );
    }
    out
}

/// An hour of a GPU.
pub fn explain(document: &Document, steps: &[Step], rater: &Rater) -> String {
    let mut out = format!("from {} to {}\n", document.period.from, document.period.to);
    for step in steps {
        let (key, gain) = (&step.key, &step.gain);
        let decimal = |whole| key.quantity.decimal(whole);
        let owner = key.owner.iter().flat_map(|owner| &owner.0);
        let kind = key.kind.map(|kind| ("kind".to_owned(), kind.as_str().to_owned()));
        let labels: Vec<String> = owner
            .chain(kind.iter())
            .chain(&step.target.0)
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let _ = write!(
            out,
            "\n{}{{{}}}\n  was {}, is {}, fell {} times, gained {} in {} samples\n",
            key.quantity.metric(),
            plain(&labels.join(",")),
            decimal(gain.base),
            decimal(gain.last),
            gain.resets,
            decimal(gain.gain),
            gain.samples,
        );
        let rates = step.rates;
        let micros = Decimal::<6>;
        let currency = rater.currency().unwrap_or_default();
        match (step.sums.electricity, rates.electricity) {
            (0, _) | (_, None) => {}
            (cost, Some(price)) => {
                let (price, pue) = (micros(price), micros(rates.pue));
                let _ = writeln!(
                    out,
                    "  {} J / 3600000 × {pue} (building) × {price} {currency}/kWh = {} {currency}",
                    decimal(gain.gain),
                    exact(cost, ELECTRICITY)
                );
            }
        }
        if let (Some(rate), true) = (rates.hardware, step.sums.hardware > 0) {
            let _ = writeln!(
                out,
                "  {} s / 3600 × {} {currency}/h = {} {currency}",
                decimal(gain.gain),
                micros(rate),
                exact(step.sums.hardware, HARDWARE)
            );
        }
    }
    out + "\n" + &super::table::text(document)
}

/// An exact sum with six digits, the rest cut off.
fn exact(sum: u128, one: u128) -> Decimal<6> {
    Decimal(u64::try_from(sum / (one / 1_000_000)).unwrap_or(u64::MAX))
}
