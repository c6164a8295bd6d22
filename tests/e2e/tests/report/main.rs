//! `wattribute report` and `wattribute verify`: a story whose bill was computed by hand, told to a real Prometheus and a
//! real VictoriaMetrics, and what goes wrong with servers, periods, names and files.

#[cfg(test)]
mod access;
#[cfg(test)]
mod bill;
#[cfg(test)]
mod credits;
#[cfg(test)]
mod detail;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod story;
#[cfg(test)]
mod victoria;
