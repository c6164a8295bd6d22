//! Every parser of what others write, behind one kind of door: bytes in, and what came of them. `tests.rs` feeds them
//! broken copies of good texts in every test run; `fuzz/` at the repository's root feeds them with libFuzzer.
//!
//! Not in the binary. A new parser gets a [`Target`] in the file of its kind: rules and money in `rules.rs`, the node in
//! `node.rs`, schedulers in `schedulers.rs`, HTTP and its configuration in `web.rs`, files that we wrote ourselves
//! in `files.rs`, a Prometheus's answers in `report.rs`.

mod files;
#[cfg(test)]
mod mutate;
mod node;
#[cfg(feature = "report")]
mod report;
mod rules;
mod schedulers;
#[cfg(test)]
mod tests;
mod web;

/// A parser.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// For people, and the folder of its corpus.
    pub name: &'static str,
    /// Feeds it.
    pub feed: fn(&[u8]) -> Outcome,
    /// Good inputs, to begin with.
    pub seeds: &'static [&'static [u8]],
    /// How many broken ones a test run can afford.
    pub rounds: u32,
}

/// What came of an input. A panic is always wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read.
    Read,
    /// It was refused, with these words if any.
    Refused(String),
    /// It was read, and what was read breaks a law.
    Broken(&'static str),
}

/// How long one line of a refusal may be, in bytes: what is quoted is cut.
const LONGEST_LINE: usize = 1500;

impl Outcome {
    /// What is wrong with it, if anything is: a refusal must fit into a log.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let is_odd = |line: &str| line.len() > LONGEST_LINE || line.contains(char::is_control);
        match self {
            Self::Broken(why) => Some((*why).to_owned()),
            Self::Refused(words) if words.lines().any(is_odd) => Some(format!("this is said: {words:?}")),
            Self::Refused(_) | Self::Read => None,
        }
    }
}

/// All of them.
#[must_use]
pub fn targets() -> Vec<&'static Target> {
    let all = [rules::TARGETS, node::TARGETS, schedulers::TARGETS, web::TARGETS, files::TARGETS];
    let all = all.into_iter().flatten();
    #[cfg(feature = "report")]
    let all = all.chain(report::TARGETS);
    all.collect()
}

/// Of a parser that says what is wrong.
fn said<T, E: ToString>(result: Result<T, E>) -> Outcome {
    result.map_or_else(|error| Outcome::Refused(error.to_string()), |_| Outcome::Read)
}

/// Of a parser that does not.
fn known<T>(result: Option<T>) -> Outcome {
    result.map_or_else(|| Outcome::Refused(String::new()), |_| Outcome::Read)
}

/// As a parser of text gets bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
