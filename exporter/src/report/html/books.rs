//! The tables of the page that say what is left and whether everything is there.

use std::fmt::Write;

use super::escape;
use crate::report::document::Document;
use crate::report::lines::Decimal;
use crate::report::recorded::{Comparison, REASON};

/// How many gaps and differences the page lists.
const LISTED: usize = 200;

/// Budgets and credits, where there are any.
pub fn balances(document: &Document) -> String {
    let mut out = String::new();
    if !document.balances.is_empty() {
        let rows = document.balances.iter().map(|balance| {
            let names = [Some(&balance.team), balance.project.as_ref()];
            let names = names.map(|name| name.map_or("–".into(), |name| escape(name)));
            row(&names, &[&balance.budget, &balance.cost, &balance.left], balance.used_up.as_deref())
        });
        out.push_str(&section(
            "Budgets",
            [&["team", "project"], &["budget", "cost", "left"]],
            &rows.collect::<String>(),
        ));
    }
    let accounts = document.credits.as_ref().map_or(&[][..], |credits| &credits.teams);
    if !accounts.is_empty() {
        let rows = accounts.iter().map(|one| {
            let amounts = [&one.opening, &one.added, &one.returned, &one.consumed, &one.closing];
            row(&[escape(&one.team)], &amounts, one.used_up.as_deref())
        });
        let amounts = ["opening", "added", "returned", "consumed", "closing"];
        out.push_str(&section("Credits", [&["team"], &amounts], &rows.collect::<String>()));
    }
    out
}

fn section(title: &str, [names, amounts]: [&[&str]; 2], rows: &str) -> String {
    let names: String = names.iter().map(|name| format!("<th>{name}</th>")).collect();
    let amounts: String = amounts.iter().map(|name| format!("<th class=\"n\">{name}</th>")).collect();
    format!(
        "<section>\n<h2>{title}</h2>\n<table>\n<thead><tr>{names}{amounts}<th>used up on, at this rate</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )
}

fn row(names: &[String], amounts: &[&String], used_up: Option<&str>) -> String {
    let names: String = names.iter().map(|name| format!("<td>{name}</td>")).collect();
    let amounts: String = amounts.iter().map(|amount| format!("<td class=\"n\">{amount}</td>")).collect();
    format!("<tr>{names}{amounts}<td>{}</td></tr>\n", used_up.map_or("–".into(), escape))
}

/// The reconciliation.
pub fn books(document: &Document) -> String {
    let books = &document.reconciliation;
    let mut out = String::from(
        "<section id=\"books\">\n<h2>Reconciliation</h2>\n<table>\n<thead><tr><th>GPU</th><th>model</th><th>node</th>\
         <th class=\"n\">counted, J</th><th class=\"n\">teams</th><th class=\"n\">idle</th>\
         <th class=\"n\">unattributed</th><th class=\"n\">unallocated</th><th class=\"n\">unobserved</th>\
         <th class=\"n\">other</th><th class=\"n\">difference</th></tr></thead>\n<tbody>\n",
    );
    for gpu in &books.gpus {
        let shares = &gpu.shares;
        let other = Decimal::<3>(shares.shared_idle.0 + shares.overflow.0);
        let counted = gpu.device_joules.map_or("–".into(), |joules| joules.to_string());
        let numbers = [
            counted,
            shares.teams_active.to_string(),
            shares.teams_idle.to_string(),
            shares.unattributed.to_string(),
            shares.unallocated.to_string(),
            shares.unobserved.to_string(),
            other.to_string(),
            gpu.difference_joules.clone().unwrap_or_else(|| "–".into()),
        ];
        let numbers: String = numbers.iter().map(|number| format!("<td class=\"n\">{number}</td>")).collect();
        let names: String = [&gpu.uuid, &gpu.model, &gpu.node]
            .iter()
            .map(|name| format!("<td>{}</td>", escape(name)))
            .collect();
        let _ = writeln!(out, "<tr>{names}{numbers}</tr>");
    }
    out.push_str("</tbody>\n</table>\n");
    let gaps = books.gaps.iter().map(|gap| {
        format!(
            "{}: no scrape from {} to {}; {} J over it; may hide {}",
            gap.uuid, gap.from, gap.to, gap.energy_joules, gap.may_hide
        )
    });
    out.push_str(&list("Differences", books.differences.iter().cloned()));
    out.push_str(&list("Times without scrapes", gaps));
    out.push_str(&rules(&books.rules));
    out + "</section>\n"
}

/// What the recording rules have of the same hours.
fn rules(rules: &Comparison) -> String {
    let Some(tolerance) = &rules.tolerance_percent else {
        return format!("<h3>Recording rules</h3>\n<p>{}.</p>\n", escape(rules.state));
    };
    let mut out = format!(
        "<h3>Recording rules</h3>\n<p>{} of {} hours are recorded. They may be {} % apart: {REASON}.</p>\n<table>\n\
         <thead><tr><th>team</th><th>figure</th><th class=\"n\">rules</th><th class=\"n\">report</th>\
         <th class=\"n\">%</th></tr></thead>\n<tbody>\n",
        rules.recorded_hours,
        rules.expected_hours,
        escape(tolerance)
    );
    let beyond = rules.teams.iter().filter(|compared| !compared.is_within_tolerance).take(LISTED);
    for compared in beyond.chain(&rules.totals) {
        let _ = writeln!(
            out,
            "<tr{}><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            if compared.team.is_none() { " class=\"total\"" } else { "" },
            compared.team.as_deref().map_or("all".into(), escape),
            compared.figure.as_str().replace('_', " "),
            compared.recorded,
            compared.report,
            compared.difference_percent.as_deref().unwrap_or("–"),
        );
    }
    out + "</tbody>\n</table>\n"
}

fn list(title: &str, items: impl ExactSizeIterator<Item = String>) -> String {
    let count = items.len();
    if count == 0 {
        return String::new();
    }
    let shown: String = items.take(LISTED).map(|item| format!("<li>{}</li>\n", escape(&item))).collect();
    let more = match count.saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("<p>and {more} more: see the JSON document.</p>\n"),
    };
    format!("<h3>{title}</h3>\n<ul>\n{shown}</ul>\n{more}")
}
