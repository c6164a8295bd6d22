//! Prices and budgets: what people write, and the Prometheus rules made of it.
//!
//! [`Prices`] and [`Budgets`] are read from YAML as rules files are, all errors at once; [`render`] makes rules of them.
//! Pure, but for [`command`]. All numbers are exact decimals. `docs/money.md` is the reference of the formats.

#![allow(dead_code, unused_imports, reason = "the report asks what was in force when")]

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

pub use budgets::{Budget, Budgets, Credit};
pub use calendar::{Calendar, Month, Year};
pub use micros::Micros;
pub use prices::{Carbon, Prices};
