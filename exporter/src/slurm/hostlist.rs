//! Slurm's lists of nodes, `gpu[01-04,9],login`: pure.
//!
//! Callers: `gres`.

/// How many nodes a list may name: more than any cluster has.
const MOST: usize = 100_000;

/// The nodes of a list, in its order; `None` where it is no list, or has no end.
pub fn expand(list: &str) -> Option<Vec<String>> {
    let mut nodes = Vec::new();
    for one in split(list)? {
        nodes.extend(expand_one(one)?);
        if nodes.len() > MOST {
            return None;
        }
    }
    Some(nodes)
}

/// The numbers of `0-3,7`, with their leading zeros; none of an empty text.
pub fn numbers(ranges: &str) -> Option<Vec<String>> {
    let mut numbers = Vec::new();
    for range in ranges.split(',').filter(|_| !ranges.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(last) {
            return None;
        }
        let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if to.checked_sub(from)? >= MOST || numbers.len() > MOST {
            return None;
        }
        numbers.extend((from..=to).map(|number| format!("{number:0width$}", width = first.len())));
    }
    Some(numbers)
}

/// What stands between the commas that are in no bracket.
fn split(list: &str) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut is_inside) = (Vec::new(), 0, false);
    for (at, byte) in list.bytes().enumerate() {
        match (byte, is_inside) {
            (b'[', false) => is_inside = true,
            (b']', true) => is_inside = false,
            (b'[', true) | (b']', false) => return None,
            (b',', false) => {
                parts.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[begin..]);
    (!is_inside && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// `rack[1-2]node[01-04]`: each bracket multiplies.
fn expand_one(name: &str) -> Option<Vec<String>> {
    let Some((head, rest)) = name.split_once('[') else { return Some(vec![name.into()]) };
    let (ranges, tail) = rest.split_once(']')?;
    let (middles, tails) = (numbers(ranges)?, expand_one(tail)?);
    if middles.len().saturating_mul(tails.len()) > MOST {
        return None;
    }
    let with =
        |middle: &String| tails.iter().map(move |tail| format!("{head}{middle}{tail}")).collect::<Vec<_>>();
    Some(middles.iter().flat_map(with).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(list: &str, want: Option<&[&str]>) {
        assert_eq!(expand(list), want.map(|nodes| nodes.iter().map(ToString::to_string).collect()), "{list}");
    }

    #[test]
    fn lists_are_expanded_in_their_order() {
        check("gpu01", Some(&["gpu01"]));
        check("b,a", Some(&["b", "a"]));
        check("gpu[01-03]", Some(&["gpu01", "gpu02", "gpu03"]));
        check("gpu[9-11]", Some(&["gpu9", "gpu10", "gpu11"]));
        check("gpu[01,07-08],login", Some(&["gpu01", "gpu07", "gpu08", "login"]));
        check("r[1-2]n[1-2]", Some(&["r1n1", "r1n2", "r2n1", "r2n2"]));
        check("a-b.example.org", Some(&["a-b.example.org"]));
    }

    #[test]
    fn what_is_no_list_is_none() {
        for wrong in
            ["", ",", "a,", "a[", "a]", "a[1", "a[[1]]", "a[x]", "a[2-1]", "a[1-]", "a[+1]", "a[0-999999999]"]
        {
            check(wrong, None);
        }
        check("a[0-999][0-999]", None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-c0-9,\\[\\]-]{0,20}|\\PC*") {
            expand(&text);
        }
    }
}
