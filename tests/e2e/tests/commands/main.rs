//! What a person at a terminal meets: how the exporter starts, refuses to, reloads its rules and stops; and the
//! commands that answer and end.

#[cfg(test)]
mod bad_rules;
#[cfg(test)]
mod console;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod questions;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stop;
