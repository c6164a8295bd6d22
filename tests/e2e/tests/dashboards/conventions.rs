//! What can be said of the dashboards without asking anything: metrics, labels, units, links and layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::backfill;
use crate::board::{Board, Panel, list, root, text};

/// Labels that Prometheus or its operator adds to what it scrapes.
const TARGET: [&str; 4] = ["instance", "job", "site", "cluster"];
/// Owner labels that the dashboards know; a rules file need not have more than the first.
const OWNER: [&str; 2] = ["team", "project"];

/// The metrics of docs/metrics.md, which a test holds to the code's table, with their labels.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    page.lines().filter_map(metric).flatten().collect()
}

/// A row of a table there; a histogram has its buckets beside it.
fn metric(line: &str) -> Option<Vec<(String, BTreeSet<String>)>> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
    let name = cells[0].strip_suffix('`')?.to_owned();
    let mut labels: BTreeSet<String> =
        cells.get(3)?.split(", ").filter(|label| *label != "owner labels").map(ToOwned::to_owned).collect();
    labels.extend(TARGET.map(ToOwned::to_owned));
    if cells[3].contains("owner labels") {
        labels.extend(OWNER.map(ToOwned::to_owned));
    }
    if cells[1] != "histogram" {
        return Some(vec![(name, labels)]);
    }
    let mut bucket = labels.clone();
    bucket.insert("le".into());
    Some(vec![(format!("{name}_bucket"), bucket), (format!("{name}_count"), labels)])
}

/// What our rules record.
fn recorded() -> BTreeSet<String> {
    let files = ["recording", "prices", "budgets"].map(|name| format!("rules/prometheus/{name}.rules.yaml"));
    files.iter().flat_map(|file| backfill::rules(&root().join(file))).map(|rule| rule.record).collect()
}

/// Names of metrics in an expression, with what stands in the braces after them.
fn selectors(expr: &str) -> Vec<(String, String)> {
    let part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut found = vec![];
    let mut rest = expr;
    while let Some(at) = rest.find(part) {
        let word: String = rest[at..].chars().take_while(|char| part(*char)).collect();
        rest = &rest[at + word.len()..];
        let braces =
            rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).map_or("", |(inner, _)| inner);
        if word.starts_with("wattribute_")
            || word.starts_with("process_")
            || word.contains(':') && !braces.is_empty()
        {
            found.push((word, braces.to_owned()));
            rest = &rest[braces.len()..];
        } else if word.contains(':') && word.chars().next().is_some_and(char::is_alphabetic) {
            found.push((word, String::new()));
        }
    }
    found
}

