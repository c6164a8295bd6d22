//! A dashboard as Grafana reads it: panels, variables, and the queries that they send.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The dashboards, by the name of their file.
pub const BOARDS: [&str; 4] = ["fleet", "team", "gpu", "accounting"];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A dashboard, as its JSON.
#[derive(Clone, Debug)]
pub struct Board {
    pub name: &'static str,
    pub json: Value,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Target {
    pub expr: String,
    pub ref_id: String,
    pub instant: bool,
}

/// A panel that asks something.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub kind: String,
    pub json: Value,
    pub targets: Vec<Target>,
}

/// A variable that is asked for: `label_values(selector, label)`.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub selector: String,
    pub label: String,
    pub all: Option<String>,
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Board {
    #[track_caller]
    pub fn read(name: &'static str) -> Self {
        let path = root().join("dashboards").join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name, json: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")) }
    }

    pub fn all() -> Vec<Self> {
        BOARDS.into_iter().map(Self::read).collect()
    }

    pub fn panels(&self) -> Vec<Panel> {
        list(&self.json["panels"]).iter().map(panel).collect()
    }

    #[track_caller]
    pub fn variables(&self) -> Vec<Variable> {
        let all = list(&self.json["templating"]["list"]).iter();
        all.filter(|one| one["type"] == "query").map(|one| self.variable(one)).collect()
    }

    #[track_caller]
    fn variable(&self, one: &Value) -> Variable {
        let query = text(&one["query"]["query"]);
        let parts = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = parts
            .and_then(|parts| parts.rsplit_once(", "))
            .unwrap_or_else(|| panic!("{}: {query:?} is not label_values(selector, label)", self.name));
        Variable {
            name: text(&one["name"]),
            selector: selector.into(),
            label: label.into(),
            all: one["includeAll"].as_bool().unwrap_or(false).then(|| text(&one["allValue"])),
        }
    }
}

fn panel(json: &Value) -> Panel {
    let target = |one: &Value| Target {
        expr: text(&one["expr"]),
        ref_id: text(&one["refId"]),
        instant: one["instant"] == true,
    };
    Panel {
        title: text(&json["title"]),
        kind: text(&json["type"]),
        targets: list(&json["targets"]).iter().map(target).collect(),
        json: json.clone(),
    }
}

/// Values of variables, as Grafana puts them into queries.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// Grafana's own: the rate interval for a scrape interval of 30 s, for this step and range in s.
    pub fn set_range(&mut self, step: u64, range: u64) {
        self.set("__rate_interval", &format!("{}s", (step + 30).max(120)));
        self.set("__interval", &format!("{step}s"));
        self.set("__range", &format!("{range}s"));
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A text with all variables replaced.
    #[track_caller]
    pub fn put_into(&self, text: &str) -> String {
        let mut out = text.to_owned();
        // The longest names first, so that none is taken for another's beginning.
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            out = out
                .replace(&format!("${{{name}}}"), &self.0[name])
                .replace(&format!("${name}"), &self.0[name]);
        }
        assert!(!out.contains('$'), "a variable that is not there: {out}");
        out
    }
}
