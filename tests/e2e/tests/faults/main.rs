//! What goes wrong on one GPU stays there, is said, and costs no energy. One run of half a minute with a fault on each
//! GPU but the first, that most tests of this file look at; those that need more stand in files of their own.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod run;
#[cfg(test)]
mod silence;
