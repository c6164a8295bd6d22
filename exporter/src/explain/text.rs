//! The report as text for a terminal: aligned, coloured where that helps, and never wider than the terminal.

use std::fmt::Write;

use super::escape::visible;
use super::report::{Fact, Report, Rule, Said, State, Value, Verdict};

/// How the text looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The columns of the terminal; `None` where nothing is to be shortened.
    pub width: Option<usize>,
    pub paint: Paint,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Colors,
    None,
}

/// Control sequences of the terminal, by what they mean here.
#[derive(Clone, Copy)]
pub enum Ink {
    Heading,
    Good,
    Caution,
    Bad,
    Quiet,
    Plain,
}

/// A value longer than this does not push the columns behind it away.
const WIDEST: usize = 60;
/// The least that is left of a value.
const NARROWEST: usize = 20;

/// The report, with a line break at its end.
pub fn render(report: &Report, look: Look) -> String {
    let mut out = String::new();
    let title = match report.process.pid {
        Some(pid) => format!("PROCESS {pid}"),
        None => "PROCESS".into(),
    };
    let on =
        report.process.gpu_uuid.as_ref().map(|uuid| format!(" on {}", visible(uuid))).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}{on}\n\n{}", look.ink(Ink::Heading, &title), look.ink(Ink::Heading, "FACTS"));
    facts(&mut out, &report.facts, look);
    for note in &report.notes {
        let _ = writeln!(out, "  {} {}", look.ink(Ink::Caution, "note:"), visible(note));
    }
    let _ = writeln!(out, "\n{}", look.ink(Ink::Heading, "RULES"));
    rules(&mut out, &report.rules, look);
    let _ = writeln!(out, "\n{}", look.ink(Ink::Heading, "VERDICT"));
    verdict(&mut out, &report.verdict, &report.rules, look);
    out
}

/// A line of the table of facts: of ancestors there are several with one name.
struct Row<'a> {
    field: &'a str,
    value: String,
    ink: Ink,
    fact: &'a Fact,
}

fn facts(out: &mut String, facts: &[Fact], look: Look) {
    let rows: Vec<Row<'_>> = facts.iter().flat_map(rows).collect();
    let widest = |cell: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(cell).max().unwrap_or_default();
    let field = widest(&|row| count(row.field));
    let (evidence, source) = (widest(&|row| row.fact.evidence.len()), widest(&|row| count(&row.fact.source)));
    let others = field + evidence + source + 8;
    let room = look.width.map(|width| width.saturating_sub(others).max(NARROWEST));
    let column = widest(&|row| count(&row.value)).min(room.unwrap_or(WIDEST));
    for row in &rows {
        let value = room.map_or_else(|| row.value.clone(), |room| shorten(&row.value, room));
        let pad = " ".repeat(column.saturating_sub(count(&value)));
        let class = match row.fact.evidence {
            "kernel" => Ink::Good,
            "declared" => Ink::Caution,
            _ => Ink::Plain,
        };
        let _ = writeln!(
            out,
            "  {:field$}  {}{pad}  {}  {}",
            row.field,
            look.ink(row.ink, &value),
            look.ink(class, &format!("{:evidence$}", row.fact.evidence)),
            look.ink(Ink::Quiet, &visible(&row.fact.source)),
        );
    }
}

fn rows(fact: &Fact) -> Vec<Row<'_>> {
    let row = |field, value, ink| Row { field, value, ink, fact };
    match (&fact.value, fact.state) {
        (Some(Value::One(value)), _) => vec![row(&fact.field, visible(value), Ink::Plain)],
        (Some(Value::OfAncestors(values)), _) => {
            let mut rows = Vec::new();
            for value in values {
                let (value, ink) =
                    if value.is_empty() { ("-".into(), Ink::Quiet) } else { (visible(value), Ink::Plain) };
                rows.push(row(if rows.is_empty() { &fact.field } else { "" }, value, ink));
            }
            rows
        }
        (None, State::Pending) => vec![row(&fact.field, "pending".into(), Ink::Caution)],
        (None, State::Withheld) => vec![row(&fact.field, "withheld".into(), Ink::Quiet)],
        (None, _) => vec![row(&fact.field, "-".into(), Ink::Quiet)],
    }
}

