//! The two commands: reads what they need, and writes what they have to say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::collect::{Collection, Plan, collect};
use super::credits::Before;
use super::document::{Circumstances, Document, document};
use super::extract::Extract;
use super::manifest::{self, Folder, Manifest};
use super::period::{Period, rfc3339};
use super::rates::Rater;
use super::recorded::recording;
use super::server::Server;
use super::traces::{self, Servers, traces};
use super::{audit, csv, dispute, focus, html, table};
use crate::cli::{BillFormat, Differences, Report, Tolerance, Verify};
use crate::clock;
use crate::rules_file;

/// What the extract is called.
const EXTRACT: &str = "extract.csv.gz";

/// Writes a report. The exit status is 0; 1 where there is none, or where it has differences and is to be strict.
pub fn report(typed: &Report) -> ExitCode {
    match bill(typed) {
        Ok(document) if document.reconciliation.differences.is_empty() => ExitCode::SUCCESS,
        Ok(document) => {
            let count = document.reconciliation.differences.len();
            let what = if count == 1 { "difference" } else { "differences" };
            let _ = writeln!(io::stderr(), "the report has {count} {what}: see its reconciliation");
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

/// Verifies reports. The exit status is 1 where anything was changed.
pub fn verify(typed: &Verify) -> ExitCode {
    let findings = audit::audit(typed);
    let _ = io::stdout()
        .write_all(findings.right.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    for wrong in &findings.wrong {
        let _ = writeln!(io::stderr(), "{wrong}");
    }
    if findings.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bill(typed: &Report) -> Result<Document, String> {
    let rater = Rater::read(typed.prices.as_deref(), typed.budgets.as_deref())?;
    let plan = plan(typed, &rater)?;
    let inventory = typed.inventory.as_deref().map(inventory).transpose()?;
    let folder = typed.out.as_deref().map(Folder::begin).transpose()?;
    let chain = Chain::read(typed, &plan)?;
    let before = Before::read(typed.previous.as_deref(), typed.amends.as_deref(), rater.currency())?;
    if rater.budgets().is_none() && before.as_ref().is_some_and(Before::has_credits) {
        return Err("--previous: it has balances of credits, which would end here: give --budgets".into());
    }
    let extract = match &folder {
        Some(folder) => {
            Extract::create(&folder.path(EXTRACT)).map_err(|error| format!("{EXTRACT}: {error}"))?
        }
        None if plan.only.is_some() => Extract::Kept(vec![]),
        None => Extract::Nowhere,
    };
    let (found, extract) = fetch(typed, &plan, &rater, extract)?;
    let kept = extract.finish().map_err(|error| format!("{EXTRACT}: {error}"))?;
    let given = Circumstances {
        plan: &plan,
        rater: &rater,
        server: &typed.access.url,
        matchers: &typed.access.matchers,
        node_label: &typed.node_label,
        inventory: inventory.as_ref(),
        tolerance: typed.rules_tolerance,
        before: before.as_ref(),
    };
    let document = document(&found, &given)?;
    let text = if plan.only.is_some() {
        dispute::explain(&document, &kept, &rater)
    } else if let Some(team) = &typed.team {
        dispute::detail(team, &document, &found, &rater)?
    } else {
        written(&document, typed.format)?
    };
    if let Some(folder) = folder {
        file(folder, typed, &document, chain)?;
    }
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(document)
}

/// The hashes of the manifests that a new one names.
struct Chain {
    period: [String; 2],
    previous: Option<String>,
    amends: Option<String>,
}

impl Chain {
    fn read(typed: &Report, plan: &Plan) -> Result<Self, String> {
        let own = [rfc3339(plan.period.from), rfc3339(plan.period.to)];
        let read = |folder: &Option<PathBuf>| folder.as_deref().map(manifest::read).transpose();
        let (previous, amended) = (read(&typed.previous)?, read(&typed.amends)?);
        if let Some((amended, _)) = &amended
            && amended.period != own
        {
            return Err("--amends: that report is of another period: an amendment is of the same".into());
        }
        if let (Some((previous, _)), None) = (&previous, &amended)
            && audit::overlap(&previous.period, &own)
        {
            return Err(
                "--previous: its period overlaps this one: what is in both would be billed twice".into()
            );
        }
        let amends = amended.map(|(_, hash)| hash);
        Ok(Self { period: own, previous: previous.map(|(_, hash)| hash).or_else(|| amends.clone()), amends })
    }
}

/// Fills the folder of a report.
fn file(folder: Folder, typed: &Report, document: &Document, chain: Chain) -> Result<(), String> {
    let mut formats = vec![
        ("report.txt", BillFormat::Text),
        ("report.csv", BillFormat::Csv),
        ("report.json", BillFormat::Json),
        ("report.html", BillFormat::Html),
    ];
    if document.currency.is_some() {
        formats.push(("focus.csv", BillFormat::Focus));
    }
    for (name, format) in formats {
        folder.write(name, written(document, format)?.as_bytes())?;
    }
    let copies = [
        ("prices.yaml", &typed.prices),
        ("budgets.yaml", &typed.budgets),
        ("inventory.csv", &typed.inventory),
    ];
    for (name, path) in copies {
        let Some(path) = path else { continue };
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        folder.write(name, &bytes)?;
    }
    let mut rules = std::collections::BTreeMap::new();
    for path in &typed.rules_files {
        let files = rules_file::files(path)?;
        for file in files {
            rules.insert(file.display().to_string(), manifest::sha256_of(&file)?);
        }
    }
    let manifest = Manifest {
        schema: manifest::SCHEMA.into(),
        software: document.software.clone(),
        written: rfc3339(i64::try_from(clock::unix().0 / 1_000_000).unwrap_or(0)),
        period: chain.period,
        files: folder.hashes()?,
        rules,
        previous: chain.previous,
        amends: chain.amends,
    };
    manifest::write(&folder, &manifest, typed.sign_key.as_deref())?;
    folder.finish()
}

fn plan(typed: &Report, rater: &Rater) -> Result<Plan, String> {
    let (period, only) =
        rater.with_zone(|zone| match (&typed.explain, &typed.month, &typed.from, &typed.to) {
            (Some(explain), ..) => {
                let (uuid, at) =
                    explain.split_once('@').ok_or("--explain: write it like UUID@2026-11-03T14:00")?;
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
        return Err(
            "the period is not over: a bill is of a closed one, and of the exposition delay after it".into(),
        );
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
        let mut found = collect(&mut server, plan, rater, &mut extract).await?;
        if plan.only.is_none() && typed.rules_tolerance != Tolerance::Off {
            let matchers = typed.rules_match.as_deref().unwrap_or(&typed.access.matchers);
            found.recording = recording(&mut server, plan.period, matchers, rater.currency()).await?;
        }
        if let Some(team) = &plan.team {
            let access = traces::of_team(&typed.access, team);
            let servers = Servers { of_team: Server::new(&access)?, all: &mut server };
            found.traces = traces(servers, plan, rater, &found).await?;
        }
        Ok::<_, String>(found)
    })?;
    Ok((found, extract))
}

/// The UUIDs in the first column of a file; lines that are empty or begin with `#` say nothing.
fn inventory(path: &Path) -> Result<BTreeSet<String>, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{}: {error}: see --inventory", path.display()))?;
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
        BillFormat::Csv => Ok(csv::csv(document)),
        BillFormat::Focus => focus::focus(document),
        BillFormat::Html => Ok(html::page(document)),
        BillFormat::Json => {
            let json = serde_json::to_string_pretty(document).map_err(|error| error.to_string())?;
            Ok(json + "\n")
        }
    }
}
