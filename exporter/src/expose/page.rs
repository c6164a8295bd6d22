//! The page for people at `/`: who draws how much now, and where to go from here.
//!
//! Self-contained HTML without scripts, all text escaped, rendered anew for every request from one [`Overview`].
//! Floats are fine here: nobody bills by this page. Called by [`super::routes`].

use super::overview::{Gpu, Overview, Readiness, Rules, Team};
use super::page_processes;
use std::fmt::{self, Write};

const STYLE: &str = include_str!("page.css");
/// Where the documentation is; empty while the project has no public home.
const DOCUMENTATION: &str = env!("CARGO_PKG_REPOSITORY");

/// Renders the page.
#[must_use]
pub fn render(overview: &Overview, readiness: Readiness, telemetry_path: &str) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut out, overview, readiness, telemetry_path);
    out
}

fn write_page(out: &mut String, overview: &Overview, readiness: Readiness, path: &str) -> fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Wattribute</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<header>\n<h1><span>Watt</span>ribute</h1>\n<p>Every joule of every GPU, and who used it</p>\n\
         <nav><a href=\"{}\">metrics</a><a href=\"/-/healthy\">health</a><a href=\"/-/ready\">readiness</a>",
        Escaped(path)
    )?;
    if !DOCUMENTATION.is_empty() {
        write!(out, "<a href=\"{}\">documentation</a>", Escaped(DOCUMENTATION))?;
    }
    out.push_str("</nav>\n</header>\n");
    notices(out, overview, readiness)?;
    summary(out, overview)?;
    gpus(out, &overview.gpus)?;
    teams(out, &overview.teams)?;
    overview.processes.iter().try_for_each(|processes| page_processes::write(out, processes))?;
    writeln!(
        out,
        "<footer>wattribute {} · source {} · {} · values as of this request</footer>\n</body>\n</html>",
        Escaped(&overview.version),
        Escaped(&overview.source),
        match readiness {
            Readiness::Starting => "not ready",
            Readiness::Ready => "ready",
        }
    )
}

fn notices(out: &mut String, overview: &Overview, readiness: Readiness) -> fmt::Result {
    match overview.source.as_str() {
        "nvml" | "" => {}
        "demo" => out.push_str(
            "<div class=\"notice warn\" role=\"status\"><strong>Simulated data</strong>\
             These GPUs do not exist: the exporter runs with <code>--source demo</code>.</div>\n",
        ),
        other => writeln!(
            out,
            "<div class=\"notice warn\" role=\"status\"><strong>Not live data</strong>\
             The readings are replayed: the source is {}.</div>",
            Escaped(other)
        )?,
    }
    if readiness == Readiness::Starting {
        out.push_str(
            "<div class=\"notice warn\" role=\"status\"><strong>Starting</strong>\
             The first complete sample is not in yet.</div>\n",
        );
    }
    if let Rules::Refused { errors } = &overview.rules {
        writeln!(
            out,
            "<div class=\"notice bad\" role=\"alert\"><strong>The rules file was refused</strong>\
             The last good rules are in force.<pre>{}</pre></div>",
            Escaped(errors)
        )?;
    }
    Ok(())
}

fn summary(out: &mut String, overview: &Overview) -> fmt::Result {
    let (all, up) = (overview.gpus.len(), overview.gpus.iter().filter(|gpu| gpu.is_up).count());
    let watts: Vec<f64> = overview.gpus.iter().filter_map(|gpu| gpu.power_watts).collect();
    let watts = Some(watts.iter().sum()).filter(|_| !watts.is_empty());
    let joules: f64 = overview.teams.iter().map(|team| team.joules).sum();
    let rules = match &overview.rules {
        Rules::None => "none <small>everything is unattributed</small>".to_owned(),
        Rules::InForce { rules } => format!("{rules} <small>in force</small>"),
        Rules::Refused { .. } => "refused <small>see above</small>".to_owned(),
    };
    writeln!(
        out,
        "<dl>\n<div><dt>Power now</dt><dd>{}</dd></div>\n<div><dt>Energy accounted</dt><dd>{} <small>{}</small></dd></div>\n\
         <div><dt>GPUs</dt><dd>{up} <small>of {all} up</small></dd></div>\n<div><dt>Rules</dt><dd>{rules}</dd></div>\n</dl>",
        Reading(watts, 0, " W"),
        joules_text(joules),
        kilowatt_hours(joules),
    )
}

