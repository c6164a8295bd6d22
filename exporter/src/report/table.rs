//! The report for a terminal. What somebody else named, a team, a node, is text here and nothing more: no control character
//! reaches the terminal.

use std::fmt::Write;

use super::balance::Balance;
use super::credits::Account;
use super::document::Document;
use super::lines::{Decimal, Joules, Line};
use super::recorded::{Compared, Comparison, REASON};

/// Shown where a line has no value for a label.
const NONE: &str = "–";
/// How many gaps and differences a terminal shows.
const SHOWN: usize = 20;

/// Kilowatt-hours, in thousandths for people.
pub fn kwh(joules: Joules) -> Decimal<3> {
    Decimal((joules.0 + 1_800_000) / 3_600_000)
}

/// The report for a terminal.
pub fn text(document: &Document) -> String {
    let mut out = format!(
        "GPU chargeback {} to {} ({}), {} hours\nfrom {}\n",
        document.period.from,
        document.period.to,
        plain(&document.period.time_zone),
        document.period.hours,
        plain(&document.source.server),
    );
    let tables = [
        ("teams", &document.teams),
        ("owners", &document.owners),
        ("GPU models", &document.models),
        ("nodes", &document.nodes),
        ("sites", &document.sites),
    ];
    for (title, lines) in tables {
        // Owners with a team alone are the teams.
        if title == "owners" && lines.iter().all(|line| line.labels.len() == 1) {
            continue;
        }
        if title == "sites" && lines.iter().all(|line| line.get("site").is_empty()) {
            continue;
        }
        let _ = write!(out, "\n{title}\n{}", lines_table(lines, document));
    }
    out.push_str(&balances(document));
    let books = &document.reconciliation;
    let _ = write!(out, "\nreconciliation\n{}", gpus(document));
    let _ = writeln!(out, "watched {} of {} GPU-hours", books.observed_gpu_hours, books.expected_gpu_hours);
    for gap in books.gaps.iter().take(SHOWN) {
        let _ = writeln!(
            out,
            "no scrape of {} from {} to {} ({} J over it): may hide {}",
            plain(&gap.uuid),
            gap.from,
            gap.to,
            gap.energy_joules,
            gap.may_hide
        );
    }
    for difference in books.differences.iter().take(SHOWN) {
        let _ = writeln!(out, "difference: {}", plain(difference));
    }
    let more = books.gaps.len().max(books.differences.len()).saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(out, "and {more} more: see the other formats");
    }
    out.push_str(&rules(&books.rules));
    if books.differences.is_empty() {
        out.push_str("no difference\n");
    }
    out
}

fn lines_table(lines: &[Line], document: &Document) -> String {
    let labels = label_names(lines);
    let mut header: Vec<String> = labels.clone();
    header.extend(["kWh", "idle", "held GPU-h", "busy GPU-h"].map(str::to_owned));
    let currency = document.currency.as_deref();
    header.extend(currency.iter().flat_map(|currency| {
        ["electricity", "of it idle", "hardware", "cost"].map(|column| format!("{column} {currency}"))
    }));
    header.push("kg CO2e".into());
    let mut rows = vec![header];
    for line in lines.iter().chain([&document.total]) {
        let is_total = line.labels.is_empty();
        let mut row: Vec<String> = labels.iter().map(|label| named(line.get(label))).collect();
        if is_total && let Some(first) = row.first_mut() {
            *first = "total".into();
        }
        row.push(kwh(line.energy_joules).to_string());
        row.push(line.idle_share().map_or(NONE.into(), |share| format!("{:.1} %", share * 100.0)));
        row.push(line.held_hours().to_string());
        row.push(line.busy_hours().to_string());
        if let Some(money) = &line.money {
            let columns = [money.electricity, money.idle_electricity, money.hardware, money.cost];
            row.extend(columns.map(|amount| amount.to_string()));
        }
        row.push(line.carbon_kilograms.map_or(NONE.into(), |carbon| carbon.to_string()));
        rows.push(row);
    }
    aligned(&rows, labels.len())
}

