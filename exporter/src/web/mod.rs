//! Who may ask: TLS, certificates of clients, passwords, headers and a rate limit, out of the file that the Prometheus
//! exporters share (web-config.yml).
//!
//! [`config`] reads the file, [`words`] its values, [`tls`] and [`clients`] make of it what rustls speaks, [`passwords`]
//! checks who asks, [`rate`] how often. [`door`] keeps what is in force and lets requests in; [`crate::expose::http`]
//! asks it. Nothing here knows what is answered.

pub mod clients;
pub mod config;
#[cfg(test)]
mod config_tests;
pub mod door;
pub mod passwords;
pub mod rate;
pub mod tls;
pub mod words;
