//! Regular expressions that ask for nothing but certain texts with anything between them, as most rules do: matched
//! without the machinery of a regular expression, which takes long to build and much memory for each.

use regex_syntax::hir::{Hir, HirKind};

use super::lint::shape::{MOST, is_everything, texts};

/// What an expression asks for, from the beginning of a value to its end. Each piece is one of some texts; between two
/// pieces stands anything. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Glob(Vec<Vec<String>>);

impl Glob {
    /// Nothing where the expression asks for more, or names a group.
    pub fn of(hir: &Hir) -> Option<Self> {
        let mut pieces = vec![vec![Vec::new()]];
        append(hir, &mut pieces)?;
        let to_text = |text| String::from_utf8(text).ok();
        let pieces = pieces.into_iter().map(|piece| piece.into_iter().map(to_text).collect());
        pieces.collect::<Option<_>>().map(Self)
    }

    /// Whether the whole value matches. The piece that ends first leaves most to those behind it.
    pub fn is_match(&self, value: &str) -> bool {
        let [first, middle @ .., last] = &*self.0 else {
            return self.0.iter().flatten().any(|text| text == value);
        };
        let beginning =
            first.iter().filter_map(|text| value.strip_prefix(&**text)).max_by_key(|rest| rest.len());
        let Some(mut rest) = beginning else { return false };
        for piece in middle {
            let ends = piece.iter().filter_map(|text| Some(rest.find(&**text)? + text.len()));
            let Some(end) = ends.min() else { return false };
            rest = &rest[end..];
        }
        last.iter().any(|text| rest.ends_with(&**text))
    }
}

fn append(hir: &Hir, pieces: &mut Vec<Vec<Vec<u8>>>) -> Option<()> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.name.is_some() => None,
        HirKind::Capture(capture) => append(&capture.sub, pieces),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| append(part, pieces)),
        _ if is_everything(hir) => {
            pieces.push(vec![Vec::new()]);
            Some(())
        }
        _ => append_texts(&texts(hir)?, pieces.last_mut()?),
    }
}

fn append_texts(tails: &[Vec<u8>], piece: &mut Vec<Vec<u8>>) -> Option<()> {
    if piece.len() * tails.len() > MOST {
        return None;
    }
    *piece = piece.iter().flat_map(|head| tails.iter().map(move |tail| [&**head, tail].concat())).collect();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::RegexBuilder;
    use regex_syntax::ParserBuilder;

    fn glob(pattern: &str) -> Option<Glob> {
        let hir = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern).expect("a pattern");
        Glob::of(&hir)
    }

    #[track_caller]
    fn check(pattern: &str, value: &str, want: bool) {
        assert_eq!(glob(pattern).expect("a glob").is_match(value), want, "{pattern} {value}");
    }

    #[test]
    fn texts_stand_in_their_order_and_do_not_overlap() {
        check(".*(a|b)lit.*", "x blit y", true);
        check(".*(a|b)lit.*", "x clit y", false);
        check("py.*lit.*", "my py lit", false);
        check("aba.*aba", "ababa", false);
        check("aba.*aba", "abaaba", true);
        check("(aa|a).*a", "aa", true);
        check(".*(abc|b).*c", "abc", true);
        check("", "", true);
        check("", "x", false);
        check("a|é", "é", true);
    }

    #[test]
    fn what_asks_for_more_is_none() {
        for pattern in [".+", "(?P<x>a).*", "[a-z]+", "a{2,}.*", r"\ba.*", "^a", "[^a]*"] {
            assert!(glob(pattern).is_none(), "{pattern}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a", "b", "ab", ".*", ".*", "(a|ab)", "(ba?|é)", "[ab]", "b?", "(.*)", "(a.*)", "(?i)B", "()",
            ".*?",
        ]);
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn it_matches_what_the_expression_matches(pattern in pattern(), value in "[abBé]{0,8}") {
            let regex = RegexBuilder::new(&format!("^(?:{pattern})$")).dot_matches_new_line(true).build();
            // Some have more texts than are written out.
            let glob = glob(&pattern);
            prop_assume!(glob.is_some());
            let glob = glob.expect("a glob");
            prop_assert_eq!(glob.is_match(&value), regex.expect("a regex").is_match(&value), "{:?}", glob);
        }
    }
}
