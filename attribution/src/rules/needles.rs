//! What a text must hold to match a regular expression: so that most expressions need not be tried at all.
//!
//! Only what is certain counts. Where the form of an expression says nothing, the matcher is always tried.

use std::cmp::Reverse;
use std::mem;

use regex_syntax::hir::{Class, Hir, HirKind};

/// A needle of fewer bytes is in nearly every text.
const SHORTEST: usize = 2;
/// So many bytes of a needle are looked for.
const LONGEST: usize = 32;
/// Of more alternatives than these one is in nearly every text.
const MOST: usize = 64;

/// Texts of which one is in every text that matches, whatever the case of ASCII letters. Empty where nothing is certain.
pub(super) fn of(hir: &Hir) -> Vec<Vec<u8>> {
    match hir.kind() {
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of(&repetition.sub),
        HirKind::Alternation(branches) => of_alternatives(branches),
        HirKind::Concat(parts) => of_sequence(parts),
        HirKind::Literal(_) => of_sequence(std::slice::from_ref(hir)),
        HirKind::Repetition(_) | HirKind::Class(_) | HirKind::Look(_) | HirKind::Empty => Vec::new(),
    }
}

fn of_alternatives(branches: &[Hir]) -> Vec<Vec<u8>> {
    let needles: Vec<Vec<Vec<u8>>> = branches.iter().map(of).collect();
    if needles.iter().any(Vec::is_empty) || needles.iter().map(Vec::len).sum::<usize>() > MOST {
        return Vec::new();
    }
    needles.concat()
}

/// Every part must match: those of the part that says most.
fn of_sequence(parts: &[Hir]) -> Vec<Vec<u8>> {
    let (mut best, mut run) = (Vec::new(), Vec::new());
    for part in parts {
        match letters(part) {
            Some(text) => run.extend(text),
            None => {
                best = better(best, of_run(mem::take(&mut run)));
                best = better(best, of(part));
            }
        }
    }
    better(best, of_run(run))
}

fn of_run(mut run: Vec<u8>) -> Vec<Vec<u8>> {
    run.truncate(LONGEST);
    if run.len() < SHORTEST { Vec::new() } else { vec![run] }
}

/// The needles that are found less often.
fn better(one: Vec<Vec<u8>>, other: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let worth = |needles: &[Vec<u8>]| (needles.iter().map(Vec::len).min(), Reverse(needles.len()));
    if worth(&other) > worth(&one) { other } else { one }
}

/// The one text that matches, where there is one but for the case of its letters.
fn letters(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_vec()),
        HirKind::Capture(capture) => letters(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().map(letters).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        HirKind::Class(Class::Unicode(class)) => match class.ranges() {
            [upper, lower] if upper.len() == 1 && lower.len() == 1 => {
                let lower = lower.start();
                let is_letter = lower.is_ascii_lowercase() && lower.to_ascii_uppercase() == upper.start();
                is_letter.then(|| lower.to_string().into_bytes())
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::ParserBuilder;

    #[track_caller]
    fn check(pattern: &str, want: &str) {
        let hir = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern).expect("a pattern");
        let texts = of(&hir).into_iter().map(|text| String::from_utf8(text).expect("text"));
        assert_eq!(texts.collect::<Vec<_>>().join(" "), want, "{pattern}");
    }

    #[test]
    fn the_longest_literal_is_the_needle() {
        check(".*vllm.*", "vllm");
        check("python.*tritonserver.*", "tritonserver");
        check(".*(a|b)literal.*", "literal");
        check("(?P<x>tr)(ain)[0-9]+", "train");
        check("(?:train){2,}x?", "train");
    }

    #[test]
    fn of_alternatives_all_are_needles() {
        check(".*(vllm|tritonserver).*", "vllm tritonserver");
        check("(vllm|.*).*", "");
        check("(abc|d)", "");
    }

    #[test]
    fn what_need_not_be_there_is_no_needle() {
        for pattern in [".*", "", "(train)?", "(train)*", "[a-z]+", "a", ".*a.*b.*", r"\w+\b"] {
            check(pattern, "");
        }
    }

    #[test]
    fn the_case_of_letters_does_not_matter() {
        check("(?i).*vllm.*", "vllm");
        // A k is also the sign of kelvin, an s the long s.
        check("(?i)tensorflow", "orflow");
        check("[Vv]llm", "vllm");
        check("[vl]lm", "lm");
    }
}
