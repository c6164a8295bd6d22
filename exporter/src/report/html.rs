//! The report as one page: no script, nothing from elsewhere, good on a screen and on paper. What somebody else named is
//! text here; the page's policy forbids everything else.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::amount::Amount;
use super::document::Document;
use super::lines::Line;
use super::table::{kwh, label_names};

mod books;

/// How many teams have a colour of their own; the others share one.
const COLOURED: usize = 7;
/// Told apart by people who see colours differently too (Okabe and Ito); the last is for all others.
const COLOURS: [&str; COLOURED + 1] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#8a8f98"];
/// The page.
pub fn page(document: &Document) -> String {
    let period = &document.period;
    let (from, to) = (&period.from[..10], &period.to[..10]);
    let title = format!("GPU chargeback, {from} to {to}");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<header>\n<h1>GPU chargeback</h1>\n\
         <p>{} to {}, {}; {} hours</p>\n</header>\n",
        include_str!("page.css"),
        escape(&period.from),
        escape(&period.to),
        escape(&period.time_zone),
        period.hours,
    );
    out.push_str(&headline(document));
    let colours = colours(document);
    let _ = writeln!(out, "<section>\n<h2>What each team costs</h2>\n{}</section>", bars(document));
    if document.days.iter().any(|day| day.date != document.days[0].date) {
        let _ = writeln!(out, "<section>\n<h2>Day by day</h2>\n{}</section>", columns(document, &colours));
    }
    let tables = [
        ("Teams", &document.teams),
        ("Owners", &document.owners),
        ("GPU models", &document.models),
        ("Nodes", &document.nodes),
        ("Sites", &document.sites),
    ];
    for (title, lines) in tables {
        let _ = writeln!(out, "<section>\n<h2>{title}</h2>\n{}</section>", table(lines, document));
    }
    out.push_str(&books::balances(document));
    out.push_str(&books::books(document));
    let _ = write!(
        out,
        "<footer>{}; from {} samples of {}. Lines are rounded so that they add up to the total; what stands as \
         “of it idle” is rounded by itself. Energy of a gap is billed in the hour of its end.</footer>\n</body>\n</html>\n",
        escape(&document.software),
        document.source.samples,
        escape(&document.source.server),
    );
    out
}

/// The few numbers that matter most.
fn headline(document: &Document) -> String {
    let (total, books) = (&document.total, &document.reconciliation);
    let mut facts = vec![];
    if let (Some(money), Some(currency)) = (&total.money, &document.currency) {
        facts.push((format!("{} {}", grouped(money.cost), escape(currency)), "in all".to_owned()));
        facts.push((grouped(money.electricity), "electricity".into()));
        facts.push((grouped(money.hardware), "hardware".into()));
    }
    facts.push((format!("{} kWh", kwh(total.energy_joules)), "energy".into()));
    if let Some(share) = total.idle_share() {
        facts.push((format!("{:.1} %", share * 100.0), "of it idle".into()));
    }
    facts.push((
        books.observed_gpu_hours.to_string(),
        format!("of {} GPU-hours watched", books.expected_gpu_hours),
    ));
    let facts = facts.iter().map(|(value, what)| format!("<div><dt>{what}</dt><dd>{value}</dd></div>\n"));
    let facts: String = facts.collect();
    let verdict = match books.differences.len() {
        0 => "<p class=\"good\">It reconciles: what every GPU counted is booked, and nothing was left out.</p>\n".into(),
        1 => "<p class=\"bad\">A difference: see <a href=\"#books\">reconciliation</a>.</p>\n".into(),
        count => format!("<p class=\"bad\">{count} differences: see <a href=\"#books\">reconciliation</a>.</p>\n"),
    };
    format!("<dl class=\"facts\">\n{facts}</dl>\n{verdict}")
}

/// What a line is worth in a chart: the smallest unit, or millijoules where nothing has a price.
fn worth(line: &Line) -> u64 {
    line.money.as_ref().map_or(line.energy_joules.0, |money| money.cost.units)
}

