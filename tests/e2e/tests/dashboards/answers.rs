//! Asks what Grafana would ask, and keeps the answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};
use wattribute_e2e::{Labels, Prometheus};

use crate::backfill::seconds;
use crate::board::{Board, Panel, Target, Values, text};
use crate::site::{END, START};

/// Series with their points: (Unix time in s, value).
pub type Series = Vec<(Labels, Vec<(f64, f64)>)>;

/// What one dashboard got, by panel title and query.
#[derive(Debug)]
pub struct Answers {
    pub values: Values,
    all: BTreeMap<(String, String), Series>,
}

/// The time a dashboard shows at first, in s before the end.
fn range_s(board: &Board) -> u64 {
    match text(&board.json["time"]["from"]).as_str() {
        "now/M" => END - START,
        "now-6h" => 6 * 3600,
        "now-24h" => 24 * 3600,
        other => panic!("{}: a range this test does not know: {other}", board.name),
    }
}

/// The step of a panel in s: what Grafana would take for a panel of some hundred pixels.
fn step_s(panel: &Panel, range_s: u64) -> u64 {
    let least = match text(&panel.json["interval"]).as_str() {
        "1d" => 86_400,
        "1h" => 3600,
        "5m" => 300,
        "" => 15,
        other => panic!("{}: an interval this test does not know: {other}", panel.title),
    };
    let natural =
        [15, 30, 60, 120, 300, 600, 1200, 1800, 3600].into_iter().find(|step| range_s / step <= 800);
    natural.unwrap_or(3600).max(least)
}

/// Asks for the variables, one after another: those that are wished for get their wish, others the first there is.
#[track_caller]
fn choose(server: &Prometheus, board: &Board, wishes: &[(&str, &str)]) -> Values {
    let range = range_s(board);
    let mut values = Values::default();
    values.set("datasource", "prometheus");
    for variable in board.variables() {
        let (name, label) = (&variable.name, &variable.label);
        let selector = values.put_into(&variable.selector);
        let query = format!("group by ({label}) (last_over_time({selector}[{range}s]))");
        let mut found: Vec<String> = server
            .query_at(&query, seconds(END))
            .into_iter()
            .filter_map(|(mut own, _)| own.remove(label))
            .collect();
        found.sort();
        assert!(!found.is_empty(), "{}: ${name}: nothing to choose from: {query}", board.name);
        let wish = wishes.iter().find(|(wished, _)| wished == name).map(|(_, wish)| (*wish).to_owned());
        if let Some(wish) = &wish {
            assert!(found.contains(wish), "{}: ${name} is not {wish:?} but one of {found:?}", board.name);
        }
        let value = variable.all.or(wish).unwrap_or_else(|| found[0].clone());
        values.set(name, &value);
    }
    values
}

impl Answers {
    /// Asks everything on a dashboard.
    #[track_caller]
    pub fn get(server: &Prometheus, board: &Board, wishes: &[(&str, &str)]) -> Self {
        let values = choose(server, board, wishes);
        let mut answers = Self { values, all: BTreeMap::new() };
        for panel in board.panels() {
            for target in &panel.targets {
                let series = answers.ask(server, board, (&panel, target));
                answers.all.insert((panel.title.clone(), target.ref_id.clone()), series);
            }
        }
        answers
    }

    #[track_caller]
    fn ask(&self, server: &Prometheus, board: &Board, (panel, target): (&Panel, &Target)) -> Series {
        let range = if panel.json["timeFrom"] == "1h" { 3600 } else { range_s(board) };
        let step = step_s(panel, range);
        let mut values = self.values.clone();
        values.set_range(step, range);
        let query = values.put_into(&target.expr);
        if target.instant {
            let all = server.query_at(&query, seconds(END));
            return all.into_iter().map(|(labels, value)| (labels, vec![(seconds(END), value)])).collect();
        }
        // Grafana begins steps of days at midnight.
        let from = (END - range).next_multiple_of(step.min(3600));
        server.query_range(&query, (seconds(from), seconds(END)), Duration::from_secs(step))
    }

    /// The answers to the queries of a panel that got none.
    pub fn unanswered(&self) -> Vec<&(String, String)> {
        let empty = |series: &Series| {
            !series.iter().flat_map(|(_, points)| points).any(|(_, value)| value.is_finite())
        };
        self.all.iter().filter(|(_, series)| empty(series)).map(|(key, _)| key).collect()
    }

    /// What a query got.
    #[track_caller]
    pub fn series(&self, title: &str, ref_id: &str) -> &Series {
        let found = self.all.get(&(title.to_owned(), ref_id.to_owned()));
        found.unwrap_or_else(|| panic!("no panel {title:?} with a query {ref_id:?}"))
    }

    /// The one number that a query got; of a range, the last.
    #[track_caller]
    pub fn number(&self, title: &str, ref_id: &str) -> f64 {
        let series = self.series(title, ref_id);
        assert_eq!(series.len(), 1, "{title}: one series, not {series:?}");
        series[0].1.last().expect("a point").1
    }

    /// Numbers by a label.
    #[track_caller]
    pub fn by(&self, title: &str, ref_id: &str, label: &str) -> BTreeMap<String, f64> {
        let one = |(labels, points): &(Labels, Vec<(f64, f64)>)| {
            (labels.get(label).cloned().unwrap_or_default(), points.last().expect("a point").1)
        };
        self.series(title, ref_id).iter().map(one).collect()
    }

    /// For the pictures: writes all answers to the folder that `WATTRIBUTE_PICTURES` names, if it does.
    pub fn keep(&self, board: &Board) {
        let Some(folder) = env::var_os("WATTRIBUTE_PICTURES") else { return };
        let one = |(labels, points): &(Labels, Vec<(f64, f64)>)| json!({"metric": labels, "values": points});
        let asked = |((title, ref_id), series): (&(String, String), &Series)| {
            let series: Vec<Value> = series.iter().map(one).collect();
            json!({"title": title, "refId": ref_id, "series": series})
        };
        let answers: Vec<Value> = self.all.iter().map(asked).collect();
        let variables: BTreeMap<String, String> = board
            .variables()
            .into_iter()
            .map(|one| (one.name.clone(), self.values.get(&one.name).to_owned()))
            .collect();
        let all = json!({
            "from": END - range_s(board), "to": END, "variables": variables, "answers": answers,
        });
        let path = Path::new(&folder).join(format!("{}.json", board.name));
        fs::write(&path, all.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
