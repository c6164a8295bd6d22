//! Which regular expressions mean the same to us and to Prometheus.

use wattribute::yaml::{Fault, quote};

/// Whether both read it alike: letters, digits, usual signs, groups, classes and repetitions.
///
/// # Errors
/// It has something that only one of them knows.
pub fn check(pattern: &str) -> Result<(), Fault> {
    let odd = |what: &str| {
        let fault = Fault::new(format!("{} in the pattern {}", what, quote(pattern)));
        Err(fault
            .help("Prometheus reads it otherwise: keep to letters, `.`, `*`, `+`, `?`, `|`, (…) and […]"))
    };
    if pattern.is_empty() {
        return Err(Fault::new("an empty pattern").help("it matches no model: name one"));
    }
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        match (c, in_class) {
            ('\\', _) => match rest.next() {
                Some(escaped) if escaped.is_ascii_punctuation() || "dwsDWS".contains(escaped) => {}
                _ => return odd("an unusual escape"),
            },
            ('(', false) if next == Some('?') => {
                rest.next();
                if rest.next() != Some(':') {
                    return odd("a group with flags or a name");
                }
            }
            ('[', false) => in_class = true,
            ('[', true) => return odd("a class in a class"),
            (']', true) => in_class = false,
            ('&' | '~' | '-', true) if next == Some(c) => return odd("an operation on classes"),
            (c, _) if c.is_control() => return odd("a control character"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(pattern: &str, want: &str) {
        let fault = check(pattern).unwrap_err();
        assert!(fault.message.starts_with(want), "{}", fault.message);
    }

    #[test]
    fn usual_patterns_are_taken() {
        for pattern in
            ["NVIDIA H100.*", "NVIDIA (A100|A30)(?:-SXM4)?[ -]80GB", r"Tesla \w+\.\d", "[^a-z]+", "Grafik-Öl"]
        {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_prometheus_reads_otherwise_is_refused() {
        refused("(?i)nvidia.*", "a group with flags");
        refused("(?P<x>A100)", "a group with flags or a name");
        refused(r"\p{Greek}", "an unusual escape");
        refused(r"A\b", "an unusual escape");
        refused("[a-z&&[^b]]", "an operation on classes");
        refused("[[:alpha:]]", "a class in a class");
        refused("", "an empty pattern");
    }
}
