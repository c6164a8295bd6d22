//! The last stage: what has been accounted, as text over HTTP.
//!
//! [`metrics`] is the table of everything exported, [`encode`] writes it in both text formats, [`publish`] keeps
//! each writing of one snapshot, [`negotiate`] chooses among them, [`page`] is for people, [`processes`] for programs
//! that ask who is on which GPU, and [`http`] serves it all. Nothing here samples, accounts or waits for the driver; the caller publishes a snapshot, scrapes read it.

pub mod encode;
#[cfg(test)]
pub mod fixture;
pub mod http;
#[cfg(test)]
mod http_tests;
pub mod metrics;
pub mod negotiate;
pub mod overview;
pub mod own_process;
pub mod page;
mod page_processes;
pub mod processes;
pub mod processes_query;
#[cfg(test)]
mod processes_tests;
pub mod publish;
pub mod routes;
pub mod rows;
