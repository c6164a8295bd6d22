//! A regular expression that must match a whole value, and what such a value must hold.

use regex::{CaptureNames, Captures, Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::needles;
use super::problem::{Fault, code};

/// The largest compiled regular expression, in bytes of the `regex` crate's count.
const LARGEST: usize = 2 << 20;

/// An expression that is whole. `.` matches every character; time is linear.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    needles: Vec<Vec<u8>>,
}

impl Pattern {
    /// Compiles it. It must do so by itself, so that `a)|(b` cannot break out of the anchors.
    pub fn compile(pattern: &str) -> Result<Self, Fault> {
        let parsed = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern);
        // What does not parse is built all the same, for the message.
        let anchored = if parsed.is_ok() { &format!("^(?:{pattern})$") } else { pattern };
        let regex = RegexBuilder::new(anchored).dot_matches_new_line(true).size_limit(LARGEST).build();
        let regex = regex.map_err(|error| fault(pattern, &error))?;
        Ok(Self { regex, needles: parsed.map(|hir| needles::of(&hir)).unwrap_or_default() })
    }

    /// Whether the whole value matches.
    pub fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// What its groups match of a value.
    pub fn captures<'v>(&self, value: &'v str) -> Option<Captures<'v>> {
        self.regex.captures(value)
    }

    /// The names of its groups.
    pub fn capture_names(&self) -> CaptureNames<'_> {
        self.regex.capture_names()
    }

    /// Texts of which one is in every value that matches, whatever the case of ASCII letters; none where that is not
    /// certain.
    pub fn needles(&self) -> &[Vec<u8>] {
        &self.needles
    }
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
