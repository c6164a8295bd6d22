//! `field op "value"`, as in PromQL: parsing, printing, and whether it holds for a process.

use std::fmt::{self, Write};
use std::iter;

use super::pattern::Pattern;
use super::problem::{Fault, code, single_quoted};
use crate::facts::{Fact, Facts, Field};

/// One condition on one field. Prints as it is written.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub field: Field,
    op: Op,
    value: String,
}

#[derive(Clone, Debug)]
enum Op {
    Equal,
    NotEqual,
    Match(Pattern),
    NotMatch(Pattern),
}

/// What a value must be like for a matcher to hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Demand<'m> {
    /// It is this text.
    Value(&'m str),
    /// It holds one of these texts, whatever the case of ASCII letters.
    Needles(&'m [Vec<u8>]),
}

impl<'m> Demand<'m> {
    /// Its texts.
    pub fn texts(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let (value, needles) = match *self {
            Self::Value(value) => (Some(value.as_bytes()), &[][..]),
            Self::Needles(needles) => (None, needles),
        };
        value.into_iter().chain(needles.iter().map(Vec::as_slice))
    }
}

impl Matcher {
    /// Whether it holds; `None` while the field is pending.
    pub fn holds(&self, facts: &Facts) -> Option<bool> {
        if facts.get(&self.field) == Fact::Pending {
            return None;
        }
        let found = if self.field.is_of_ancestors() {
            facts.of_ancestors(&self.field).any(|value| self.finds(value))
        } else {
            self.finds(facts.text(&self.field))
        };
        Some(found != self.is_negative())
    }

    /// The names of its captures and their group numbers.
    pub fn captures(&self) -> impl Iterator<Item = (usize, &str)> {
        self.pattern().into_iter().flat_map(Pattern::capture_names)
    }

    /// The text of a group, empty if it is unset; of ancestors, from the nearest that matches.
    pub fn capture<'f>(&'f self, group: usize, facts: &'f Facts) -> &'f str {
        let values: Box<dyn Iterator<Item = &str>> = if self.field.is_of_ancestors() {
            Box::new(facts.of_ancestors(&self.field))
        } else {
            Box::new(iter::once(facts.text(&self.field)))
        };
        let found =
            self.pattern().and_then(|pattern| values.into_iter().find_map(|value| pattern.captures(value)));
        found.and_then(|captures| captures.get(group)).map_or("", |text| text.as_str())
    }

    /// Whether it holds where its value is not found.
    pub fn is_negative(&self) -> bool {
        matches!(self.op, Op::NotEqual | Op::NotMatch(_))
    }

    /// Whether its value is a regular expression.
    pub fn is_pattern(&self) -> bool {
        self.pattern().is_some()
    }

    /// Its value, without escapes.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What the field's value, or an ancestor's, must be like for it to hold; nothing where that is not certain, and
    /// for negative ones, which hold where there is no value.
    pub fn demand(&self) -> Option<Demand<'_>> {
        match &self.op {
            Op::Equal => Some(Demand::Value(&self.value)),
            Op::Match(pattern) => {
                Some(Demand::Needles(pattern.needles())).filter(|_| !pattern.needles().is_empty())
            }
            Op::NotEqual | Op::NotMatch(_) => None,
        }
    }

    fn pattern(&self) -> Option<&Pattern> {
        match &self.op {
            Op::Match(pattern) | Op::NotMatch(pattern) => Some(pattern),
            Op::Equal | Op::NotEqual => None,
        }
    }

    /// Whether its value is this text, or matches it.
    pub fn finds(&self, value: &str) -> bool {
        self.pattern().map_or_else(|| value == self.value, |pattern| pattern.is_match(value))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Match(_) => "=~",
            Op::NotMatch(_) => "!~",
        };
        write!(f, "{}{op}\"", self.field)?;
        let mut characters = self.value.chars().peekable();
        while let Some(character) = characters.next() {
            match (character, characters.peek()) {
                ('"', _) => f.write_str("\\\"")?,
                ('\n', _) => f.write_str("\\n")?,
                // A backslash is written as such, except where the next character would make it an escape.
                ('\\', Some('"' | '\\' | 'n' | '\n') | None) => f.write_str(r"\\")?,
                (other, _) => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

/// Parses a matcher. The fault says where in the text, counted in characters from 1.
pub(super) fn parse(text: &str) -> Result<Matcher, Fault> {
    let start = text.trim_start();
    let end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(start.len());
    let (name, rest) = start.split_at(end);
    if name.is_empty() {
        return Err(shape(text, rest, "a field"));
    }
    let field = parse_field(name)?;
    let (op, rest) = parse_op(text, rest.trim_start())?;
    let (value, rest) = parse_value(text, rest.trim_start())?;
    if !rest.trim().is_empty() {
        let fault = shape(text, rest.trim_start(), "the end");
        return Err(fault.help("one item is one matcher; give each its own item of the list"));
    }
    let op = match op {
        "=" => Op::Equal,
        "!=" => Op::NotEqual,
        "=~" => Op::Match(Pattern::compile(&value)?),
        _ => Op::NotMatch(Pattern::compile(&value)?),
    };
    Ok(Matcher { field, op, value })
}

/// The field of this name, or the nearest name to it.
pub(super) fn parse_field(name: &str) -> Result<Field, Fault> {
    Field::parse(name).ok_or_else(|| {
        let names: Vec<String> = Field::FIXED.iter().map(ToString::to_string).collect();
        Fault::unknown("field", name, names.iter().map(String::as_str))
            .or_help("an environment variable is env_<NAME>, a pod label pod_label_<name>")
    })
}

fn parse_op<'t>(text: &str, rest: &'t str) -> Result<(&'t str, &'t str), Fault> {
    let ops = ["==", "=~", "!~", "!=", "="];
    match ops.into_iter().find(|op| rest.starts_with(op)) {
        Some("==") => Err(shape(text, rest, "an operator").help("equality is one `=`")),
        Some(op) => Ok(rest.split_at(op.len())),
        None => Err(shape(text, rest, "an operator (= != =~ !~)")),
    }
}

fn parse_value<'t>(text: &str, rest: &'t str) -> Result<(String, &'t str), Fault> {
    let Some(inner) = rest.strip_prefix('"') else {
        return Err(shape(text, rest, "a value in double quotes"));
    };
    let mut value = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek().map(|&(_, next)| next)) {
            ('"', _) => return Ok((value, &inner[at + 1..])),
            ('\\', Some(next @ ('"' | '\\' | 'n'))) => {
                value.push(if next == 'n' { '\n' } else { next });
                characters.next();
            }
            (other, _) => value.push(other),
        }
    }
    Err(Fault::new(format!("{}: the closing quote is missing", code(text))).help(format!(
        "YAML ends an item at ` #`, and inside brackets at a comma: put the whole item in single quotes, '{}…'",
        single_quoted(text, 40),
    )))
}