/// Teams, the dearest first.
fn ranked(document: &Document) -> Vec<&Line> {
    let mut teams: Vec<&Line> = document.teams.iter().collect();
    teams.sort_by_key(|line| (std::cmp::Reverse(worth(line)), line.get("team")));
    teams
}

fn colours(document: &Document) -> BTreeMap<&str, usize> {
    let teams = ranked(document).into_iter().take(COLOURED).enumerate();
    teams.map(|(index, line)| (line.get("team"), index)).collect()
}

/// A bar for each team, electricity and hardware.
fn bars(document: &Document) -> String {
    let teams = ranked(document);
    let most = teams.iter().map(|line| worth(line)).max().unwrap_or(0).max(1);
    let (height, left, width) = (24, 190, 470);
    let mut out = format!(
        "<svg viewBox=\"0 0 800 {}\" role=\"img\" aria-label=\"Cost by team\">\n",
        teams.len() * height + 30
    );
    for (index, line) in teams.iter().enumerate() {
        let top = index * height + 4;
        let name = escape(&shortened(line.get("team"), 26));
        let length = |part: u64| scaled(part, most, width);
        let _ =
            writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", left - 8, top + 13);
        let (parts, label) = match (&line.money, &document.currency) {
            (Some(money), Some(currency)) => (
                [money.hardware.units, money.electricity.units],
                format!("{} {}", grouped(money.cost), escape(currency)),
            ),
            _ => ([0, line.energy_joules.0], format!("{} kWh", kwh(line.energy_joules))),
        };
        let first = length(parts[0]);
        let _ = write!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{first}\" height=\"16\" fill=\"{}\"/>\
             <rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"16\" fill=\"{}\"/>\n\
             <text x=\"{}\" y=\"{}\">{label}</text>\n",
            COLOURS[0],
            left + first,
            length(parts[1]),
            COLOURS[1],
            left + first + length(parts[1]) + 8,
            top + 13
        );
    }
    out.push_str("</svg>\n");
    if document.currency.is_some() {
        out.push_str(&legend([("hardware", 0), ("electricity", 1)].into_iter()));
    }
    out
}

/// A column for each day, the teams above each other.
fn columns(document: &Document, colours: &BTreeMap<&str, usize>) -> String {
    let mut days: BTreeMap<&str, [u64; COLOURED + 1]> = BTreeMap::new();
    for day in &document.days {
        let worth = day.cost.map_or(day.energy_joules.0, |cost| cost.units);
        let colour = colours.get(day.team.as_str()).copied().unwrap_or(COLOURED);
        days.entry(&day.date).or_default()[colour] += worth;
    }
    let most = days.values().map(|parts| parts.iter().sum::<u64>()).max().unwrap_or(0).max(1);
    let (left, height, bottom) = (70_usize, 200_usize, 215_usize);
    let step = 720 / days.len().max(1);
    let unit = document.currency.as_deref().unwrap_or("kWh");
    let top_label = match &document.total.money {
        Some(money) => grouped(Amount { units: most, ..money.cost }),
        None => kwh(super::lines::Decimal(most)).to_string(),
    };
    let mut out = format!(
        "<svg viewBox=\"0 0 800 245\" role=\"img\" aria-label=\"Cost by day and team\">\n\
         <text x=\"{}\" y=\"20\" text-anchor=\"end\">{top_label}</text>\n\
         <text x=\"{}\" y=\"34\" text-anchor=\"end\" class=\"unit\">{}</text>\n\
         <text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
         <line x1=\"{left}\" y1=\"15\" x2=\"790\" y2=\"15\"/><line x1=\"{left}\" y1=\"{bottom}\" x2=\"790\" y2=\"{bottom}\"/>\n",
        left - 8,
        left - 8,
        escape(unit),
        left - 8,
    );
    let every = days.len().div_ceil(16).max(1);
    for (index, (date, parts)) in days.iter().enumerate() {
        let x = left + index * step + step / 10;
        let mut y = bottom;
        for (colour, part) in parts.iter().enumerate().filter(|(_, part)| **part > 0) {
            let tall = scaled(*part, most, height);
            y = y.saturating_sub(tall);
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{tall}\" fill=\"{}\"/>",
                (step * 8 / 10).clamp(1, 60),
                COLOURS[colour]
            );
        }
        if index % every == 0 {
            let _ = writeln!(out, "<text x=\"{x}\" y=\"232\">{}</text>", escape(&date[5..]));
        }
    }
    out.push_str("</svg>\n");
    let mut names: Vec<(&str, usize)> = colours.iter().map(|(team, colour)| (*team, *colour)).collect();
    names.sort_by_key(|(_, colour)| *colour);
    if document.teams.len() > COLOURED {
        names.push(("all others", COLOURED));
    }
    out + &legend(names.into_iter())
}

