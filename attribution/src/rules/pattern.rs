//! A regular expression that must match a whole value, and what such a value must hold.

use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use super::glob::Glob;
use super::needles;
use super::problem::{Fault, code};

/// The largest compiled regular expression, in bytes of the `regex` crate's count.
const LARGEST: usize = 2 << 20;

/// An expression that is whole. `.` matches every character; time is linear.
#[derive(Clone, Debug)]
pub struct Pattern {
    engine: Engine,
    needles: Vec<Vec<u8>>,
}

/// What tries a value.
#[derive(Clone, Debug)]
enum Engine {
    Glob(Glob),
    Regex(Regex),
}

impl Pattern {
    /// Compiles it. It must do so by itself, so that `a)|(b` cannot break out of the anchors.
    ///
    /// # Errors
    /// It is no regular expression, or a very large one.
    pub fn compile(pattern: &str) -> Result<Self, Fault> {
        let anchored = format!("^(?:{pattern})$");
        let Some((hir, _)) = parse(pattern).zip(parse(&anchored)) else {
            // Built all the same, for the message.
            let regex = build(pattern).and_then(|_| build(&anchored)).map_err(|error| fault(pattern, &error));
            return Ok(Self { engine: Engine::Regex(regex?), needles: Vec::new() });
        };
        let engine = match Glob::of(&hir) {
            Some(glob) => Engine::Glob(glob),
            None => Engine::Regex(build(&anchored).map_err(|error| fault(pattern, &error))?),
        };
        Ok(Self { engine, needles: needles::of(&hir) })
    }

    /// Whether the whole value matches.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.engine {
            Engine::Glob(glob) => glob.is_match(value),
            Engine::Regex(regex) => regex.is_match(value),
        }
    }

    /// What its groups match of a value; nothing where it does not match, or none has a name.
    pub fn captures<'v>(&self, value: &'v str) -> Option<Captures<'v>> {
        self.regex()?.captures(value)
    }

    /// The names of its groups and their numbers.
    pub fn capture_names(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.regex().into_iter().flat_map(Regex::capture_names);
        names.enumerate().filter_map(|(group, name)| Some((group, name?)))
    }

    /// Texts of which one is in every value that matches, whatever the case of ASCII letters; none where that is not
    /// certain.
    pub fn needles(&self) -> &[Vec<u8>] {
        &self.needles
    }

    fn regex(&self) -> Option<&Regex> {
        match &self.engine {
            Engine::Glob(_) => None,
            Engine::Regex(regex) => Some(regex),
        }
    }
}

fn parse(pattern: &str) -> Option<Hir> {
    ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern).ok()
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).dot_matches_new_line(true).size_limit(LARGEST).build()
}

fn fault(pattern: &str, error: &regex::Error) -> Fault {
    if let regex::Error::CompiledTooBig(limit) = error {
        let fault = Fault::new(format!("regular expression {} needs more than {limit} bytes", code(pattern)));
        return fault.help("use smaller repetitions");
    }
    let text = error.to_string();
    let reason = text.rsplit("error: ").next().unwrap_or(&text).trim();
    let help = if reason.contains("not supported") {
        "look at the syntax of the Rust crate regex; it is that of RE2"
    } else {
        r"write `\` before a character that stands for itself"
    };
    Fault::new(format!("bad regular expression {}: {reason}", code(pattern))).help(help)
}
