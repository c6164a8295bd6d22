//! The page as a whole: the golden one, hostile names, and what it says when something is amiss.

use jiff::Zoned;
use wattribute::owner::{Owner, Reserved};

#[cfg(feature = "report")]
use super::POLICY;
use super::history::{Band, Chart};
use super::view::{Because, Colour, Gpu, Process, Processes, State, Team, Teams, User, View};
use super::{SCRIPT, STYLE, render};
use crate::expose::overview::Rules;

const GIB: f64 = 1_073_741_824.0;

fn at(time: &str) -> Zoned {
    format!("2026-11-21T{time}[Europe/Berlin]").parse().expect("a time")
}

fn owner(team: &str, project: &str) -> Owner {
    Owner::new([("team", team), ("project", project)])
}

fn hostile() -> Owner {
    owner("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>&'")
}

fn gpu(index: u32, watts: f64, users: Vec<User>) -> Gpu {
    Gpu {
        index,
        model: "NVIDIA H200".into(),
        uuid: format!("GPU-8f6d3b1e-0000-4000-8000-00000000000{index}"),
        is_up: true,
        heard: Some(at("14:03:05")),
        power_watts: Some(watts),
        power_limit_watts: Some(700.0),
        utilization_ratio: Some(watts / 700.0),
        temperature_celsius: Some(31.0 + watts / 20.0),
        memory_used_bytes: Some(watts * GIB / 6.0),
        memory_total_bytes: Some(140.5 * GIB),
        users,
        estimated_by: None,
    }
}

fn user(owner: Owner, colour: Colour, watts: f64) -> User {
    User { owner, colour, watts: Some(watts), processes: 2 }
}

fn team(owner: Owner, colour: Colour, joules: f64) -> Team {
    Team { owner, colour, watts: Some(200.0), joules, gpus: 1, processes: 2 }
}

fn chart() -> Chart {
    let band = |name: &str, colour, watts: [f64; 3]| {
        let watts = watts.map(Some).into_iter().chain([None]).collect();
        Band { name: name.into(), colour, watts }
    };
    let bands = vec![
        band("physics", Colour::Slot(0), [600.0, 610.0, 620.0]),
        band("<script>alert(1)</script>", Colour::Slot(1), [200.0, 0.0, 100.0]),
        band("unallocated", Colour::Reserved(Reserved::Unallocated), [74.0, 74.0, 74.0]),
    ];
    Chart { seconds: 60.0, bands }
}

fn example() -> View {
    let physics = || user(owner("physics", "sky-survey"), Colour::Slot(0), 500.0);
    let lost = Gpu { is_up: false, users: vec![], ..gpu(3, 0.0, vec![]) };
    let nobody = User {
        processes: 0,
        ..user(Reserved::Unallocated.into(), Colour::Reserved(Reserved::Unallocated), 74.0)
    };
    let rows = vec![
        team(owner("physics", "sky-survey"), Colour::Slot(0), 48_214_412.25),
        team(hostile(), Colour::Slot(1), 9_114_002.0),
        team(Reserved::Unallocated.into(), Colour::Reserved(Reserved::Unallocated), 1_260_442.125),
    ];
    let sum = Team { watts: Some(600.0), joules: 58_588_856.375, gpus: 3, processes: 6, ..Team::default() };
    let state = State {
        source: "demo".into(),
        rules: Rules::Refused { errors: "teams.yaml:14: rule \"<b>\": unknown field \"cgrp\"".into() },
        rule_count: 6,
        rules_since: at("09:12:00"),
        delay_seconds: 60.0,
        ..State::default()
    };
    View {
        host: "node7".into(),
        version: "0.1.0 (abcdef0)".into(),
        now: at("14:03:05"),
        is_ready: true,
        state,
        gpus: vec![
            gpu(0, 612.0, vec![physics(), user(hostile(), Colour::Slot(1), 112.0)]),
            gpu(1, 233.0, vec![physics()]),
            gpu(2, 74.0, vec![nobody]),
            lost,
        ],
        teams: Teams { since: at("00:00:00"), because: Because::Midnight, rows, left: 0, sum },
        chart: chart(),
        processes: None,
    }
}

/// Compares with `tests/golden/page.html`; with `UPDATE_GOLDEN=1` in the environment it is written instead. Style and
/// script are left out.
#[test]
fn the_page_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/page.html");
    let got = render(&example(), "/metrics").replace(STYLE, "…").replace(SCRIPT, "…");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &got).expect("the golden file is written");
    }
    let want = std::fs::read_to_string(path).expect("the golden file");
    assert!(got == want, "page.html differs: run with UPDATE_GOLDEN=1 and look at it");
}