fn shape(text: &str, rest: &str, wanted: &str) -> Fault {
    let at = text[..text.len() - rest.len()].chars().count() + 1;
    let found = rest.chars().next().map_or("the end".into(), |found| format!("{found:?}"));
    Fault::new(format!("{}: expected {wanted} at character {at}, found {found}", code(text)))
        .help(r#"a matcher reads: field="value""#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(fields: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        for (name, value) in fields {
            facts.set(Field::parse(name).expect("a field"), *value);
        }
        facts
    }

    #[track_caller]
    fn check(matcher: &str, value: &str, want: bool) {
        let matcher = parse(matcher).expect("a matcher");
        assert_eq!(matcher.holds(&facts(&[("comm", value)])), Some(want), "{matcher}");
    }

    #[test]
    fn a_regular_expression_matches_the_whole_value() {
        check(r#"comm=~"py|python""#, "python", true);
        check(r#"comm=~"py|python""#, "python3", false);
        check(r#"comm!~"py.*""#, "python3", false);
        check(r#"comm=~"a.b""#, "a\nb", true);
        check(r#"comm=~"""#, "anything", false);
    }

    #[test]
    fn an_absent_fact_is_the_empty_string() {
        check(r#"comm="""#, "", true);
        check(r#"comm!="x""#, "", true);
        check(r#"comm=~".+""#, "", false);
    }

    #[test]
    fn only_three_escapes_exist() {
        check(r#"comm="a\"b\\c\nd""#, "a\"b\\c\nd", true);
        check(r#"comm=~"\d+\.\\.""#, "42..", true);
        check(r#"comm="\t""#, "\\t", true);
    }

    #[test]
    fn it_prints_as_it_is_written() {
        for text in [r#"comm=~"\d+\.x""#, r#"env_A!="a\"b\\""#, r#"pod_label_a!~"(?P<x>\n)""#] {
            assert_eq!(parse(text).expect("a matcher").to_string(), text);
        }
    }

    #[test]
    fn spaces_around_are_read_over() {
        check(r#" comm =~ "x" "#, "x", true);
    }

    #[track_caller]
    fn check_ancestors(matcher: &str, ancestors: &[&str], want: bool) {
        let mut facts = Facts::default();
        for comm in ancestors {
            facts.push_ancestor([(Field::AncestorComm, (*comm).to_owned())].into());
        }
        assert_eq!(parse(matcher).expect("a matcher").holds(&facts), Some(want));
    }

    #[test]
    fn any_ancestor_may_match_and_none_must_for_a_negative() {
        check_ancestors(r#"ancestor_comm="b""#, &["a", "b"], true);
        check_ancestors(r#"ancestor_comm!="b""#, &["a", "b"], false);
        check_ancestors(r#"ancestor_comm!~"c|d""#, &["a", "b"], true);
        check_ancestors(r#"ancestor_comm=~".*""#, &[], false);
        check_ancestors(r#"ancestor_comm!="a""#, &[], true);
    }

    #[test]
    fn the_nearest_ancestor_is_captured() {
        let mut facts = Facts::default();
        for comm in ["sh", "job-7", "job-8"] {
            facts.push_ancestor([(Field::AncestorComm, comm.to_owned())].into());
        }
        let matcher = parse(r#"ancestor_comm=~"job-(?P<n>\d)""#).expect("a matcher");
        assert_eq!(matcher.captures().collect::<Vec<_>>(), [(1, "n")]);
        assert_eq!(matcher.capture(1, &facts), "7");
    }

    #[test]
    fn a_pending_field_decides_nothing() {
        let mut facts = Facts::default();
        facts.set_pending(Field::Namespace);
        assert_eq!(parse(r#"namespace=~".*""#).expect("a matcher").holds(&facts), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(value in prop_oneof![any::<String>(), "[\\\\\"n\n]{0,8}"], negative in any::<bool>()) {
            let op = if negative { Op::NotEqual } else { Op::Equal };
            let matcher = Matcher { field: Field::Comm, op, value };
            let again = parse(&matcher.to_string()).expect("it was printed");
            prop_assert_eq!(&again.value, &matcher.value);
            prop_assert_eq!(again.to_string(), matcher.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = (parse(&text), parse(&format!("comm=~\"{text}\"")));
        }
    }
}
