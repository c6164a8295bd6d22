//! The history on a clock of its own.

use super::*;
use crate::account::snapshot::GpuView;
use crate::sample::Card;
use wattribute::owner::Owner;

fn snapshot(teams: &[(&str, f64)]) -> Snapshot {
    let card = Card {
        uuid: "GPU-0".into(),
        index: 0,
        model: "x".into(),
        pci_bus_id: String::new(),
        driver_version: String::new(),
        max_power: None,
    };
    let mut gpu = GpuView { up: true, ..GpuView::new(card) };
    gpu.watts = teams.iter().map(|(team, watts)| (Owner::new([("team", *team)]), *watts)).collect();
    Snapshot { gpus: vec![gpu], ..Snapshot::default() }
}

/// A history of one sample each second.
fn history(seconds: impl Iterator<Item = u64>, teams: &[(&str, f64)]) -> History {
    let mut history = History::default();
    seconds.for_each(|second| history.note(Microseconds(second * 1_000_000), &snapshot(teams)));
    history
}

#[test]
fn a_step_is_the_mean_of_its_samples() {
    let mut history = history(0..3, &[("a", 100.0)]);
    history.note(Microseconds(3_000_000), &snapshot(&[("a", 200.0), ("b", 8.0)]));
    let chart = history.chart();
    let last: Vec<_> = chart.bands.iter().map(|band| (&*band.name, band.watts[12])).collect();
    assert_eq!(last, [("a", Some(125.0)), ("b", Some(2.0))]);
    assert_eq!(chart.bands[0].watts[..12], [None; 12]);
    assert!((chart.seconds - 60.0).abs() < 1e-9);
}

#[test]
fn it_forgets_after_a_quarter_of_an_hour() {
    let mut history = history(0..5000, &[("a", 1.0)]);
    assert_eq!(history.steps.len(), STEPS);
    let chart = history.chart();
    assert!(chart.bands[0].watts.len() == STEPS && chart.bands[0].watts.iter().all(Option::is_some));
}

#[test]
fn a_gap_stays_a_gap_and_a_late_sample_makes_none() {
    let seconds = (0..20).chain(30..40).chain(100..110);
    let chart = history(seconds, &[("a", 1.0)]).chart();
    let known: Vec<bool> = chart.bands[0].watts[37 - 22..].iter().map(Option::is_some).collect();
    let want = [vec![true; 8], vec![false; 12], vec![true; 2]].concat();
    assert_eq!(known, want);
}

#[test]
fn nothing_is_noted_where_no_gpu_says_anything() {
    let mut history = history(0..10, &[]);
    assert!(history.chart().bands.is_empty());
    let mut down = snapshot(&[("a", 1.0)]);
    down.gpus[0].up = false;
    history.note(Microseconds(11_000_000), &down);
    assert!(history.steps.is_empty());
}

#[test]
fn a_team_keeps_its_colour_while_it_is_among_the_eight() {
    let names: Vec<String> = (0..12).map(|team| format!("team{team:02}")).collect();
    let teams: Vec<(&str, f64)> = names.iter().map(String::as_str).zip((1..).map(f64::from)).collect();
    let mut history = history(0..10, &teams);
    let chart = history.chart();
    assert_eq!(chart.bands.len(), 9);
    assert_eq!((chart.bands[8].name.as_str(), chart.bands[8].watts[12]), (OTHERS, Some(10.0)));
    let before = history.colour("team11");
    assert!(matches!(before, Colour::Slot(_)) && history.colour("team00") == Colour::Others);
    (10..200).for_each(|second| {
        history.note(Microseconds(second * 1_000_000), &snapshot(&[("team00", 500.0), ("team11", 20.0)]));
    });
    history.chart();
    assert_eq!(history.colour("team11"), before);
    assert!(matches!(history.colour("team00"), Colour::Slot(_)));
    assert_eq!(history.colour("unallocated"), Colour::Reserved(Reserved::Unallocated));
}

#[test]
fn thousands_of_teams_are_summed_and_none_is_lost() {
    let names: Vec<String> = (0..1000).map(|team| format!("t{team}")).collect();
    let teams: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    let mut history = history(0..1, &[&teams[..], &[("unallocated", 7.0)]].concat());
    assert_eq!(history.steps[0].teams.len(), MOST_TEAMS + 1);
    let chart = history.chart();
    let sum: f64 = chart.bands.iter().filter_map(|band| band.watts[12]).sum();
    assert!((sum - 1007.0).abs() < 1e-9, "{sum}");
}
