//! What is certain of the texts that a matcher accepts: for which of them, how many, how long. Where the shape of a
//! regular expression does not tell, it says nothing, and the lints stay silent.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// How many texts are written out.
pub(in crate::rules) const MOST: usize = 64;

/// A pattern's form, with `.` for every character, as the matchers read it.
#[derive(Clone, Debug)]
pub(super) struct Shape(Hir);

impl Shape {
    /// Of an expression that compiles.
    ///
    /// One that does not parse is read as a place in the text, of which nothing is certain.
    pub fn of_pattern(pattern: &str) -> Self {
        let mut parser = regex_syntax::ParserBuilder::new().dot_matches_new_line(true).build();
        Self(parser.parse(pattern).unwrap_or_else(|_| Hir::look(Look::Start)))
    }

    /// Of a text that stands for itself.
    pub fn of_text(text: &str) -> Self {
        Self(Hir::literal(text.as_bytes()))
    }

    /// Whether every text matches.
    pub fn is_everything(&self) -> bool {
        is_everything(&self.0)
    }

    /// Whether exactly the texts that are not empty match.
    pub fn is_anything_but_empty(&self) -> bool {
        match bare(&self.0) {
            HirKind::Repetition(repetition) => {
                (repetition.min, repetition.max) == (1, None) && is_any_character(&repetition.sub)
            }
            HirKind::Concat(parts) => {
                let (all, one): (Vec<&Hir>, Vec<&Hir>) = parts.iter().partition(|part| is_everything(part));
                !all.is_empty() && matches!(one[..], [part] if is_any_character(part))
            }
            _ => false,
        }
    }

    /// Whether no text matches.
    pub fn is_nothing(&self) -> bool {
        self.0.properties().minimum_len().is_none()
    }

    /// The fewest bytes of a text that matches.
    pub fn fewest_bytes(&self) -> usize {
        self.0.properties().minimum_len().unwrap_or(usize::MAX)
    }

    /// All texts that match, where they are few.
    pub fn texts(&self) -> Option<Vec<String>> {
        let texts = texts(&self.0)?;
        texts.into_iter().map(|text| String::from_utf8(text).ok()).collect()
    }

    /// At most how many texts match; nothing where there is no bound.
    pub fn count(&self) -> Option<u64> {
        count(&self.0)
    }

    /// The same of what a group captures.
    pub fn count_of_group(&self, group: usize) -> Option<u64> {
        let index = u32::try_from(group).ok()?;
        find_group(&self.0, index).and_then(count)
    }

    /// Whether it is one text, written without any sign that has a meaning.
    pub fn is_literal(&self) -> bool {
        matches!(self.0.kind(), HirKind::Literal(_))
    }

    /// What every text that matches begins with.
    pub fn beginning(&self) -> &[u8] {
        match parts(&self.0) {
            [first, ..] => literal(first),
            [] => &[],
        }
    }

