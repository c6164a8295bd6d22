//! What electricity, hardware and carbon cost, where and when: `rules/prices.yaml`.

use jiff::Timestamp;
use jiff::civil::Date;
use wattribute::rules::Problems;
use wattribute::yaml::{self, Entry, Fault, Node, Pattern, Report, quote};

use super::calendar::Calendar;
use super::micros::Micros;
use super::reader::{Form, currency, date, decimal, file, label_value, required, scalar, steps};
use super::steps::Steps;
use super::tariff::Tariff;
use super::{render, tariff_reader};

/// The site of targets that have no label `site`.
const DEFAULT: &str = "default";

/// All prices, by site or GPU model, and from when each holds.
#[derive(Clone, Debug)]
pub struct Prices {
    currency: String,
    calendar: Calendar,
    sites: Vec<Site>,
    hardware: Vec<Hardware>,
}

/// What a site pays for electricity, and what comes with it.
#[derive(Clone, Debug)]
pub struct Site {
    /// The value of the target label `site`; `None` is the site of targets without one.
    pub name: Option<String>,
    /// Per kilowatt-hour.
    pub electricity: Steps<Timestamp, Tariff>,
    /// What the site draws in all, by what its machines draw; 1 or more. There is one whenever there is a price.
    pub pue: Steps<Timestamp, Micros>,
    /// Of the grid; empty if not given.
    pub carbon: Steps<Timestamp, Carbon>,
}

/// How much carbon dioxide a kilowatt-hour stands for, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carbon {
    /// Grams of CO2 equivalent per kilowatt-hour.
    pub grams_per_kwh: Micros,
    /// Who published the figure.
    pub source: String,
    /// The year it is of.
    pub year: String,
}

/// What GPUs of some models cost.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The pattern as written.
    pub model: String,
    /// The same, anchored.
    pub pattern: Pattern,
    /// Per hour that a GPU is held.
    pub rates: Steps<Timestamp, Micros>,
}

impl Prices {
    /// Reads a file of prices.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn read(name: &str, text: &str) -> Result<Self, Problems> {
        file(name, text, "sites: {}", |entries, report| Reader { entries }.prices(report))
    }

    /// What all prices are in.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// The time zone that days, hours and months are of.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// When the oldest price begins; `None` if there is none.
    pub fn first(&self) -> Option<Timestamp> {
        let sites = self.sites.iter().filter_map(|site| site.electricity.first());
        sites.chain(self.hardware.iter().filter_map(|hardware| hardware.rates.first())).min()
    }

    /// All sites, in the order of the file.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All models, in the order of the file.
    pub fn hardware(&self) -> &[Hardware] {
        &self.hardware
    }

    /// The price of a kilowatt-hour; `None`: this site has none then.
    pub fn electricity_at(&self, site: Option<&str>, time: Timestamp) -> Option<Micros> {
        let tariff = self.site(site)?.electricity.at(time)?;
        Some(tariff.at(self.calendar.week_hour(time)))
    }

    /// What a site draws in all by what its machines draw; `None`: not given.
    pub fn pue_at(&self, site: Option<&str>, time: Timestamp) -> Option<Micros> {
        self.site(site)?.pue.at(time).copied()
    }

    /// The grid's carbon; `None`: not given.
    pub fn carbon_at(&self, site: Option<&str>, time: Timestamp) -> Option<&Carbon> {
        self.site(site)?.carbon.at(time)
    }

    /// The price of an hour of a GPU: of the first pattern that matches its model and has a rate by then, so that a
    /// pattern that is put before others takes nothing from the past. `None`: there is none.
    pub fn hardware_at(&self, model: &str, time: Timestamp) -> Option<Micros> {
        let matching = self.hardware.iter().filter(|hardware| hardware.pattern.is_match(model));
        matching.filter_map(|hardware| hardware.rates.at(time)).next().copied()
    }

    fn site(&self, name: Option<&str>) -> Option<&Site> {
        self.sites.iter().find(|site| site.name.as_deref() == name)
    }
}

struct Reader<'n> {
    entries: &'n [Entry],
}

impl Reader<'_> {
    fn prices(&self, report: &mut Report<'_>) -> Option<Prices> {
        let entries = self.entries;
        yaml::check_keys(entries, &["currency", "time_zone", "sites", "hardware"], report);
        let currency = required(entries, "currency", 1, report)
            .and_then(|entry| scalar(&entry.value, "currency", report, currency));
        let calendar = required(entries, "time_zone", 1, report)
            .and_then(|entry| scalar(&entry.value, "time_zone", report, zone));
        // Days are of the time zone. Without it the rest is read all the same, for its own errors.
        let utc = Calendar::new("UTC");
        let days = calendar.as_ref().or(utc.as_ref())?;
        let sites = required(entries, "sites", 1, report).map(|entry| read_sites(&entry.value, days, report));
        let hardware = yaml::get(entries, "hardware");
        let hardware = hardware.map(|entry| read_hardware(&entry.value, days, report)).unwrap_or_default();
        Some(Prices { currency: currency?, calendar: calendar.clone()?, sites: sites?, hardware })
    }
}

