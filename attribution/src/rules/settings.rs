//! What stands in at most one of the files: labels, idle policy, idle watts and limits.

use std::sync::Arc;

use super::pattern::Pattern;
use super::problem::{Fault, Report, quote};
use super::schema;
use super::yaml::Node;
use crate::owner::TEAM;
use crate::split::IdlePolicy;
use crate::units::Milliwatts;

/// Label names that our metrics, Prometheus or the rules over them use otherwise.
const TAKEN: &[&str] = &[
    "job",
    "instance",
    "le",
    "quantile",
    "gpu",
    "uuid",
    "kind",
    "pid",
    "comm",
    "user",
    "rule",
    "evidence",
    "workload",
    "model",
    "site",
    "cluster",
    "node",
    "currency",
    "month",
    "component",
    "source",
    "basis",
];

/// The names of the owner labels. Faulty names are kept, so that their uses are not reported again.
pub(super) fn labels(node: &Node, report: &mut Report<'_>) -> Option<Vec<Arc<str>>> {
    const KEY: &str = "labels";
    let mut labels: Vec<Arc<str>> = Vec::new();
    for item in schema::list(node, KEY, report)? {
        let Some(name) = schema::text(item, KEY, report) else { continue };
        report.check(item.line, check_label_name(name).map_err(|fault| fault.key(KEY)));
        if labels.iter().any(|label| &**label == name) {
            report.add(item.line, Fault::new(format!("{} comes twice", quote(name))).key(KEY));
        } else {
            labels.push(name.into());
        }
    }
    if labels.first().is_none_or(|first| &**first != TEAM) {
        report.add(
            node.line,
            Fault::new("team is not the first label").key(KEY).help("write `labels: [team, …]`"),
        );
    }
    Some(labels)
}

fn check_label_name(name: &str) -> Result<(), Fault> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(valid) || name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        let fault = Fault::new(format!("{} is no label name", quote(name)));
        return Err(fault.help("letters, digits and `_`, not a digit first"));
    }
    if TAKEN.contains(&name) || name.starts_with("__") {
        let fault = Fault::new(format!("the label {} is taken", quote(name)));
        return Err(fault.help(format!("not allowed: {} and names that start with __", TAKEN.join(" "))));
    }
    Ok(())
}

/// Who pays for idle energy.
pub(super) fn idle_policy(node: &Node, report: &mut Report<'_>) -> Option<IdlePolicy> {
    const KEY: &str = "idle_policy";
    const NAMES: [&str; 3] = ["holders", "proportional", "separate"];
    let policy = match schema::text(node, KEY, report)? {
        "holders" => Ok(IdlePolicy::Holders),
        "proportional" => Ok(IdlePolicy::Proportional),
        "separate" => Ok(IdlePolicy::Separate),
        other => Err(Fault::unknown("policy", other, NAMES).or_help(format!("one of {}", NAMES.join(", ")))),
    };
    report.check(node.line, policy.map_err(|fault| fault.key(KEY)))
}

/// Watts of idle GPUs, by regular expressions of the model, in the order of the file.
pub(super) fn idle_watts(node: &Node, report: &mut Report<'_>) -> Option<Vec<(Pattern, Milliwatts)>> {
    let mut idle = Vec::new();
    for entry in schema::map(node, "idle_watts", report)? {
        let key = format!("idle_watts.{}", quote(&entry.key));
        let model =
            report.check(entry.line, Pattern::compile(&entry.key).map_err(|fault| fault.key("idle_watts")));
        let Some(text) = schema::text(&entry.value, &key, report) else { continue };
        let watts = parse_watts(text).ok_or_else(|| {
            let fault = Fault::new(format!("{} is no power in watts", quote(text))).key(key);
            fault.help("a number below a million, with up to three decimals")
        });
        if let (Some(model), Some(watts)) = (model, report.check(entry.value.line, watts)) {
            idle.push((model, watts));
        }
    }
    Some(idle)
}

fn parse_watts(text: &str) -> Option<Milliwatts> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 6) || !digits(part, 3) {
        return None;
    }
    format!("{whole}{part:0<3}").parse().ok().map(Milliwatts)
}

/// The number of owners that may hold energy.
pub(super) fn owner_limit(node: &Node, report: &mut Report<'_>) -> Option<usize> {
    const KEY: &str = "limits.owners";
    let entries = schema::map(node, "limits", report)?;
    schema::check_keys(entries, &["owners"], report);
    let value = &schema::get(entries, "owners")?.value;
    let text = schema::text(value, KEY, report)?;
    let limit = text.parse().ok().filter(|limit| (1..=1_000_000).contains(limit));
    let fault = || Fault::new(format!("{} is no number of owners", quote(text))).key(KEY);
    report.check(value.line, limit.ok_or_else(|| fault().help("a whole number from 1 to 1000000")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<u64>) {
        assert_eq!(parse_watts(text), want.map(Milliwatts));
    }

    #[test]
    fn watts_are_decimals_without_a_float() {
        check("72", Some(72_000));
        check("72.5", Some(72_500));
        check("0.001", Some(1));
        check("-1", None);
        check("72.0005", None);
        check("7e1", None);
        check("", None);
    }
}
