//! Seven hours of three GPUs on two nodes, with everything that bills get wrong: an exporter that stops and starts with
//! its state, one that begins anew without, a scrape gap over a price change, a team and a GPU that come in between, an
//! hour that clocks skip, and names that are no good.
//!
//! Times are minutes from 2024-03-30 20:00 UTC, 21:00 in Berlin. Prices change at minute 180, local midnight. Clocks go
//! from 02:00 to 03:00 at minute 300. An exporter shows at each minute what its ledger held a minute before.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wattribute_e2e::{Prometheus, Scratch, require};

/// When the period begins, in Unix seconds.
pub const BEGIN: i64 = 1_711_828_800;
/// How long it is, in minutes.
pub const MINUTES: i64 = 7 * 60;
/// A team whose name is a formula, has markup, commas and quotes.
pub const EVIL: &str = "=HYPERLINK(\"x\"),<b>&'";

pub const PRICES: &str = r#"
currency: EUR
time_zone: Europe/Berlin
sites:
  default:
    electricity:
      - {from: 2024-01-01, per_kwh: 0.30}
      - {from: 2024-03-31, per_kwh: 0.36}
    pue: [{from: 2024-01-01, ratio: 1.25}]
    carbon: [{from: 2024-01-01, grams_per_kwh: 400, source: test, year: 2023}]
  north:
    electricity: [{from: 2024-01-01, per_kwh: 0.20}]
    pue: [{from: 2024-01-01, ratio: 1}]
    carbon: [{from: 2024-01-01, grams_per_kwh: 100, source: test, year: 2023}]
hardware:
  - model: "NVIDIA H100.*"
    rates: [{from: 2024-01-01, per_hour: 2.00}]
  - model: "NVIDIA A100.*"
    rates: [{from: 2024-01-01, per_hour: 1.00}, {from: 2024-03-31, per_hour: 1.50}]
"#;

/// Who draws how much, and holds which share of the GPU, in which minutes of the ledger.
struct Draw {
    team: &'static str,
    project: &'static str,
    /// Active and idle, in watts.
    watts: (i64, i64),
    /// Seconds held in a minute.
    held: i64,
    minutes: std::ops::Range<i64>,
}

struct Gpu {
    uuid: &'static str,
    model: &'static str,
    target: &'static str,
    draws: Vec<Draw>,
    /// Energy booked to `unobserved` at a minute, in joules.
    unobserved: Option<(i64, i64)>,
    /// From when the ledger is; a ledger that begins anew in between shows nothing of before.
    begins: Vec<i64>,
    /// Minutes at which nobody scraped it.
    unscraped: std::ops::Range<i64>,
}

const LONG_BEFORE: i64 = -60;

fn gpus() -> Vec<Gpu> {
    let draw = |team, project, watts, held, minutes| Draw { team, project, watts, held, minutes };
    let project = "p,\"q\"";
    vec![
        // Its exporter stops at minute 150 and starts at 160, with its state: 460 W × 600 s were not observed.
        Gpu {
            uuid: "GPU-a",
            model: "NVIDIA H100 80GB HBM3",
            target: "instance=\"n1:9\"",
            draws: vec![
                draw("vision", project, (300, 60), 60, LONG_BEFORE..120),
                draw("vision", project, (300, 60), 30, 120..150),
                draw("vision", project, (300, 60), 30, 160..MINUTES + 9),
                draw("speech", "", (100, 0), 30, 120..150),
                draw("speech", "", (100, 0), 30, 160..MINUTES + 9),
            ],
            unobserved: Some((160, 276_000)),
            begins: vec![LONG_BEFORE],
            unscraped: 151..161,
        },
        // Not scraped between minutes 170 and 190; its exporter begins anew, without state, at 330.
        Gpu {
            uuid: "GPU-b",
            model: "NVIDIA A100-SXM4-80GB",
            target: "instance=\"n2:9\",site=\"north\"",
            draws: vec![
                draw(EVIL, "", (200, 0), 60, LONG_BEFORE..240),
                draw("unallocated", "", (0, 50), 60, 240..MINUTES + 9),
            ],
            unobserved: None,
            begins: vec![LONG_BEFORE, 330],
            unscraped: 171..190,
        },
        // New at minute 270.
        Gpu {
            uuid: "GPU-c",
            model: "NVIDIA H100 80GB HBM3",
            target: "instance=\"n1:9\"",
            draws: vec![draw("vision", project, (500, 0), 60, 270..MINUTES + 9)],
            unobserved: None,
            begins: vec![270],
            unscraped: 0..0,
        },
    ]
}

/// A series and its points: minute and value.
type Points = Vec<(i64, i64)>;

