//! One line of a scrape, by itself.

use std::collections::BTreeMap;

use super::{Format, Sample};

/// What a line says.
pub(super) enum Line<'a> {
    Comment,
    Type(&'a str, &'a str),
    Help(&'a str, String),
    Unit(&'a str, &'a str),
    Sample(Sample),
}

impl<'a> Line<'a> {
    pub fn parse(line: &'a str, format: Format) -> Result<Self, String> {
        match line.strip_prefix('#') {
            Some(rest) => Self::comment(rest, format),
            None if line.is_empty() && format == Format::Classic => Ok(Self::Comment),
            None => parse_sample(line, format).map(Self::Sample),
        }
    }

    fn comment(rest: &'a str, format: Format) -> Result<Self, String> {
        let words: Vec<&str> = rest.splitn(4, ' ').collect();
        let text = words.get(3).copied().unwrap_or_default();
        let (Some(&keyword), Some(&name)) = (words.get(1), words.get(2)) else { return other(format) };
        match keyword {
            "TYPE" | "HELP" | "UNIT" if !is_name(name) => Err(format!("{name:?} is no name of a metric")),
            "TYPE" => Ok(Self::Type(name, text)),
            "HELP" => {
                let quotes = if format == Format::OpenMetrics { "\"" } else { "" };
                Ok(Self::Help(name, unescape(text, quotes)?))
            }
            "UNIT" if format == Format::OpenMetrics => Ok(Self::Unit(name, text)),
            _ => other(format),
        }
    }
}

fn other<'a>(format: Format) -> Result<Line<'a>, String> {
    match format {
        Format::Classic => Ok(Line::Comment),
        Format::OpenMetrics => Err("a comment that is neither TYPE nor HELP nor UNIT".into()),
    }
}

fn parse_sample(line: &str, format: Format) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return Err(format!("{name:?} is no name of a metric"));
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let rest = rest.strip_prefix(' ').ok_or("no single space before the value")?;
    let (value, timestamp) = rest.split_once(' ').map_or((rest, None), |(value, time)| (value, Some(time)));
    if !is_number(value) {
        return Err(format!("{value:?} is no value"));
    }
    if let Some(time) = timestamp.filter(|time| !is_timestamp(time, format)) {
        return Err(format!("{time:?} is no timestamp"));
    }
    Ok(Sample { name: name.into(), labels, value: value.into(), timestamp: timestamp.map(Into::into) })
}

type Labels = BTreeMap<String, String>;

/// Labels after the opening brace, and what follows the closing one.
fn parse_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = BTreeMap::new();
    if let Some(rest) = rest.strip_prefix('}') {
        return Ok((labels, rest));
    }
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || name.contains(':') {
            return Err(format!("{name:?} is no name of a label"));
        }
        let (value, after) = quoted(after).ok_or("a label's value without an end")?;
        if labels.insert(name.to_string(), unescape(value, "\"")?).is_some() {
            return Err(format!("label {name} twice"));
        }
        match after.split_at_checked(1) {
            Some((",", more)) => rest = more,
            Some(("}", after)) => return Ok((labels, after)),
            _ => return Err("neither a comma nor a brace after a label".into()),
        }
    }
}

/// What stands before the closing quote, and what after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Some((&text[..index], &text[index + 1..])),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Only `\\`, `\n` and the characters in `quotes` may be escaped.
fn unescape(text: &str, quotes: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('\\') => plain.push('\\'),
                Some('n') => plain.push('\n'),
                Some(quote) if quotes.contains(quote) => plain.push(quote),
                other => return Err(format!("an escape that is none: \\{}", other.unwrap_or(' '))),
            },
            char => plain.push(char),
        }
    }
    Ok(plain)
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    text.bytes().next().is_some_and(letter) && text.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    matches!(text, "NaN" | "+Inf" | "-Inf") || (is_decimal(text) && text.parse::<f64>().is_ok())
}

fn is_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
}

fn is_timestamp(text: &str, format: Format) -> bool {
    match format {
        Format::Classic => text.parse::<i64>().is_ok(),
        Format::OpenMetrics => is_decimal(text) && text.parse::<f64>().is_ok(),
    }
}
