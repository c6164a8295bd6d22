//! The two commands: reads what they need, and writes what they have to say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::collect::{Collection, Plan, collect};
use super::document::{Circumstances, Document, document};
use super::extract::Extract;
use super::period::Period;
use super::rates::Rater;
use super::server::Server;
use super::table;
use crate::cli::{BillFormat, Differences, Report, Verify};
use crate::clock;

/// Writes a report. The exit status is 0; 1 where there is none, or where it has differences and is to be strict.
pub fn report(typed: &Report) -> ExitCode {
    match bill(typed) {
        Ok(document) if document.reconciliation.differences.is_empty() => ExitCode::SUCCESS,
        Ok(document) => {
            let count = document.reconciliation.differences.len();
            let _ = writeln!(io::stderr(), "the report has {count} differences: see its reconciliation");
            match typed.differences() {
                Differences::Show => ExitCode::SUCCESS,
                Differences::Fail => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Verifies reports.
pub fn verify(_typed: &Verify) -> ExitCode {
    ExitCode::FAILURE
}

fn bill(typed: &Report) -> Result<Document, String> {
    let rater = Rater::read(typed.prices.as_deref(), typed.budgets.as_deref())?;
    let plan = plan(typed, &rater)?;
    let inventory = typed.inventory.as_deref().map(inventory).transpose()?;
    let found = fetch(typed, &plan, &rater, Extract::Nowhere)?;
    let given = Circumstances {
        plan: &plan,
        rater: &rater,
        server: &typed.access.url,
        matchers: &typed.access.matchers,
        node_label: &typed.node_label,
        inventory: inventory.as_ref(),
    };
    let document = document(&found.0, &given);
    let text = written(&document, typed.format)?;
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(document)
}

fn plan(typed: &Report, rater: &Rater) -> Result<Plan, String> {
    let (period, only) = rater.with_zone(|zone| match (&typed.explain, &typed.month, &typed.from, &typed.to) {
        (Some(explain), ..) => {
            let (uuid, at) = explain.split_once('@').ok_or("--explain: write it like UUID@2026-11-03T14:00")?;
            Ok::<_, String>((Period::hour(at, zone)?, Some(uuid.to_owned())))
        }
        (_, Some(month), ..) => Ok((Period::month(month, zone)?, None)),
        (_, _, Some(from), Some(to)) => Ok((Period::between(from, to, zone)?, None)),
        _ => Err("which period? give --month, or --from and --to".into()),
    })?;
    let milliseconds = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
    let plan = Plan {
        period,
        delay_ms: milliseconds(typed.exposition_delay),
        lookback_ms: milliseconds(typed.lookback),
        only,
        team: typed.team.clone(),
    };
    let now = i64::try_from(clock::unix().0 / 1000).unwrap_or(i64::MAX);
    if plan.period.to * 1000 + plan.delay_ms > now {
        return Err("the period is not over: a bill is of a closed one, and of the exposition delay after it".into());
    }
    Ok(plan)
}

fn fetch(
    typed: &Report,
    plan: &Plan,
    rater: &Rater,
    mut extract: Extract,
) -> Result<(Collection, Extract), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let found = runtime.block_on(async {
        let mut server = Server::new(&typed.access)?;
        collect(&mut server, plan, rater, &mut extract).await
    })?;
    Ok((found, extract))
}

/// The UUIDs in the first column of a file; lines that are empty or begin with `#` say nothing.
fn inventory(path: &Path) -> Result<BTreeSet<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}: see --inventory", path.display()))?;
    let uuids = text.lines().filter_map(|line| line.split(',').next()).map(str::trim);
    let uuids = uuids.filter(|uuid| !uuid.is_empty() && !uuid.starts_with('#') && *uuid != "uuid");
    let uuids: BTreeSet<String> = uuids.map(str::to_owned).collect();
    if uuids.is_empty() {
        return Err(format!("{}: no GPU in it: write a UUID per line", path.display()));
    }
    Ok(uuids)
}

fn written(document: &Document, format: BillFormat) -> Result<String, String> {
    match format {
        BillFormat::Text => Ok(table::text(document)),
        BillFormat::Csv => Ok(table::csv(document)),
        BillFormat::Focus => table::focus(document),
        BillFormat::Json | BillFormat::Html => {
            let json = serde_json::to_string_pretty(document).map_err(|error| error.to_string())?;
            Ok(json + "\n")
        }
    }
}
