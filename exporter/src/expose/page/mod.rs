//! The page for people at `/`: what each GPU does, who is on it, what each team drew, and whether all is well.
//!
//! One HTML document with its style, its script and its chart inside; all text escaped. It says all without the script,
//! which only fetches it anew every few seconds. [`gather`] makes a [`view::View`] of a snapshot; the other files write
//! it, section by section. Floats are fine here: nobody bills by this page. Called by [`super::overview`].

mod chart;
pub mod gather;
mod gpus;
pub mod history;
mod processes;
mod state;
mod teams;
#[cfg(test)]
mod tests;
mod text;
pub mod today;
pub mod view;

use std::fmt::{self, Write};

use text::{Escaped, Number, watts};
use view::View;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Where the documentation is; empty while the project has no public home.
const DOCUMENTATION: &str = env!("CARGO_PKG_REPOSITORY");

/// What a browser may do with the page: apply this style, run this script, ask this exporter for the page again. A test
/// says what the hashes must be.
pub const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-j+JI8joVRDGa5XhOJ/tjB8T7WI8Ej+I0kwg466rCTJ0='; \
    script-src 'sha256-US3J9xbWHkr/O6cHuvTXbHOBIdFmuTVpXBoQcts5hSs='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Renders the page.
#[must_use]
pub fn render(view: &View, telemetry_path: &str) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut out, view, telemetry_path);
    out
}

fn write_page(out: &mut String, view: &View, telemetry_path: &str) -> fmt::Result {
    head(out, view, telemetry_path)?;
    out.push_str("<main id=\"main\" tabindex=\"-1\">\n");
    writeln!(
        out,
        "<p class=\"asof\">As of <time datetime=\"{}\">{}</time> <small>{}</small></p>",
        view.now.timestamp(),
        view.now.strftime("%H:%M:%S"),
        Escaped(view.now.time_zone().iana_name().unwrap_or("local time")),
    )?;
    state::notices(out, view)?;
    summary(out, view)?;
    chart::write(out, &view.chart)?;
    gpus::write(out, view)?;
    teams::write(out, view)?;
    view.processes.iter().try_for_each(|processes| processes::write(out, processes))?;
    state::write(out, view, telemetry_path)?;
    writeln!(
        out,
        "</main>\n<footer>wattribute {}</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>",
        Escaped(&view.version)
    )
}

/// Links are relative, so that they hold below any path of a proxy.
fn head(out: &mut String, view: &View, telemetry_path: &str) -> fmt::Result {
    let host = Escaped(&view.host);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{host} · Wattribute</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
         <header>\n<div><h1><span>Watt</span>ribute</h1>\n<p class=\"host\">{host}</p></div>\n\
         <nav aria-label=\"Site\"><a href=\".{}\">Metrics</a>",
        Escaped(telemetry_path)
    )?;
    if view.processes.is_some() {
        out.push_str("<a href=\"./api/v1/processes\">Processes</a>");
    }
    out.push_str("<a href=\"./-/healthy\">Health</a><a href=\"./-/ready\">Readiness</a>");
    if !DOCUMENTATION.is_empty() {
        write!(out, "<a href=\"{}\">Documentation</a>", Escaped(DOCUMENTATION))?;
    }
    out.push_str(
        "</nav>\n<p class=\"live\"><span id=\"status\" role=\"status\"></span>\
         <button id=\"pause\" type=\"button\" hidden>Pause</button>\
         <noscript>Reload this page for new values.</noscript></p>\n</header>\n",
    );
    Ok(())
}

fn summary(out: &mut String, view: &View) -> fmt::Result {
    let up = view.gpus.iter().filter(|gpu| gpu.is_up);
    let power = up.clone().filter_map(|gpu| gpu.power_watts).reduce(|sum, more| sum + more);
    let limit: Option<f64> = up.clone().map(|gpu| gpu.power_limit_watts).sum();
    let limit = limit.filter(|limit| *limit > 0.0);
    let of = limit.map(|limit| format!(" <small>of {}</small>", watts(Some(limit)))).unwrap_or_default();
    let unit = text::energy_unit(view.teams.sum.joules);
    let energy = Number(Some(view.teams.sum.joules), unit.0, unit.2);
    let teams = view.teams.rows.iter().filter(|team| team.processes > 0 && team.owner.reserved().is_none());
    writeln!(
        out,
        "<dl class=\"tiles\">\n<div class=\"panel\"><dt>Power now</dt><dd>{}{of}</dd></div>\n\
         <div class=\"panel\"><dt>Energy since {}</dt><dd>{} {}</dd></div>\n\
         <div class=\"panel\"><dt>GPUs up</dt><dd>{} <small>of {}</small></dd></div>\n\
         <div class=\"panel\"><dt>Teams at work</dt><dd>{} <small>{}</small></dd></div>\n</dl>",
        watts(power),
        teams::Begin(view),
        energy,
        unit.1,
        up.count(),
        view.gpus.len(),
        teams.count(),
        text::Count(view.teams.sum.processes, "process", "processes"),
    )
}
