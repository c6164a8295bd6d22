//! What things cost in an hour, out of the prices file; and the calendar that the report goes by. Without a prices file
//! nothing has a price, and days are those of UTC.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::period::{self, Zone};
use super::tally::Rates;
use crate::money::{Budgets, Micros, Prices};

/// Prices and calendar, and budgets where they were asked for.
pub struct Rater {
    prices: Option<Prices>,
    budgets: Option<Budgets>,
}

impl Rater {
    /// One with the prices of a file, or with none, and with budgets alike.
    ///
    /// # Errors
    /// Everything wrong with the files.
    pub fn read(prices: Option<&Path>, budgets: Option<&Path>) -> Result<Self, String> {
        let prices = prices.map(|path| {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}: see --prices", path.display()))?;
            Prices::read(&path.display().to_string(), &text).map_err(|problems| problems.to_string())
        });
        let budgets = budgets.map(|path| {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}: see --budgets", path.display()))?;
            Budgets::read(&path.display().to_string(), &text).map_err(|problems| problems.to_string())
        });
        let (prices, budgets) = (prices.transpose()?, budgets.transpose()?);
        match (&prices, &budgets) {
            (Some(prices), Some(budgets)) if prices.currency() != budgets.currency() => Err(format!(
                "budgets are in {}, prices in {}: one must be changed",
                budgets.currency(),
                prices.currency()
            )),
            _ => Ok(Self { prices, budgets }),
        }
    }

    /// One of these texts.
    #[cfg(test)]
    pub fn of(prices: &str, budgets: &str) -> Self {
        Self { prices: Prices::read("p", prices).ok(), budgets: Budgets::read("b", budgets).ok() }
    }

    /// The prices of an hour, by where and what a GPU is.
    pub fn rates(&self, site: &str, model: &str, at: i64) -> Rates {
        let none = Rates { pue: Micros::ONE.0, ..Rates::default() };
        let (Some(prices), Ok(time)) = (&self.prices, Timestamp::from_second(at)) else { return none };
        let site = Some(site).filter(|site| !site.is_empty());
        let hardware = prices.hardware_at(model, time).map(|rate| rate.0);
        // A tariff without a PUE would bill too little.
        let Some(pue) = prices.pue_at(site, time) else { return Rates { hardware, ..none } };
        Rates {
            electricity: prices.electricity_at(site, time).map(|price| price.0),
            pue: pue.0,
            carbon: prices.carbon_at(site, time).map(|carbon| carbon.grams_per_kwh.0),
            hardware,
        }
    }

    /// The currency; `None` without prices.
    pub fn currency(&self) -> Option<&str> {
        self.prices.as_ref().map(Prices::currency)
    }

    /// The budgets; `None` without.
    pub fn budgets(&self) -> Option<&Budgets> {
        self.budgets.as_ref()
    }

    /// What a team has paid beforehand by a moment, in millionths of the currency.
    pub fn granted(&self, team: &str, until: i64) -> i128 {
        let (Some(prices), Some(budgets)) = (&self.prices, &self.budgets) else { return 0 };
        let paid = budgets.credits(team).iter();
        let paid = paid.filter(|credit| prices.calendar().midnight(credit.from).as_second() < until);
        paid.map(|credit| i128::from(credit.amount.0)).sum()
    }

    /// The name of the time zone.
    pub fn zone_name(&self) -> &str {
        self.prices.as_ref().map_or("UTC", |prices| prices.calendar().name())
    }

    /// Seconds that the zone's clocks are ahead of UTC.
    fn offset(&self, at: i64) -> i64 {
        let time = Timestamp::from_second(at).ok();
        let prices = self.prices.as_ref();
        time.zip(prices).map_or(0, |(time, prices)| i64::from(prices.calendar().offset(time)))
    }

    /// The calendar day of a moment.
    pub fn date(&self, at: i64) -> String {
        period::date(at, &|at| self.offset(at))
    }

    /// The zone as a function.
    pub fn with_zone<T>(&self, work: impl FnOnce(Zone) -> T) -> T {
        work(&|at| self.offset(at))
    }
}