fn rules(out: &mut String, rules: &[Rule], look: Look) {
    let place = |rule: &Rule| visible(&format!("{}:{}", rule.file, rule.line));
    let names = rules.iter().map(|rule| count(&visible(&rule.rule))).max().unwrap_or_default();
    let places = rules.iter().map(|rule| count(&place(rule))).max().unwrap_or_default();
    if rules.is_empty() {
        out.push_str("  there are none\n");
    }
    for rule in rules {
        let (word, ink) = match rule.outcome {
            Said::Decides => ("decides", Ink::Good),
            Said::Matches => ("matches", Ink::Quiet),
            Said::Fails => ("fails", Ink::Quiet),
            Said::Waits => ("waits", Ink::Caution),
        };
        let head = format!("{:names$}  {:places$}", visible(&rule.rule), place(rule));
        let reason = reason(rule);
        let _ = write!(out, "  {}  {}", look.ink(ink, &format!("{word:7}")), head.trim_end());
        let used = 2 + 7 + 2 + count(&head) + 2;
        let room = look.width.map(|width| width.saturating_sub(used));
        match (reason.is_empty(), room) {
            (true, _) => out.push('\n'),
            (false, None) => {
                let pad = " ".repeat(count(&head) - count(head.trim_end()));
                let _ = writeln!(out, "{pad}  {}", reason.concat());
            }
            (false, Some(room)) if room >= reason.iter().map(|part| count(part)).sum() => {
                let pad = " ".repeat(count(&head) - count(head.trim_end()));
                let _ = writeln!(out, "{pad}  {}", reason.concat());
            }
            (false, Some(_)) => {
                let room = look.width.unwrap_or(WIDEST).saturating_sub(11).max(NARROWEST);
                reason.iter().for_each(|part| {
                    let _ = write!(out, "\n           {}", shorten(part.trim_start(), room));
                });
                out.push('\n');
            }
        }
    }
}

/// Why a rule does not decide, in one or two parts.
fn reason(rule: &Rule) -> Vec<String> {
    if let Some(matcher) = &rule.matcher {
        let found = match &rule.found {
            None => "found: withheld".to_owned(),
            Some(Value::One(value)) if value.is_empty() => "found nothing".to_owned(),
            Some(Value::One(value)) => format!("found \"{}\"", visible(value)),
            Some(Value::OfAncestors(values)) if values.is_empty() => "found no ancestors".to_owned(),
            Some(Value::OfAncestors(values)) => {
                let values: Vec<String> =
                    values.iter().map(|value| format!("\"{}\"", visible(value))).collect();
                format!("found {}", values.join(", "))
            }
        };
        return vec![visible(matcher), format!("  {found}")];
    }
    if let Some(field) = &rule.waits_for {
        return vec![format!("for {field}")];
    }
    if let Some(earlier) = &rule.earlier {
        return vec![format!("but \"{}\" comes first", visible(earlier))];
    }
    match (&rule.key, rule.outcome) {
        (Some(key), _) => vec![format!("its table has no key \"{}\"", visible(key))],
        (None, Said::Fails) => vec!["its table has no such key".into()],
        (None, _) => Vec::new(),
    }
}

fn verdict(out: &mut String, verdict: &Verdict, rules: &[Rule], look: Look) {
    if let Some(field) = &verdict.waits_for {
        let _ = writeln!(out, "  {}: waits for {field}", look.ink(Ink::Caution, "none yet"));
    }
    if let Some(owner) = &verdict.owner {
        let team = owner.iter().filter(|(label, _)| *label == "team");
        let others = owner.iter().filter(|(label, _)| *label != "team");
        let labels = team.chain(others).map(|(label, value)| format!("{label}={}", visible(value)));
        let ink = if verdict.refusal.is_some() { Ink::Caution } else { Ink::Good };
        let _ = writeln!(out, "  {}", look.ink(ink, &labels.collect::<Vec<_>>().join("  ")));
    }
    if let (Some(name), Some(evidence)) = (&verdict.rule, verdict.evidence) {
        let place = rules.iter().find(|rule| rule.rule == *name);
        let place = place.map(|rule| format!(" ({}:{})", visible(&rule.file), rule.line)).unwrap_or_default();
        let _ = writeln!(out, "  by rule \"{}\"{place}, on {evidence} evidence", visible(name));
    }
    if let Some(refusal) = verdict.refusal {
        let _ = writeln!(out, "  because: {}", refusal.replace('_', " "));
    }
    if verdict.ignored {
        out.push_str("  it holds no GPU: `ignore` names it\n");
    }
}

impl Look {
    /// The text in this colour, if there are colours.
    pub fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Heading => "1",
            Ink::Good => "32",
            Ink::Caution => "33",
            Ink::Bad => "31",
            Ink::Quiet => "2",
            Ink::Plain => return text.to_owned(),
        };
        if self.paint == Paint::None { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// The text with its middle left out, if it has more characters than there is room for.
fn shorten(text: &str, room: usize) -> String {
    let length = count(text);
    if length <= room {
        return text.to_owned();
    }
    let (head, tail) = (room.div_ceil(2).saturating_sub(1), room / 2);
    let begin: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{begin}…{end}")
}
