//! Prices and budgets: what people write, and the Prometheus rules made of it.
//!
//! [`Prices`] and [`Budgets`] are read from YAML as rules files are, all errors at once; [`render`] makes rules of them.
//! Pure, but for [`command`]. All numbers are exact decimals. `docs/money.md` is the reference of the formats.

#![cfg_attr(
    not(feature = "report"),
    allow(dead_code, unused_imports, reason = "only reports ask what was in force when")
)]

mod budgets;
mod calendar;
pub mod command;
mod micros;
mod prices;
mod reader;
pub mod render;
mod steps;
mod tariff;
mod tariff_reader;
#[cfg(test)]
mod tests;

pub use budgets::Budgets;
pub use calendar::{Month, Year};
pub use micros::Micros;
pub use prices::Prices;
