//! Lines as rows of cells: for terminals, spreadsheets and FOCUS. What somebody else named, a team, a node, is text here
//! and nothing more: no control character reaches a terminal, no cell becomes a formula.

use std::fmt::Write;

use super::document::Document;
use super::lines::{Decimal, Joules, Line, Seconds};

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
            row.extend(columns.map(|cents| cents.to_string()));
        }
        row.push(line.carbon_kilograms.map_or(NONE.into(), |carbon| carbon.to_string()));
        rows.push(row);
    }
    aligned(&rows, labels.len())
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
        let money = |amount: fn(&super::lines::Money) -> super::lines::Cents| {
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

/// Columns of FOCUS 1.2 in the order of their names, as the specification lists them.
const FOCUS: &[&str] = &[
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
];

/// The lines as FOCUS 1.2: two charges a line, electricity and hardware.
///
/// # Errors
/// Where there are no prices.
pub fn focus(document: &Document) -> Result<String, String> {
    if document.currency.is_none() {
        return Err("FOCUS is about cost: give --prices".into());
    }
    let mut out = row(FOCUS.iter().map(|column| cell(column)));
    for line in &document.lines {
        let Some(money) = &line.money else { continue };
        for charge in [
            Charge {
                what: "Electricity",
                unit: "kWh",
                quantity: in_kwh(line.energy_joules),
                cost: money.electricity,
            },
            Charge {
                what: "GPU time",
                unit: "Hours",
                quantity: in_hours(line.held_seconds),
                cost: money.hardware,
            },
        ] {
            out.push_str(&row(FOCUS.iter().map(|column| charge.column(column, line, document))));
        }
    }
    Ok(out)
}

struct Charge {
    what: &'static str,
    unit: &'static str,
    quantity: Decimal<9>,
    cost: super::lines::Cents,
}

impl Charge {
    fn column(&self, column: &str, line: &Line, document: &Document) -> String {
        let (team, model, node) = (line.get("team"), line.get("model"), line.get("node"));
        match column {
            "BilledCost" | "EffectiveCost" | "ListCost" | "ContractedCost" => self.cost.to_string(),
            "ConsumedQuantity" | "PricingQuantity" => self.quantity.to_string(),
            "ConsumedUnit" | "PricingUnit" => cell(self.unit),
            "BillingCurrency" => cell(document.currency.as_deref().unwrap_or_default()),
            "BillingPeriodStart" | "ChargePeriodStart" => cell(&document.period.from),
            "BillingPeriodEnd" | "ChargePeriodEnd" => cell(&document.period.to),
            "ChargeCategory" => cell("Usage"),
            "ChargeFrequency" => cell("Usage-Based"),
            "PricingCategory" => cell("Standard"),
            "ChargeDescription" => cell(&format!("{} of {model}", self.what)),
            "ServiceCategory" => cell("Compute"),
            "ServiceSubcategory" => cell("Other (Compute)"),
            "ServiceName" => cell("GPU"),
            "ProviderName" | "PublisherName" | "InvoiceIssuerName" | "BillingAccountId"
            | "BillingAccountName" => cell("Wattribute"),
            "BillingAccountType" => cell("Site"),
            "SubAccountId" | "SubAccountName" => cell(team),
            "SubAccountType" => cell("Team"),
            "RegionId" | "RegionName" => cell(line.get("site")),
            "ResourceId" | "ResourceName" => cell(node),
            "ResourceType" => cell("Node"),
            "SkuId" | "SkuPriceId" => cell(&format!("{} {model}", self.what)),
            "SkuMeter" => cell(self.what),
            "Tags" => {
                let tags: serde_json::Map<String, serde_json::Value> =
                    line.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
                cell(&serde_json::Value::Object(tags).to_string())
            }
            // Null in FOCUS, which in CSV is nothing: unit prices change with the hour, and there is no invoice.
            _ => String::new(),
        }
    }
}

fn in_kwh(joules: Joules) -> Decimal<9> {
    Decimal(narrow((u128::from(joules.0) * 1_000_000_000 + 1_800_000_000) / 3_600_000_000))
}

fn in_hours(seconds: Seconds) -> Decimal<9> {
    Decimal(narrow((u128::from(seconds.0) * 1_000_000_000 + 1_800_000_000) / 3_600_000_000))
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
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
    fn kilowatt_hours_are_decimals() {
        assert_eq!(in_kwh(Decimal(3_600_000_000)).to_string(), "1.000000000");
        assert_eq!(in_kwh(Decimal(1)).to_string(), "0.000000000");
        assert_eq!(in_hours(Decimal(1_800_000_000)).to_string(), "0.500000000");
        assert_eq!(kwh(Decimal(5_400_000)).to_string(), "0.002");
    }
}