/// Budgets and credits, where there are any.
fn balances(document: &Document) -> String {
    let mut out = String::new();
    let header = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    if !document.balances.is_empty() {
        let mut rows =
            vec![header(&["team", "project", "budget", "cost", "left", "used up on, at this rate"])];
        rows.extend(document.balances.iter().map(|balance| {
            let Balance { team, project, budget, cost, left, used_up } = balance;
            let project = project.as_deref().map_or(NONE.into(), plain);
            let used_up = used_up.as_deref().unwrap_or(NONE);
            vec![plain(team), project, budget.clone(), cost.clone(), left.clone(), used_up.into()]
        }));
        let _ = write!(out, "\nbudgets\n{}", aligned(&rows, 2));
    }
    let accounts = document.credits.as_ref().map_or(&[][..], |credits| &credits.teams);
    if !accounts.is_empty() {
        let columns =
            ["team", "opening", "added", "returned", "consumed", "closing", "used up on, at this rate"];
        let mut rows = vec![header(&columns)];
        rows.extend(accounts.iter().map(|account| {
            let Account { team, opening, added, returned, consumed, closing, used_up, .. } = account;
            let amounts = [opening, added, returned, consumed, closing].map(String::clone);
            let used_up = used_up.as_deref().unwrap_or(NONE).to_owned();
            [plain(team)].into_iter().chain(amounts).chain([used_up]).collect()
        }));
        let _ = write!(out, "\ncredits\n{}", aligned(&rows, 1));
    }
    out
}

fn gpus(document: &Document) -> String {
    let header =
        ["GPU", "node", "device J", "teams J", "idle J", "nobody's J", "unobserved J", "difference J"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for gpu in &document.reconciliation.gpus {
        let shares = &gpu.shares;
        let nobody = shares.unattributed.0 + shares.unallocated.0 + shares.shared_idle.0 + shares.overflow.0;
        rows.push(vec![
            plain(&gpu.uuid),
            named(&gpu.node),
            gpu.device_joules.map_or(NONE.into(), |joules| joules.to_string()),
            shares.teams_active.to_string(),
            shares.teams_idle.to_string(),
            Decimal::<3>(nobody).to_string(),
            shares.unobserved.to_string(),
            gpu.difference_joules.clone().unwrap_or_else(|| NONE.into()),
        ]);
    }
    aligned(&rows, 2)
}

/// What the recording rules have, in all; teams that are too far apart are among the differences.
fn rules(rules: &Comparison) -> String {
    let mut out = format!("recording rules: {}", rules.state);
    if let Some(tolerance) = &rules.tolerance_percent {
        let Comparison { recorded_hours, expected_hours, .. } = rules;
        let _ =
            write!(out, ", {recorded_hours} of {expected_hours} hours, may be {tolerance} % apart: {REASON}");
    }
    out.push('\n');
    for total in &rules.totals {
        let percent = total.difference_percent.as_deref().unwrap_or(NONE);
        let Compared { figure, recorded, report, .. } = total;
        let _ = writeln!(out, "  {}: {recorded} by the rules, {report} here, {percent} %", figure.as_str());
    }
    out
}

/// The names of all labels of some lines, in the order in which they come first.
pub fn label_names(lines: &[Line]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for (name, _) in lines.iter().flat_map(|line| &line.labels) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    // Where an owner lacks a label, its place comes first; where things are stays last.
    names.sort_by_key(|name| {
        ["site", "node", "model"].iter().position(|place| place == name).map_or(0, |at| at + 1)
    });
    names
}

fn named(value: &str) -> String {
    if value.is_empty() { NONE.into() } else { plain(value) }
}

/// Without what steers a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Columns with two spaces between them; the first `left` of them text, the others numbers.
fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().fold(String::new(), |mut out, row| {
        let mut text = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column < left {
                write!(text, "{cell:<width$}  ")
            } else {
                write!(text, "{cell:>width$}  ")
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "1.00".into()], vec!["long".into(), "100.00".into()]];
        assert_eq!(aligned(&rows, 1), "a       1.00\nlong  100.00\n");
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn kilowatt_hours_are_rounded() {
        assert_eq!(kwh(Decimal(5_400_000)).to_string(), "0.002");
    }
}
