//! Prices and budgets as Prometheus recording rules. Pure and deterministic: the same files give the same bytes.
//!
//! Rules speak of `time() - 1`, so that at a full hour they say what held in the hour that just ended; a recorded value
//! stays, so a new price never reprices the past. Only what Prometheus 2 and 3, Thanos, Mimir and VictoriaMetrics all
//! read is used.

mod budgets;
mod calendar;
mod pattern;
mod prices;
mod text;

use super::budgets::Budgets;
use super::calendar::{Calendar, Year};
use super::prices::Prices;

pub use pattern::check as check_pattern;

/// Where the rules of prices go.
pub const PRICES_FILE: &str = "prices.rules.yaml";
/// Where the rules of budgets go.
pub const BUDGETS_FILE: &str = "budgets.rules.yaml";

/// The rules of the calendar, which is right until the end of a year, and of all prices.
pub fn prices(prices: &Prices, until: Year) -> String {
    let mut rules = calendar::rules(prices.calendar(), prices.first(), until);
    rules.extend(prices::rules(prices));
    text::file("prices.yaml", "wattribute-prices", &rules)
}

/// The rules of all budgets; months begin as this calendar says.
pub fn budgets(budgets: &Budgets, calendar: &Calendar) -> String {
    text::file("budgets.yaml", "wattribute-budgets", &budgets::rules(budgets, calendar))
}
