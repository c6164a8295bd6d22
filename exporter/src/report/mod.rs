//! `report`: the chargeback of a closed period, out of a Prometheus-compatible server; `verify`: whether reports are as
//! they were written.
//!
//! [`server`] asks, [`collect`] sums, [`document`] makes of it what a report says, and each format writes the same
//! document. Not here: prices and budgets (`money`). Callers: `main`.

pub mod answer;
mod audit;
mod balance;
mod collect;
mod command;
mod counter;
mod dispute;
mod document;
mod extract;
mod gaps;
mod html;
mod http;
mod lines;
pub mod manifest;
mod period;
mod quantity;
mod rates;
mod reconcile;
mod round;
mod server;
mod table;
mod tally;

pub use command::{report, verify};
