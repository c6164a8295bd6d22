//! `wattribute doctor`: what it says of machines that are well and of such that are not, and how it exits.

#[cfg(test)]
mod answer;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod schedulers;
