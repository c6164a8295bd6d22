//! The last stage: what has been accounted, as text over HTTP.
//!
//! [`metrics`] is the table of everything exported, [`encode`] writes it in both text formats, [`publish`] keeps
//! each writing of one snapshot, [`negotiate`] chooses among them, [`page`] is for people, made of an [`overview`] when one looks,
//! [`processes`] for programs that ask who is on which GPU, and [`http`] serves it all, with what [`crate::web`] says of who may
//! ask. Nothing here samples, accounts or waits for the driver; the caller publishes a snapshot, scrapes read it.

mod connection;
#[cfg(test)]
mod door_tests;
pub mod encode;
#[cfg(test)]
pub mod fixture;
pub mod http;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod limits_tests;
pub mod metrics;
pub mod negotiate;
pub mod overview;
pub mod own_process;
pub mod page;
pub mod processes;
pub mod processes_query;
#[cfg(test)]
mod processes_tests;
pub mod publish;
pub mod routes;
pub mod rows;
mod seats;
