//! Recording rules as YAML. Expressions stand in literal blocks, one thought per line, with comments.

use std::fmt::Write;

use jiff::Timestamp;

use super::super::steps::Window;

/// A recording rule.
pub struct Rule {
    /// What it says, for who reads the file; lines without `#`.
    pub comment: String,
    /// The name of the series.
    pub record: &'static str,
    /// The labels that it adds.
    pub labels: Vec<(&'static str, String)>,
    /// The expression; may have several lines, the first not indented.
    pub expr: String,
}

/// A file with one group, evaluated every minute.
pub fn file(source: &str, group: &str, rules: &[Rule]) -> String {
    let mut text = format!(
        "# Generated from {source} by `wattribute render`: change that, and render again.\n\
         # What is recorded stays: a new price or budget holds from its day on.\n\
         groups:\n  - name: {group}\n    interval: 1m\n    rules:"
    );
    if rules.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    rules.iter().for_each(|rule| write_rule(rule, &mut text));
    text
}

fn write_rule(rule: &Rule, text: &mut String) {
    for line in rule.comment.lines() {
        let _ = writeln!(text, "      # {line}");
    }
    let _ = writeln!(text, "      - record: {}", rule.record);
    if !rule.labels.is_empty() {
        let labels = rule.labels.iter().map(|(name, value)| format!("{name}: {}", quote(value)));
        let _ = writeln!(text, "        labels: {{{}}}", labels.collect::<Vec<_>>().join(", "));
    }
    if !rule.expr.contains('\n') && !rule.expr.contains(['#', '"', '\'']) {
        let _ = writeln!(text, "        expr: {}", rule.expr);
        return;
    }
    text.push_str("        expr: |-\n");
    for line in rule.expr.lines() {
        let _ = writeln!(text, "          {line}");
    }
}

/// A text in double quotes, as YAML and PromQL both read it: ASCII alone, the rest as escapes.
pub fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            ' '..='~' => write!(quoted, "{c}"),
            c if u32::from(c) > 0xffff => write!(quoted, "\\U{:08x}", u32::from(c)),
            c => write!(quoted, "\\u{:04x}", u32::from(c)),
        };
    }
    quoted.push('"');
    quoted
}

/// A filter: something while the time, less some seconds, is in a window; nothing else.
pub fn during(window: Window<Timestamp>, late: u8) -> String {
    let until = window.until.map(|until| format!(" < {}", until.as_second())).unwrap_or_default();
    format!("(vector(time() - {late}) >= {}{until})", window.from.as_second())
}

/// Lines, each indented by two more.
pub fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Branches of which at most one gives something.
pub fn any(branches: &[String]) -> String {
    branches.join("\nor\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_both_languages_read_it() {
        assert_eq!(quote("a \"b\" \\d"), r#""a \"b\" \\d""#);
        assert_eq!(quote("Zürich\n\u{85}🎉"), r#""Z\u00fcrich\u000a\u0085\U0001f389""#);
    }
}