/// All series of the story, without times of their own.
pub fn series() -> Vec<(String, Points)> {
    gpus().iter().flat_map(series_of).collect()
}

fn series_of(gpu: &Gpu) -> Vec<(String, Points)> {
    let owners: Vec<(&str, &str)> = gpu.draws.iter().map(|draw| (draw.team, draw.project)).collect();
    let unobserved = gpu.unobserved.map(|_| ("unobserved", ""));
    let mut owners: Vec<_> = owners.into_iter().chain(unobserved).collect();
    owners.sort_unstable();
    owners.dedup();
    let labels = format!("uuid=\"{}\",job=\"wattribute\",{}", gpu.uuid, gpu.target);
    let watts = |draw: &Draw, kind| if kind == "active" { draw.watts.0 } else { draw.watts.1 };
    let gap = |minute: i64, team| {
        gpu.unobserved.filter(|(at, _)| *at < minute && team == "unobserved").map_or(0, |(_, joules)| joules)
    };
    let mut all = vec![
        (
            format!("wattribute_gpu_info{{{labels},model=\"{}\"}}", gpu.model),
            points(gpu, LONG_BEFORE, &|_, _| 1),
        ),
        (
            format!("wattribute_gpu_energy_joules_total{{{labels}}}"),
            points(gpu, LONG_BEFORE, &|from, to| {
                sum(gpu, from, to, &|draw| (draw.watts.0 + draw.watts.1) * 60) + gap(to, "unobserved")
            }),
        ),
    ];
    for (team, project) in owners {
        let first = gpu.draws.iter().filter(|draw| draw.team == team).map(|draw| draw.minutes.start).min();
        let first = first.or(gpu.unobserved.map(|(minute, _)| minute)).unwrap_or(0);
        let own = |draw: &Draw| draw.team == team;
        let project =
            if project.is_empty() { String::new() } else { format!(",project=\"{}\"", escape(project)) };
        let owner = format!("{labels},team=\"{}\"{project}", escape(team));
        for kind in ["active", "idle"] {
            all.push((
                format!("wattribute_team_energy_joules_total{{{owner},kind=\"{kind}\"}}"),
                points(gpu, first, &|from, to| {
                    let drawn =
                        sum(gpu, from, to, &|draw| if own(draw) { watts(draw, kind) * 60 } else { 0 });
                    drawn + if kind == "active" { gap(to, team) } else { 0 }
                }),
            ));
        }
        all.push((
            format!("wattribute_team_gpu_held_seconds_total{{{owner}}}"),
            points(gpu, first, &|from, to| sum(gpu, from, to, &|draw| if own(draw) { draw.held } else { 0 })),
        ));
    }
    all
}

/// What a counter shows at each scrape: what its ledger gained from its beginning to a minute before.
fn points(gpu: &Gpu, first: i64, gained: &dyn Fn(i64, i64) -> i64) -> Points {
    let scrapes =
        (LONG_BEFORE..MINUTES + 5).filter(|minute| !gpu.unscraped.contains(minute) && *minute >= first);
    let begun = |minute: i64| gpu.begins.iter().filter(|begin| **begin < minute).max().copied();
    scrapes
        .filter(|minute| *minute >= gpu.begins[0])
        .map(|minute| (minute, begun(minute).map_or(0, |from| gained(from, minute - 1))))
        .collect()
}

fn sum(gpu: &Gpu, from: i64, to: i64, of: &dyn Fn(&Draw) -> i64) -> i64 {
    let minutes = |draw: &Draw| (draw.minutes.end.min(to) - draw.minutes.start.max(from)).max(0);
    gpu.draws.iter().map(|draw| of(draw) * minutes(draw)).sum()
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A Prometheus that has scraped the story.
#[track_caller]
pub fn prometheus(scratch: &Scratch, series: &[(String, Points)]) -> Prometheus {
    Prometheus::with_config(data(scratch, series), "global: {scrape_interval: 1h}\n")
}

/// A folder in whose `data` a Prometheus finds the story.
#[track_caller]
pub fn data(scratch: &Scratch, series: &[(String, Points)]) -> PathBuf {
    let mut text = String::new();
    for (name, points) in series {
        for (minute, value) in points {
            let _ = writeln!(text, "{name} {value} {}", BEGIN + minute * 60);
        }
    }
    text.push_str("# EOF\n");
    let folder = scratch.path("prometheus");
    fs::create_dir_all(&folder).expect("a folder");
    let file = scratch.path("story.om");
    fs::write(&file, text).expect("written");
    let output = Command::new(require("promtool"))
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&file, &folder.join("data")])
        .output()
        .expect("promtool runs");
    assert!(output.status.success(), "{output:?}");
    folder
}