fn gpus(out: &mut String, gpus: &[Gpu]) -> fmt::Result {
    out.push_str("<h2>GPUs</h2>\n<div class=\"panel\">\n");
    if gpus.is_empty() {
        out.push_str("<p class=\"empty\">No GPU has been seen yet.</p>\n</div>\n");
        return Ok(());
    }
    out.push_str(
        "<table>\n<thead><tr><th class=\"number\">GPU</th><th>Model</th><th>State</th><th class=\"number\">Power</th>\
         <th class=\"number\">Utilisation</th><th class=\"number\">Temperature</th><th class=\"number\">Memory</th></tr>\
         </thead>\n<tbody>\n",
    );
    gpus.iter().try_for_each(|gpu| gpu_row(out, gpu))?;
    out.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

fn gpu_row(out: &mut String, gpu: &Gpu) -> fmt::Result {
    let state = if gpu.is_up { "<span class=\"up\">up</span>" } else { "<span class=\"down\">down</span>" };
    let gibibytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / f64::from(1 << 30));
    let percent = gpu.utilization_ratio.map(|ratio| ratio * 100.0);
    let (used, total) = (gibibytes(gpu.memory_used_bytes), gibibytes(gpu.memory_total_bytes));
    let of =
        |whole: Option<String>| whole.map(|whole| format!(" <small>/ {whole}</small>")).unwrap_or_default();
    let power_limit = of(gpu.power_limit_watts.map(|limit| format!("{limit:.0} W")));
    let memory_total = of(total.map(|total| format!("{total:.1} GiB")));
    writeln!(
        out,
        "<tr><td class=\"number\">{}</td><td>{}<small class=\"id\">{}</small></td><td>{state}</td>\
         <td class=\"number\">{}{power_limit}{}</td><td class=\"number\">{}{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}{memory_total}{}</td></tr>",
        gpu.index,
        Escaped(&gpu.model),
        Escaped(&gpu.uuid),
        Reading(gpu.power_watts, 0, " W"),
        Bar(share(gpu.power_watts, gpu.power_limit_watts)),
        Reading(percent, 0, " %"),
        Bar(gpu.utilization_ratio),
        Reading(gpu.temperature_celsius, 0, " °C"),
        Reading(used, 1, ""),
        Bar(share(used, total)),
    )
}

fn teams(out: &mut String, teams: &[Team]) -> fmt::Result {
    out.push_str("<h2>Teams <small>over all GPUs of this machine</small></h2>\n<div class=\"panel\">\n");
    if teams.is_empty() {
        out.push_str("<p class=\"empty\">Nothing has been booked yet.</p>\n</div>\n");
        return Ok(());
    }
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in teams.iter().flat_map(|team| team.owner.labels()) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    out.push_str("<table>\n<thead><tr>");
    labels.iter().try_for_each(|label| write!(out, "<th>{}</th>", Escaped(label)))?;
    out.push_str(
        "<th class=\"number\">Power now</th><th class=\"number\">Energy accounted</th>\
         <th class=\"number\">Share</th><th class=\"number\">Processes</th></tr></thead>\n<tbody>\n",
    );
    let all: f64 = teams.iter().map(|team| team.joules).sum();
    teams.iter().try_for_each(|team| team_row(out, team, &labels, all))?;
    out.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

fn team_row(out: &mut String, team: &Team, labels: &[&str], all: f64) -> fmt::Result {
    let class = if team.owner.reserved().is_some() { " class=\"reserved\"" } else { "" };
    out.push_str("<tr>");
    labels
        .iter()
        .try_for_each(|label| write!(out, "<td{class}>{}</td>", Escaped(team.owner.label(label))))?;
    let part = share(Some(team.joules), Some(all));
    writeln!(
        out,
        "<td class=\"number\">{}</td><td class=\"number\" title=\"{:.3} J\">{} <small>{}</small></td>\
         <td class=\"number\">{}{}</td><td class=\"number\">{}</td></tr>",
        Reading(team.watts, 0, " W"),
        team.joules,
        joules_text(team.joules),
        kilowatt_hours(team.joules),
        Reading(part.map(|part| part * 100.0), 1, " %"),
        Bar(part),
        team.processes,
    )
}

fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|whole| *whole > 0.0)?)
}

