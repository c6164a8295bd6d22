use super::*;
use crate::report::quantity::{Owner, Target};
use crate::report::tally::Cell;
use std::sync::Arc;

const DAY: Period = Period { from: 0, to: 86_400 };

fn tally(energy_mj: u64) -> Tally {
    let mut tally = Tally::default();
    let owner = Arc::new(Owner(vec![("team".into(), "a".into())]));
    let cell = Cell { owner, uuid: "u".into(), target: Arc::new(Target::default()) };
    tally.cells.insert(cell, Sums { active_mj: energy_mj, ..Sums::default() });
    tally
}

#[track_caller]
fn check(recorded: i128, here: u64, percent: &str, want: (&str, Option<&str>, bool)) {
    let recording = Recording::Found { hours: 24, sums: vec![(Figure::EnergyJoules, "a".into(), recorded)] };
    let tolerance = Tolerance::Percent(Micros::parse(percent).unwrap());
    let comparison = compare(&recording, &tally(here), DAY, tolerance);
    let team = &comparison.teams[0];
    let got = (&*team.difference, team.difference_percent.as_deref(), team.is_within_tolerance);
    assert_eq!(got, want);
    assert_eq!(comparison.differences().count(), usize::from(!want.2));
    assert_eq!(comparison.not_recorded, [Figure::HeldSeconds, Figure::Cost]);
}

#[test]
fn the_tolerance_is_of_what_the_bill_has() {
    check(101_000, 100_000, "1", ("1.000", Some("1.000"), true));
    check(101_001, 100_000, "1", ("1.001", Some("1.001"), false));
    check(98_999, 100_000, "1", ("-1.001", Some("-1.001"), false));
    check(98_999, 100_000, "1.5", ("-1.001", Some("-1.001"), true));
    check(1000, 0, "1", ("1.000", None, false));
    check(1, 0, "0", ("0.001", None, true));
}

#[test]
fn a_team_that_only_one_of_them_has_is_compared_with_nothing() {
    let recording = Recording::Found { hours: 1, sums: vec![(Figure::EnergyJoules, "b".into(), 5000)] };
    let comparison = compare(&recording, &tally(7), DAY, Tolerance::Percent(Micros::ONE));
    let got: Vec<_> = comparison.teams.iter().map(|team| (team.team.as_deref(), &*team.difference)).collect();
    assert_eq!(got, [(Some("a"), "-0.007"), (Some("b"), "5.000")]);
}

#[test]
fn what_was_not_recorded_is_not_compared_and_no_difference() {
    for (recording, want) in
        [(Recording::Absent, "no recorded series: not compared"), (Recording::Off, "not asked for")]
    {
        let comparison = compare(&recording, &tally(7), DAY, Tolerance::Percent(Micros::ONE));
        assert_eq!((comparison.state, comparison.differences().count()), (want, 0));
    }
}

#[test]
fn the_series_are_those_of_our_rules() {
    let rules = include_str!("../../../rules/prometheus/recording.rules.yaml");
    for figure in Figure::ALL {
        assert!(rules.contains(&format!("- record: {}\n", figure.metric())), "{figure:?}");
    }
}