    /// Whether it accepts every text that has this shape's one demand, where it has no other: that a text begins
    /// with, ends with or holds a literal; and whether all texts of `other` meet it.
    pub fn accepts_all_of(&self, other: &Self) -> bool {
        let (parts, others) = (parts(&self.0), parts(&other.0));
        match parts {
            [all, text, rest] if is_everything(all) && is_everything(rest) => {
                let text = literal(text);
                !text.is_empty() && others.iter().any(|part| holds(literal(part), text))
            }
            [text, rest] if is_everything(rest) => {
                let text = literal(text);
                !text.is_empty() && others.first().is_some_and(|first| literal(first).starts_with(text))
            }
            [all, text] if is_everything(all) => {
                let text = literal(text);
                !text.is_empty() && others.last().is_some_and(|last| literal(last).ends_with(text))
            }
            _ => false,
        }
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Without the groups around it.
fn bare(hir: &Hir) -> &HirKind {
    match hir.kind() {
        HirKind::Capture(capture) => bare(&capture.sub),
        kind => kind,
    }
}

fn parts(hir: &Hir) -> &[Hir] {
    match bare(hir) {
        HirKind::Concat(parts) => parts,
        _ => std::slice::from_ref(hir),
    }
}

fn literal(hir: &Hir) -> &[u8] {
    match bare(hir) {
        HirKind::Literal(literal) => &literal.0,
        _ => &[],
    }
}

/// Whether every text matches.
pub(in crate::rules) fn is_everything(hir: &Hir) -> bool {
    match bare(hir) {
        HirKind::Repetition(repetition) => {
            (repetition.min, repetition.max) == (0, None)
                && (is_any_character(&repetition.sub) || is_everything(&repetition.sub))
        }
        HirKind::Concat(parts) => parts.iter().all(is_everything),
        HirKind::Alternation(branches) => branches.iter().any(is_everything),
        _ => false,
    }
}

fn is_any_character(hir: &Hir) -> bool {
    match bare(hir) {
        HirKind::Class(Class::Unicode(class)) => {
            let [range] = class.ranges() else { return false };
            (range.start(), range.end()) == ('\0', char::MAX)
        }
        _ => false,
    }
}

/// All texts that match, where they are few.
pub(in crate::rules) fn texts(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(Class::Unicode(class)) => {
            let characters = class.iter().flat_map(|range| range.start()..=range.end());
            let texts: Vec<Vec<u8>> = characters.take(MOST + 1).map(|c| c.to_string().into_bytes()).collect();
            (texts.len() <= MOST).then_some(texts)
        }
        HirKind::Repetition(repetition) => {
            let (Some(1), 0) = (repetition.max, repetition.min) else { return None };
            texts(&repetition.sub).map(|some| some.into_iter().chain([Vec::new()]).collect())
        }
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Concat(parts) => parts.iter().try_fold(vec![Vec::new()], |heads, part| {
            let tails = texts(part)?;
            let joined =
                heads.iter().flat_map(|head| tails.iter().map(|tail| [head.as_slice(), tail].concat()));
            let joined: Vec<Vec<u8>> = joined.take(MOST + 1).collect();
            (joined.len() <= MOST).then_some(joined)
        }),
        HirKind::Alternation(branches) => {
            let all: Option<Vec<Vec<Vec<u8>>>> = branches.iter().map(texts).collect();
            let all = all?.concat();
            (all.len() <= MOST).then_some(all)
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => None,
    }
}

/// An upper bound: a text that matches in two ways counts twice.
fn count(hir: &Hir) -> Option<u64> {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => Some(1),
        HirKind::Class(Class::Unicode(class)) => {
            Some(class.iter().map(|range| u64::from(range.end()) - u64::from(range.start()) + 1).sum())
        }
        HirKind::Class(Class::Bytes(class)) => {
            Some(class.iter().map(|range| u64::from(range.end()) - u64::from(range.start()) + 1).sum())
        }
        HirKind::Repetition(repetition) => {
            let (one, most) = (count(&repetition.sub)?, repetition.max?);
            let powers = repetition.min..=most.min(repetition.min.saturating_add(64));
            let sum = powers.map(|power| one.saturating_pow(power)).fold(0, u64::saturating_add);
            if most - repetition.min > 64 { None } else { Some(sum) }
        }
        HirKind::Capture(capture) => count(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().try_fold(1_u64, |product, part| Some(product.saturating_mul(count(part)?)))
        }
        HirKind::Alternation(branches) => {
            branches.iter().try_fold(0_u64, |sum, branch| Some(sum.saturating_add(count(branch)?)))
        }
    }
}

fn find_group(hir: &Hir, index: u32) -> Option<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.index == index => Some(&capture.sub),
        HirKind::Capture(capture) => find_group(&capture.sub, index),
        HirKind::Repetition(repetition) => find_group(&repetition.sub, index),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().find_map(|part| find_group(part, index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pattern: &str) -> Shape {
        Shape::of_pattern(pattern)
    }

    #[track_caller]
    fn check_everything(pattern: &str, everything: bool, but_empty: bool) {
        let shape = shape(pattern);
        assert_eq!(
            (shape.is_everything(), shape.is_anything_but_empty()),
            (everything, but_empty),
            "{pattern}"
        );
    }

    #[test]
    fn everything_is_recognised() {
        for pattern in [".*", "(.*)", "(?P<x>.*)", ".*.*", ".*?", "(?:.*)*", "a|.*", r"[\s\S]*", "(.*|a)"] {
            check_everything(pattern, true, false);
        }
        for pattern in [".+", "(?P<x>.+)", "..*", ".*.", ".+?"] {
            check_everything(pattern, false, true);
        }
        for pattern in ["", "a*", "[^a]*", "^.*a$", ".*a.*", ".?", "..", r"\w*", r".*\b.*", "[^\n]*"] {
            check_everything(pattern, false, false);
        }
    }

    #[track_caller]
    fn check_texts(pattern: &str, want: Option<&str>) {
        let texts = shape(pattern).texts().map(|mut texts| {
            texts.sort();
            texts.join(" ")
        });
        assert_eq!(texts.as_deref(), want, "{pattern}");
    }

    #[test]
    fn few_texts_are_written_out() {
        check_texts("dev|prod", Some("dev prod"));
        check_texts("a(b|c)d?", Some("ab abd ac acd"));
        check_texts("[0-9]{2}", None);
        check_texts("[a-c]", Some("a b c"));
        check_texts("a+", None);
        check_texts("^a$", None);
        check_texts("[a-z][a-z]", None);
    }

    #[track_caller]
    fn check_count(pattern: &str, want: Option<u64>) {
        assert_eq!(shape(pattern).count(), want, "{pattern}");
    }

    #[test]
    fn texts_are_counted_where_there_is_a_bound() {
        check_count("a|b|cd", Some(3));
        check_count("[0-9]{1,3}", Some(1110));
        check_count("gpu[0-7]", Some(8));
        check_count("[a-z]{1,40}", Some(u64::MAX));
        check_count("[a-z]+", None);
        assert_eq!(shape(".*--p=(?P<p>a|b).*").count_of_group(1), Some(2));
        assert_eq!(shape(".*--p=(?P<p>[a-z]+).*").count_of_group(1), None);
    }

    #[track_caller]
    fn check_accepts(wide: &str, narrow: &str, want: bool) {
        assert_eq!(shape(wide).accepts_all_of(&shape(narrow)), want, "{wide} {narrow}");
    }

    #[test]
    fn what_holds_a_literal_is_accepted_by_what_asks_for_it() {
        check_accepts(".*vllm.*", ".*vllm serve.*", true);
        check_accepts(".*vllm.*", "python -m vllm.*", true);
        check_accepts(".*vllm.*", ".*(vllm|triton).*", false);
        check_accepts(".*vllm serve.*", ".*vllm.*", false);
        check_accepts("stud.*", "student[0-9]+", true);
        check_accepts("stud.*", ".*stud.*", false);
        check_accepts(".*x", "[a-z]+ax", true);
        check_accepts(".*x", "[a-z]+xa", false);
    }
}