/// Names of labels in braces.
fn matched(braces: &str) -> BTreeSet<String> {
    let outside: String = braces.split('"').step_by(2).collect();
    let names =
        outside.split(',').map(|one| one.split(['=', '!']).next().unwrap_or_default().trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// What all queries of all dashboards name: (dashboard, metric, what stands in its braces).
pub fn named() -> Vec<(&'static str, String, String)> {
    let exprs = |board: &Board| -> Vec<String> {
        let panels = board.panels().into_iter().flat_map(|panel| panel.targets).map(|target| target.expr);
        panels.chain(board.variables().into_iter().map(|one| one.selector)).collect()
    };
    let of = |board: Board| {
        let all = exprs(&board);
        all.into_iter().flat_map(move |expr| {
            selectors(&expr).into_iter().map(move |(name, braces)| (board.name, name, braces))
        })
    };
    Board::all().into_iter().flat_map(of).collect()
}

#[test]
fn metrics_and_their_labels_exist() {
    let (metrics, recorded) = (metrics(), recorded());
    let all = named();
    assert!(all.len() > 100, "{} metrics found", all.len());
    for (board, name, braces) in all.iter().filter(|(_, name, _)| !recorded.contains(name)) {
        let labels = metrics.get(name).unwrap_or_else(|| panic!("{board}: no metric {name}"));
        let unknown: Vec<String> = matched(braces).difference(labels).cloned().collect();
        assert!(unknown.is_empty(), "{board}: {name} has no {unknown:?}");
    }
}

#[test]
fn units_are_grafanas() {
    let all = include_str!("units.txt");
    let known: BTreeSet<&str> = all.lines().filter(|line| !line.starts_with('#')).collect();
    for board in Board::all() {
        for panel in board.panels() {
            let mut units = vec![text(&panel.json["fieldConfig"]["defaults"]["unit"])];
            let overrides = list(&panel.json["fieldConfig"]["overrides"]).iter();
            let set = overrides.flat_map(|one| list(&one["properties"])).filter(|one| one["id"] == "unit");
            units.extend(set.map(|one| text(&one["value"])));
            for unit in units {
                let format = unit.split_once(':').is_some_and(|(kind, _)| kind == "time");
                assert!(format || known.contains(&*unit), "{}: {}: unit {unit:?}", board.name, panel.title);
            }
        }
    }
}

#[test]
fn panels_say_what_they_show_and_ask_the_data_source_that_was_chosen() {
    for board in Board::all() {
        let mut ids = BTreeSet::new();
        for panel in board.panels() {
            let what = format!("{}: {}", board.name, panel.title);
            assert!(ids.insert(panel.json["id"].as_u64()), "{what}: the id is taken");
            assert!(text(&panel.json["description"]).ends_with('.'), "{what}: no description");
            assert_eq!(panel.json["datasource"]["uid"], "${datasource}", "{what}");
            assert!(!panel.targets.is_empty(), "{what}: asks nothing");
            let named = panel.kind == "table"
                || list(&panel.json["targets"]).iter().all(|one| one["legendFormat"].is_string());
            assert!(named, "{what}: a query without a legend");
        }
    }
}

fn place(panel: &Panel) -> [u64; 4] {
    ["x", "y", "w", "h"].map(|name| panel.json["gridPos"][name].as_u64().expect("a number"))
}

#[test]
fn panels_fill_the_page_without_a_gap_or_an_overlap() {
    for board in Board::all() {
        let mut cells: BTreeMap<(u64, u64), String> = BTreeMap::new();
        for panel in board.panels() {
            let [x, y, w, h] = place(&panel);
            for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
                let before = cells.insert(cell, panel.title.clone());
                assert_eq!(before, None, "{}: {} lies on another panel", board.name, panel.title);
            }
        }
        let rows = cells.keys().map(|(row, _)| row + 1).max().expect("a panel");
        assert_eq!(cells.len() as u64, rows * 24, "{}: a gap, or beyond the 24 columns", board.name);
    }
}

/// All texts in a value that are addresses of dashboards.
fn addresses(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.starts_with("/d/") => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(addresses).collect(),
        Value::Object(pairs) => pairs.values().flat_map(addresses).collect(),
        _ => vec![],
    }
}

#[test]
fn links_lead_to_dashboards_and_set_variables_that_are_there() {
    let boards = Board::all();
    let named: BTreeMap<String, &Board> =
        boards.iter().map(|board| (text(&board.json["uid"]), board)).collect();
    for board in &boards {
        let all = addresses(&board.json);
        assert!(!all.is_empty() || board.name == "accounting", "{}: leads nowhere", board.name);
        for address in all {
            let (uid, query) = address["/d/".len()..].split_once('?').expect("variables");
            let goal = named.get(uid).unwrap_or_else(|| panic!("{}: no dashboard {uid}", board.name));
            let there: Vec<String> =
                list(&goal.json["templating"]["list"]).iter().map(|one| text(&one["name"])).collect();
            for pair in query.split('&') {
                let name = pair.split('=').next().and_then(|name| name.strip_prefix("var-"));
                assert!(
                    name.is_some_and(|name| there.iter().any(|one| one == name)),
                    "{}: {address}",
                    board.name
                );
            }
        }
    }
}