fn zone(text: &str) -> Result<Calendar, Fault> {
    Calendar::new(text).ok_or_else(|| {
        let names = Calendar::names();
        let fault = Fault::unknown("time zone", text, names.iter().map(String::as_str));
        fault.or_help("a name of the tz database, like Europe/Berlin or UTC")
    })
}

fn read_sites(node: &Node, days: &Calendar, report: &mut Report<'_>) -> Vec<Site> {
    let entries = yaml::map(node, "sites", report).unwrap_or_default();
    let mut sites = Vec::new();
    for entry in entries {
        let mut report = report.within(format!("site {}", quote(&entry.key)));
        report.check(entry.line, label_value(&entry.key));
        sites.extend(read_site(entry, days, &mut report));
    }
    sites
}

fn read_site(entry: &Entry, days: &Calendar, report: &mut Report<'_>) -> Option<Site> {
    let entries = yaml::map(&entry.value, "", report)?;
    yaml::check_keys(entries, &["electricity", "pue", "carbon"], report);
    let from = |text: &str| date(text).map(|date: Date| days.midnight(date));
    let electricity = required(entries, "electricity", entry.line, report).and_then(|entry| {
        steps(entry, &Form { keys: &["from", "per_kwh", "bands"], from }, tariff_reader::read, report)
    });
    let pue = required(entries, "pue", entry.line, report)
        .and_then(|entry| steps(entry, &Form { keys: &["from", "ratio"], from }, read_pue, report));
    let carbon = yaml::get(entries, "carbon");
    let carbon_keys = ["from", "grams_per_kwh", "source", "year"];
    let carbon = carbon.map(|entry| steps(entry, &Form { keys: &carbon_keys, from }, read_carbon, report));
    let (electricity, pue) = (electricity?, pue?);
    if pue.first() > electricity.first() && pue.first().is_some() {
        let fault = Fault::new("the first PUE is later than the first price").key("pue");
        report.add(entry.line, fault.help("let it begin on the same day; a ratio of 1 adds nothing"));
    }
    let name = (entry.key != DEFAULT).then(|| entry.key.clone());
    Some(Site { name, electricity, pue, carbon: carbon.flatten().unwrap_or_default() })
}

fn read_pue((node, entries): (&Node, &[Entry]), report: &mut Report<'_>) -> Option<Micros> {
    let entry = required(entries, "ratio", node.line, report)?;
    scalar(&entry.value, "pue.ratio", report, |text| match decimal(text)? {
        ratio if ratio < Micros::ONE => {
            let fault = Fault::new(format!("{} is below 1", quote(text)));
            Err(fault.help("a site draws at least what its machines draw"))
        }
        ratio => Ok(ratio),
    })
}

fn read_carbon((node, entries): (&Node, &[Entry]), report: &mut Report<'_>) -> Option<Carbon> {
    let grams = required(entries, "grams_per_kwh", node.line, report)
        .and_then(|entry| scalar(&entry.value, "carbon.grams_per_kwh", report, decimal));
    let source = required(entries, "source", node.line, report)
        .and_then(|entry| scalar(&entry.value, "carbon.source", report, label_value));
    let year = required(entries, "year", node.line, report)
        .and_then(|entry| scalar(&entry.value, "carbon.year", report, read_year));
    Some(Carbon { grams_per_kwh: grams?, source: source?, year: year? })
}

fn read_year(text: &str) -> Result<String, Fault> {
    if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no year", quote(text))).help("four digits, like 2025"))
}

fn read_hardware(node: &Node, days: &Calendar, report: &mut Report<'_>) -> Vec<Hardware> {
    let items = yaml::list(node, "hardware", report).unwrap_or_default();
    let mut hardware: Vec<Hardware> = Vec::new();
    for item in items {
        let Some(one) = read_model(item, days, report) else { continue };
        if hardware.iter().any(|other| other.model == one.model) {
            let fault = Fault::new(format!("the model {} comes twice", quote(&one.model)));
            report.add(item.line, fault.key("hardware").help("put all its rates in one list"));
        }
        hardware.push(one);
    }
    hardware
}

fn read_model(node: &Node, days: &Calendar, report: &mut Report<'_>) -> Option<Hardware> {
    let entries = yaml::map(node, "hardware", report)?;
    yaml::check_keys(entries, &["model", "rates"], report);
    let model = required(entries, "model", node.line, report).and_then(|entry| {
        scalar(&entry.value, "model", report, |text| {
            render::check_pattern(text)?;
            Ok((text.to_owned(), Pattern::compile(text)?))
        })
    });
    let from = |text: &str| date(text).map(|date| days.midnight(date));
    let rates = required(entries, "rates", node.line, report)
        .and_then(|entry| steps(entry, &Form { keys: &["from", "per_hour"], from }, read_rate, report));
    let (model, pattern) = model?;
    Some(Hardware { model, pattern, rates: rates? })
}

fn read_rate((node, entries): (&Node, &[Entry]), report: &mut Report<'_>) -> Option<Micros> {
    let entry = required(entries, "per_hour", node.line, report)?;
    scalar(&entry.value, "rates.per_hour", report, decimal)
}