#[test]
fn nothing_hostile_gets_through() {
    let process = Process { comm: "<img src=y>".into(), owner: Some(hostile()), ..Process::default() };
    let mut view = example();
    view.host = "</title><script>".into();
    view.gpus[0].model = "</h3><img src=z>".into();
    view.gpus[0].uuid = "\" onclick=\"x".into();
    view.state.source = "<img>".into();
    view.processes = Some(Processes { rows: vec![process], all: 1 });
    let page = render(&view, "/metrics").replace(STYLE, "").replace(SCRIPT, "");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(!page.contains("<img") && !page.contains("\" onclick") && !page.contains("<b>\""), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

/// What the page says of a view that differs from the example.
fn said(change: impl FnOnce(&mut View)) -> String {
    let mut view = example();
    change(&mut view);
    render(&view, "/metrics")
}

#[test]
fn what_is_amiss_is_said_at_the_top() {
    let notes = |change: &dyn Fn(&mut View)| {
        let page = said(|view| {
            view.state.source = "nvml".into();
            view.state.rules = Rules::InForce { rules: 6 };
            change(view);
        });
        let notes = page.split("class=\"notice").skip(1);
        let titles = notes.filter_map(|note| note.split_once("<strong>")?.1.split_once("</strong>"));
        titles.map(|(title, _)| title.to_owned()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(notes(&|_| {}), "");
    assert_eq!(notes(&|view| view.state.source = "demo".into()), "Simulated data");
    assert_eq!(notes(&|view| view.state.source = "capture".into()), "Not live data");
    assert_eq!(notes(&|view| view.is_ready = false), "Starting");
    assert_eq!(notes(&|view| view.gpus.iter_mut().for_each(|gpu| gpu.is_up = false)), "No GPU answers");
    assert_eq!(notes(&|view| view.state.residual_joules = 0.001), "The accounts do not balance");
    assert_eq!(notes(&|view| view.state.state_write_failed = Some(true)), "The ledger cannot be written");
    assert_eq!(notes(&|view| view.state.pid_namespace_mismatch = true), "Another PID namespace");
}

#[test]
fn it_says_since_when_it_counts() {
    let since = |because| {
        said(|view| {
            view.teams.because = because;
            view.teams.since = at("11:30:00");
        })
    };
    assert!(since(Because::Midnight).contains("<dt>Energy since midnight</dt>"));
    assert!(since(Because::Start).contains(">11:30</time>, when the exporter began"));
    assert!(since(Because::Clock).contains(">11:30</time>, when the clock leapt"));
}

#[test]
fn links_hold_below_any_path() {
    let page = said(|view| view.processes = Some(Processes::default()));
    let links: Vec<&str> =
        page.split("href=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
    assert!(
        links.len() > 5 && links.contains(&"./metrics") && links.contains(&"./api/v1/processes"),
        "{links:?}"
    );
    let is_relative = |link: &&str| link.starts_with("./") || link.starts_with('#');
    assert!(links.iter().all(is_relative), "{links:?}");
}

#[test]
fn an_empty_machine_has_a_page() {
    let page = render(&View::default(), "/metrics");
    for part in ["No GPU has been seen yet", "Nothing has been booked yet", "Nothing to draw yet", "Starting"]
    {
        assert!(page.contains(part), "{part}");
    }
}

/// The page's own style and script are what the policy allows, and no attribute that it forbids is there.
#[test]
#[cfg(feature = "report")]
fn the_policy_allows_this_style_and_this_script() {
    for (what, text) in [("style", STYLE), ("script", SCRIPT)] {
        let hash = base64(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        let want = format!("{what}-src 'sha256-{hash}'");
        assert!(POLICY.contains(&want), "the policy must say {want}");
    }
    let page = render(&example(), "/metrics");
    assert!(
        !page.contains(" style=\"") && !page.contains(" onclick"),
        "an attribute that the policy forbids"
    );
}

#[cfg(feature = "report")]
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let bits =
            chunk.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = move |index: usize| char::from(LETTERS[bits >> (18 - 6 * index) & 63]);
        let have = chunk.len() + 1;
        (0..4).map(move |index| if index < have { letter(index) } else { '=' })
    });
    letters.collect()
}

/// A page of a big machine stays small: 16 GPUs, 200 teams, 100 processes.
#[test]
fn a_big_machine_has_a_page_of_bearable_size() {
    let page = said(|view| {
        view.gpus = (0..16)
            .map(|index| gpu(index % 10, 500.0, vec![user(hostile(), Colour::Others, 1.0); 20]))
            .collect();
        view.teams.rows = vec![team(hostile(), Colour::Others, 1.0); 200];
        view.processes = Some(Processes { rows: vec![Process::default(); 100], all: 100 });
    });
    assert!(page.len() < 300_000, "{}", page.len());
}
