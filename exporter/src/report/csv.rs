//! The lines for a spreadsheet, and what any CSV is made of. What somebody else named, a team, a node, is text here and
//! nothing more: no cell becomes a formula.

use super::document::Document;
use super::table::label_names;

/// The lines for a spreadsheet.
pub fn csv(document: &Document) -> String {
    let labels = label_names(&document.lines);
    let fixed = [
        "energy_joules",
        "active_joules",
        "idle_joules",
        "estimated_joules",
        "held_seconds",
        "busy_seconds",
        "electricity",
        "idle_electricity",
        "hardware",
        "cost",
        "carbon_kilograms",
    ];
    let header = ["period_from", "period_to", "currency"].into_iter();
    let header = header.chain(labels.iter().map(String::as_str)).chain(fixed);
    let mut out = row(header.map(cell));
    for line in &document.lines {
        let money = |amount: fn(&super::lines::Money) -> super::amount::Amount| {
            line.money.as_ref().map(|money| amount(money).to_string()).unwrap_or_default()
        };
        let period = [&document.period.from, &document.period.to].map(|time| cell(time));
        let head = period.into_iter().chain([cell(document.currency.as_deref().unwrap_or_default())]);
        let head = head.chain(labels.iter().map(|label| cell(line.get(label))));
        let numbers = [
            line.energy_joules.to_string(),
            line.active_joules.to_string(),
            line.idle_joules.to_string(),
            line.estimated_joules.to_string(),
            line.held_seconds.to_string(),
            line.busy_seconds.to_string(),
            money(|money| money.electricity),
            money(|money| money.idle_electricity),
            money(|money| money.hardware),
            money(|money| money.cost),
            line.carbon_kilograms.map(|carbon| carbon.to_string()).unwrap_or_default(),
        ];
        out.push_str(&row(head.chain(numbers)));
    }
    out
}

/// A row of CSV out of cells that are ready.
pub fn row(cells: impl IntoIterator<Item = String>) -> String {
    cells.into_iter().collect::<Vec<_>>().join(",") + "\r\n"
}

/// A cell with text in it: always quoted; one that a spreadsheet would take for a formula begins with an apostrophe.
pub fn cell(text: &str) -> String {
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
    let is_formula = first.is_some_and(|first| "=+-@\t\r\n|%＝＋－＠".contains(first));
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(cell(text), want);
    }

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1", "|x"] {
            assert!(cell(formula).starts_with("\"'"), "{formula:?}");
        }
    }

    #[test]
    fn commas_quotes_and_breaks_stay_in_their_cell() {
        check("a,b", "\"a,b\"");
        check("a \"b\"", "\"a \"\"b\"\"\"");
        check("a\nb", "\"a\nb\"");
        check("plain", "\"plain\"");
    }
}
