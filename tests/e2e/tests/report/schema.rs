//! The documented schema of the JSON format, against real reports. The checker knows the few words of JSON Schema that the
//! document uses, and refuses others.

use regex::Regex;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../../docs/report.schema.json");

/// A report has what the schema says, and nothing else.
#[track_caller]
pub fn check_schema(report: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let wrong = violations(&schema, &schema, report, "");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Everything that a value has against a schema.
fn violations(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = vec![];
    for (word, wanted) in schema.as_object().expect("a schema is an object") {
        let is_right = match word.as_str() {
            "$ref" => {
                let pointer = wanted.as_str().expect("a reference").trim_start_matches('#');
                wrong.extend(violations(root, root.pointer(pointer).expect("it is there"), value, at));
                true
            }
            "anyOf" => wanted
                .as_array()
                .expect("a list")
                .iter()
                .any(|one| violations(root, one, value, at).is_empty()),
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|one| is_of(one, value)),
                one => is_of(one, value),
            },
            "const" => wanted == value,
            "enum" => wanted.as_array().expect("a list").contains(value),
            "pattern" => value.as_str().is_none_or(|text| {
                Regex::new(wanted.as_str().expect("a pattern")).expect("a pattern").is_match(text)
            }),
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "required" => wanted
                .as_array()
                .expect("a list")
                .iter()
                .all(|name| value.is_null() || value.get(name.as_str().expect("a name")).is_some()),
            "properties" => {
                for (name, schema) in wanted.as_object().expect("an object") {
                    let found =
                        value.get(name).map(|value| violations(root, schema, value, &format!("{at}/{name}")));
                    wrong.extend(found.into_iter().flatten());
                }
                true
            }
            "additionalProperties" => others(schema, value).all(|(name, value)| match wanted {
                Value::Bool(allowed) => *allowed,
                schema => violations(root, schema, value, &format!("{at}/{name}")).is_empty(),
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong.extend(violations(root, wanted, item, &format!("{at}/{index}")));
                }
                true
            }
            "$schema" | "$defs" | "title" | "description" => true,
            other => panic!("the checker does not know {other:?}"),
        };
        if !is_right {
            let value: String = value.to_string().chars().take(80).collect();
            wrong.push(format!("{at}: {word} {wanted}: {value}"));
        }
    }
    wrong
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the checker does not know the type {other:?}"),
    }
}

/// Members that the schema does not name.
fn others<'a>(schema: &'a Value, value: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let named = schema.get("properties");
    let is_other = move |name: &str| named.is_none_or(|named| named.get(name).is_none());
    value.as_object().into_iter().flatten().filter(move |(name, _)| is_other(name))
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let line = |text: &str| {
        let value: Value = serde_json::from_str(text).expect("JSON");
        violations(&schema, &schema["$defs"]["line"], &value, "").len()
    };
    let good = r#"{"labels":{"team":"a"},"energy_joules":"1.000","active_joules":"1.000","idle_joules":"0.000",
        "estimated_joules":"0.000","held_seconds":"0.000000","busy_seconds":"0.000000"}"#;
    assert_eq!(line(good), 0);
    for (what, with) in [("\"1.000\"", "1.0"), ("\"1.000\"", "\"1e3\""), ("labels", "label"), ("\"a\"", "7")]
    {
        assert!(line(&good.replacen(what, with, 1)) > 0, "{with}");
    }
}
