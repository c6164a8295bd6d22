//! For who doubts a number: every hour of a team on every GPU, and one hour of one GPU from counters to money.

use std::fmt::Write;

use super::collect::Collection;
use super::document::Document;
use super::extract::Step;
use super::lines::{Decimal, hours};
use super::rates::Rater;
use super::table::plain;
use super::tally::{ELECTRICITY, HARDWARE, Sums};

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
    let hours_of_it = found.tally.hours.iter().filter(|(_, sums)| **sums != Sums::default());
    for ((hour, uuid, owner), sums) in hours_of_it {
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
    Ok(out)
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