fn legend<'a>(names: impl Iterator<Item = (&'a str, usize)>) -> String {
    let items: String = names
        .map(|(name, colour)| {
            format!(
                "<li><svg viewBox=\"0 0 10 10\"><rect width=\"10\" height=\"10\" fill=\"{}\"/></svg>{}</li>",
                COLOURS[colour],
                escape(name)
            )
        })
        .collect();
    format!("<ul class=\"legend\">{items}</ul>\n")
}

fn scaled(part: u64, most: u64, width: usize) -> usize {
    usize::try_from(u128::from(part) * (width as u128) / u128::from(most)).unwrap_or(width)
}

fn table(lines: &[Line], document: &Document) -> String {
    let labels = label_names(lines);
    let mut head: String = labels.iter().map(|label| format!("<th>{}</th>", escape(label))).collect();
    let currency = document.currency.as_deref();
    let mut numbers =
        vec!["kWh".to_owned(), "idle".into(), "held GPU\u{2011}h".into(), "busy GPU\u{2011}h".into()];
    if let Some(currency) = currency {
        let money = ["electricity", "of it idle", "hardware", "cost"];
        numbers.extend(money.map(|name| format!("{name}, {}", escape(currency))));
    }
    numbers.push("kg CO<sub>2</sub>e".into());
    head.extend(numbers.iter().map(|name| format!("<th class=\"n\">{name}</th>")));
    let mut out = format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n");
    for line in lines.iter().chain([&document.total]) {
        let is_total = line.labels.is_empty();
        out.push_str(if is_total { "<tr class=\"total\">" } else { "<tr>" });
        for (column, label) in labels.iter().enumerate() {
            let value = if is_total && column == 0 { "total" } else { line.get(label) };
            let _ = write!(out, "<td>{}</td>", if value.is_empty() { "–".into() } else { escape(value) });
        }
        let mut cells = vec![
            kwh(line.energy_joules).to_string(),
            line.idle_share().map_or("–".into(), |share| format!("{:.1} %", share * 100.0)),
            line.held_hours().to_string(),
            line.busy_hours().to_string(),
        ];
        if let Some(money) = &line.money {
            cells
                .extend([money.electricity, money.idle_electricity, money.hardware, money.cost].map(grouped));
        }
        cells.push(line.carbon_kilograms.map_or("–".into(), |carbon| carbon.to_string()));
        cells.iter().for_each(|cell| {
            let _ = write!(out, "<td class=\"n\">{cell}</td>");
        });
        out.push_str("</tr>\n");
    }
    out + "</tbody>\n</table>\n"
}

/// With thin spaces between thousands.
fn grouped(amount: Amount) -> String {
    let (whole, fraction) = amount.parts();
    let digits = whole.len();
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (digits - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out + &fraction
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

/// As text of a page.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::amount::Minor;

    #[test]
    fn names_are_text() {
        assert_eq!(escape("<b>&\"'\u{1b}"), "&lt;b&gt;&amp;&quot;&#39;\u{fffd}");
    }

    #[test]
    fn thousands_are_apart() {
        let shown = |units, currency| grouped(Amount { units, minor: Minor::of(currency) });
        assert_eq!(shown(123_456_789, "EUR"), "1\u{202f}234\u{202f}567.89");
        assert_eq!(
            [shown(5, "EUR"), shown(99_900, "EUR"), shown(1000, "JPY")],
            ["0.05", "999.00", "1\u{202f}000"]
        );
    }
}
