//! Prices as rules: a rule per site or currency, a branch per step, a line per price within the week.

use jiff::Timestamp;

use super::super::calendar::Calendar;
use super::super::micros::Micros;
use super::super::prices::{Carbon, Hardware, Prices, Site};
use super::super::steps::{Steps, Window};
use super::super::tariff::{Band, Tariff};
use super::text::{Rule, any, during, indent, quote};

/// The rules of all sites and models.
pub fn rules(prices: &Prices) -> Vec<Rule> {
    let mut rules: Vec<Rule> = prices.sites().iter().flat_map(|site| site_rules(site, prices)).collect();
    rules.extend(hardware(prices));
    rules
}

fn site_rules(site: &Site, prices: &Prices) -> Vec<Rule> {
    let calendar = prices.calendar();
    let label = |name: &String| ("site", name.clone());
    let labels: Vec<(&'static str, String)> = site.name.iter().map(label).collect();
    let of = match &site.name {
        Some(name) => format!("The site {}", quote(name)),
        None => "Targets without a site".into(),
    };
    let rule = |what: &str, record, more: &[(&'static str, String)], expr: String| Rule {
        comment: format!("{of}: {what}."),
        record,
        labels: labels.iter().chain(more).cloned().collect(),
        expr,
    };
    let currency = [("currency", prices.currency().to_owned())];
    let mut rules = vec![
        rule(
            "the price of a kilowatt-hour",
            "site:electricity_price:per_kwh",
            &currency,
            branches(&site.electricity, calendar, tariff),
        ),
        rule(
            "drawn in all, by what its machines draw",
            "site:pue:ratio",
            &[],
            branches(&site.pue, calendar, constant),
        ),
    ];
    if site.carbon.first().is_some() {
        let grams = branches(&site.carbon, calendar, |carbon| constant(&carbon.grams_per_kwh));
        rules.push(rule(
            "grams of CO2 equivalent per kilowatt-hour",
            "site:carbon_intensity:grams_per_kwh",
            &[],
            grams,
        ));
    }
    for (labels, expr) in carbon_sources(&site.carbon, calendar) {
        rules.push(rule("who says so", "site:carbon_intensity:info", &labels, expr));
    }
    rules
}

/// A branch per step, each within its time.
fn branches<T>(steps: &Steps<Timestamp, T>, calendar: &Calendar, value: impl Fn(&T) -> String) -> String {
    let branches: Vec<String> =
        steps.windows().map(|(window, step)| branch(window, calendar, &value(step))).collect();
    any(&branches)
}

fn branch(window: Window<Timestamp>, calendar: &Calendar, value: &str) -> String {
    let when = format!("{}  # from {}", during(window, 1), calendar.date(window.from));
    match value.contains('\n') {
        true => format!("(\n{}\n) and {when}", indent(value)),
        false => format!("{value} and {when}"),
    }
}

fn constant(value: &Micros) -> String {
    format!("vector({value})")
}

fn tariff(tariff: &Tariff) -> String {
    let bands = tariff.bands().into_iter().flat_map(|(price, bands)| {
        bands.into_iter().map(move |band| format!("{}{}", constant(&price), filter(band)))
    });
    any(&bands.collect::<Vec<_>>())
}

/// Keeps what stands before it in the hours of a band; PromQL's week begins on Sunday.
fn filter(band: Band) -> String {
    let mut filter = String::new();
    if band.days != Band::EVERY_DAY {
        let days = u32::from(band.days << 1 & Band::EVERY_DAY | band.days >> 6);
        filter.push_str(&format!(" and {}", within("day_of_week", days, 7)));
    }
    if band.hours != Band::EVERY_HOUR {
        filter.push_str(&format!(" and {}", within("hour", band.hours, 24)));
    }
    filter
}

/// Gives something while the function of the local time is one of the numbers whose bits are set.
fn within(function: &str, bits: u32, end: u32) -> String {
    const LOCAL: &str = "(vector(time() - 1) + max(calendar:utc_offset:seconds))";
    let set = |bit: u32| bit < end && bits >> bit & 1 == 1;
    let firsts = (0..end).filter(|bit| set(*bit) && (*bit == 0 || !set(bit - 1)));
    let ranges = firsts.map(|first| {
        let past = (first..=end).find(|bit| !set(*bit)).unwrap_or(end);
        let from = if first == 0 { String::new() } else { format!(" >= {first}") };
        let until = if past == end { String::new() } else { format!(" < {past}") };
        format!("{function}{LOCAL}{from}{until}")
    });
    format!("({})", ranges.collect::<Vec<_>>().join(" or "))
}

/// A source and the year it is of.
type CarbonLabels = [(&'static str, String); 2];

/// The sources of the grid's carbon, each with when it holds.
fn carbon_sources(steps: &Steps<Timestamp, Carbon>, calendar: &Calendar) -> Vec<(CarbonLabels, String)> {
    let mut sources: Vec<(CarbonLabels, Vec<String>)> = Vec::new();
    for (window, carbon) in steps.windows() {
        let labels = [("source", carbon.source.clone()), ("year", carbon.year.clone())];
        let branch = branch(window, calendar, "vector(1)");
        match sources.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, branches)) => branches.push(branch),
            None => sources.push((labels, vec![branch])),
        }
    }
    sources.into_iter().map(|(labels, branches)| (labels, any(&branches))).collect()
}

/// One rule for all models: of the patterns that match and have a rate by then, `or` keeps the first.
fn hardware(prices: &Prices) -> Option<Rule> {
    let branches: Vec<String> =
        prices.hardware().iter().map(|hardware| model(hardware, prices.calendar())).collect();
    let comment = "An hour of a GPU, for the models that are there. The first pattern that matches wins.";
    (!branches.is_empty()).then(|| Rule {
        comment: comment.into(),
        record: "model:hardware_price:per_hour",
        labels: vec![("currency", prices.currency().to_owned())],
        expr: any(&branches),
    })
}

fn model(hardware: &Hardware, calendar: &Calendar) -> String {
    let pattern = quote(&hardware.model);
    let there = format!("last_over_time(wattribute_gpu_info{{model!=\"\",model=~{pattern}}}[2h])");
    let rates = branches(&hardware.rates, calendar, constant);
    format!("group by (model) ({there})\n* on () group_left () (\n{}\n)", indent(&rates))
}