fn joules_text(joules: f64) -> String {
    let (scale, unit) = [(1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")]
        .into_iter()
        .find(|(scale, _)| joules >= *scale)
        .unwrap_or((1.0, "J"));
    format!("{:.*} {unit}", if scale > 1.0 { 2 } else { 0 }, joules / scale)
}

fn kilowatt_hours(joules: f64) -> String {
    format!("{:.3} kWh", joules / 3.6e6)
}

/// A reading with its digits after the point and its unit, or a dash.
pub(super) struct Reading(pub Option<f64>, pub usize, pub &'static str);

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(value), digits, unit) => write!(f, "{value:.digits$}{unit}"),
            Self(None, ..) => f.write_str("–"),
        }
    }
}

/// A bar that is full at 1; nothing where there is no reading.
pub(super) struct Bar(pub Option<f64>);

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(part) = self.0 else { return Ok(()) };
        write!(f, "<span class=\"bar\"><i style=\"width:{:.1}%\"></i></span>", part.clamp(0.0, 1.0) * 100.0)
    }
}

/// Text that cannot become markup.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattribute::owner::{Owner, Reserved};

    const GIB: f64 = 1_073_741_824.0;

    fn gpu(index: u32, watts: f64, utilization: f64) -> Gpu {
        Gpu {
            index,
            model: "NVIDIA H200".into(),
            uuid: format!("GPU-8f6d3b1e-0000-4000-8000-00000000000{index}"),
            is_up: true,
            power_watts: Some(watts),
            power_limit_watts: Some(700.0),
            utilization_ratio: Some(utilization),
            temperature_celsius: Some(31.0 + watts / 20.0),
            memory_used_bytes: Some(utilization * 120.0 * GIB),
            memory_total_bytes: Some(140.4 * GIB),
        }
    }

    fn team(labels: [&str; 2], watts: f64, joules: f64) -> Team {
        let owner = Owner::new([("team", labels[0]), ("project", labels[1])]);
        Team { owner, watts: Some(watts), joules, processes: 3 }
    }

    fn example() -> Overview {
        let lost = Gpu { index: 3, model: "NVIDIA H200".into(), uuid: "GPU-lost".into(), ..Gpu::default() };
        Overview {
            source: "demo".into(),
            version: "0.1.0 (abcdef0)".into(),
            rules: Rules::Refused { errors: "teams.yaml:14: rule \"train\": unknown field \"cgrp\"".into() },
            gpus: vec![gpu(0, 612.0, 0.97), gpu(1, 233.0, 0.31), gpu(2, 74.0, 0.0), lost],
            teams: vec![
                team(["physics", "sky-survey"], 633.5, 48_214_412.25),
                team(["<script>alert(1)</script>", "\"><img src=x>&'"], 211.5, 9_114_002.0),
                team(["inference", ""], 0.0, 830.0),
                Team {
                    owner: Reserved::Unallocated.into(),
                    watts: Some(74.0),
                    joules: 1_260_442.125,
                    processes: 0,
                },
            ],
            processes: None,
        }
    }

    /// Compares with `tests/golden/page.html`; with `UPDATE_GOLDEN=1` in the environment it is written instead.
    #[test]
    fn the_page_is_the_golden_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/page.html");
        let got = render(&example(), Readiness::Starting, "/metrics");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &got).expect("the golden file is written");
        }
        let want = std::fs::read_to_string(path).expect("the golden file");
        assert!(got == want, "page.html differs: run with UPDATE_GOLDEN=1 and look at it");
    }

    #[test]
    fn nothing_hostile_gets_through() {
        let page = render(&example(), Readiness::Ready, "/\"><script>");
        assert!(!page.contains("<script") && !page.contains("<img"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    #[test]
    fn simulated_data_say_so() {
        let page = |source: &str| {
            render(&Overview { source: source.into(), ..Overview::default() }, Readiness::Ready, "/metrics")
        };
        assert!(page("demo").contains("<strong>Simulated data"));
        assert!(page("capture").contains("<strong>Not live data"));
        assert!(!page("nvml").contains("class=\"notice"));
    }

    #[test]
    fn energy_is_readable_at_any_size() {
        for (joules, want) in
            [(0.0, "0 J"), (999.0, "999 J"), (1500.0, "1.50 kJ"), (4.82e7, "48.20 MJ"), (2e9, "2.00 GJ")]
        {
            assert_eq!(joules_text(joules), want);
        }
    }
}
