//! `report`: the chargeback of a closed period, out of a Prometheus-compatible server; `verify`: whether reports are as
//! they were written.
//!
//! [`server`] asks, [`collect`] sums, [`document`] makes of it what a report says, and each format writes the same
//! document. Not here: prices and budgets (`money`). Callers: `main`.

mod amount;
pub mod answer;
mod audit;
mod balance;
mod collect;
mod command;
mod counter;
mod credits;
mod csv;
mod dispute;
mod document;
mod extract;
mod focus;
mod gaps;
mod html;
mod http;
mod lines;
pub mod manifest;
mod period;
mod quantity;
mod rates;
mod reconcile;
mod recorded;
mod round;
mod server;
mod table;
mod tally;
mod traces;

pub use command::{report, verify};
