//! The dashboards, against a real Prometheus that knows ten days of three nodes: every query of every panel and variable
//! is answered, the numbers are those computed by hand, and what is shown is made of metrics that exist.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "watts, joules and times of the replay are small whole numbers"
)]

mod answers;
mod backfill;
mod board;
mod conventions;
mod example;
mod exposition;
mod site;

use std::collections::BTreeSet;

use wattribute_e2e::{Prometheus, Scratch};

use answers::Answers;
use board::{Board, root};
use site::{END, GPUS, Owner, PER_HOUR, SLOTS, truth, uses};

/// What the variables are set to, where there is a choice.
const WISHES: [(&str, &str); 3] = [("team", "climate"), ("instance", "gpu-a:19288"), ("gpu", "2")];

#[track_caller]
fn check(what: &str, got: f64, want: f64) {
    let off = (got - want).abs();
    assert!(off <= want.abs() * 1e-6 + 1e-6, "{what}: {got}, and by hand it is {want}");
}

#[test]
fn every_query_is_answered_and_the_numbers_are_those_computed_by_hand() {
    let scratch = Scratch::new("dashboards");
    let server = backfill::prometheus(&scratch);
    for board in Board::all() {
        let answers = Answers::get(&server, &board, &WISHES);
        assert!(answers.unanswered().is_empty(), "{}: no answer to {:?}", board.name, answers.unanswered());
        answers.keep(&board);
        match board.name {
            "fleet" => check_fleet(&answers),
            "team" => check_team(&answers),
            "gpu" => check_gpu(&answers),
            _ => check_accounting(&answers),
        }
    }
    check_other_teams(&server);
    check_alerts(&server);
}

fn check_fleet(answers: &Answers) {
    let all = truth::month(|_, _| true);
    check("cost of all", answers.number("Cost this month, $currency", "A"), all.cost());
    check("energy of all", answers.number("Energy this month", "A"), all.joules / 3.6e6);
    check("idle share of all", answers.number("Of it for idle GPUs", "A"), all.idle / all.cost());
    check("problems", answers.number("Do the numbers hold?", "A"), 0.0);
    let watts = |gpu| uses(gpu, SLOTS - 1).iter().map(|one| one.active_w + one.idle_w).sum::<u64>();
    check("power", answers.number("Power now", "A"), (0..GPUS.len()).map(watts).sum::<u64>() as f64);
    for (team, got) in answers.by("Cost this month by team, $currency", "A", "team") {
        check(&team, got, truth::month(|owner, _| owner.team == team).cost());
    }
    let days = answers.series("Cost per day by team, $currency", "A");
    let climate = days.iter().find(|(labels, _)| labels["team"] == "climate").expect("climate");
    let sum: f64 = climate.1.iter().map(|(_, value)| value).sum();
    check("all days of climate", sum, truth::month(|owner, _| owner.team == "climate").cost());
}

fn check_team(answers: &Answers) {
    let own = truth::month(|owner, _| owner.team == "climate");
    let spent = own.cost();
    check("spent", answers.number("Spent this month, $currency", "A"), spent);
    check("left", answers.number("Left of the budget, $currency", "A"), 4200.0 - spent);
    check("used", answers.number("Faster or slower than the month", "A"), spent / 4200.0);
    check("idle share", answers.number("Of it for idle GPUs", "A"), own.idle / spent);
    check("held", answers.number("GPU-hours held", "A"), own.held_s / 3600.0);
    check("GPU-hour", answers.number("A GPU-hour costs, $currency", "A"), spent / (own.held_s / 3600.0));
    check("energy", answers.number("Energy this month", "A"), own.joules / 3.6e6);
    check("carbon", answers.number("Carbon this month", "A"), own.grams);
    for (project, got) in answers.by("By project this month, $currency", "A", "project") {
        check(&project, got, truth::month(|owner, _| owner.project == project).cost());
    }
    let month_h = 31.0 * 24.0 - 1.0; // the clock goes forward on the 29th
    let gone_h = (SLOTS / PER_HOUR) as f64;
    let forecast = spent
        + (month_h - gone_h) * truth::last_week(|owner, _| owner.team == "climate").cost() / (7.0 * 24.0);
    check("forecast", answers.number("At the end of the month, $currency", "A"), forecast);
    check("will it last", answers.number("Will it last?", "A"), forecast / 4200.0);
    let costs: f64 = answers.by("Its most expensive processes now", "cost", "uuid").values().sum();
    // Three GPUs, each held alone.
    check("its processes", costs, [0, 1, 3].map(truth::per_hour).iter().sum());
}

fn check_gpu(answers: &Answers) {
    let watts: u64 = uses(2, SLOTS - 1).iter().map(|one| one.active_w + one.idle_w).sum();
    check("power", answers.number("Power now", "A"), watts as f64);
    check("cost per hour", answers.number("Costs per hour now, $currency", "A"), truth::per_hour(2));
    let costs = answers.by("Who is on it now, and what each costs", "cost", "team");
    assert_eq!(costs.keys().collect::<Vec<_>>(), ["assistant", "vision"]);
    check("all its processes", costs.values().sum(), truth::per_hour(2));
}

fn check_accounting(answers: &Answers) {
    check("residual", answers.number("Books less devices", "A"), 0.0);
    check("covered", answers.number("Hours covered this month", "A"), 1.0);
    check("gone", answers.number("Exporters gone", "A"), 0.0);
    check("unread", answers.number("GPUs that cannot be read", "A"), 0.0);
    check("old rules", answers.number("Exporters with old rules", "A"), 0.0);
    check("counters", answers.by("GPUs by source of energy", "A", "source")["counter"], GPUS.len() as f64);
    // Both A100 have no utilisation: all active energy there is an estimate.
    let estimated = answers.by("Estimated share, by team", "A", "team");
    check("estimated of climate", estimated["climate"], 0.0);
    assert!((0.1..0.9).contains(&estimated["teaching"]), "{estimated:?}");
}

/// Every alert can be asked, and those that fire are what is wrong: climate spends too fast, library has no budget.
fn check_alerts(server: &Prometheus) {
    let mut firing = BTreeSet::new();
    for (name, expr) in backfill::alerts(&root().join("rules/prometheus/alerts.rules.yaml")) {
        for (labels, _) in server.query_at(&expr, backfill::seconds(END)) {
            firing.insert((name.clone(), labels.get("team").cloned().unwrap_or_default()));
        }
    }
    let want = [("WattributeForecastOverBudget", "climate"), ("WattributeTeamWithoutBudget", "library")];
    assert_eq!(firing, want.map(|(name, team)| (name.into(), team.into())).into());
}

/// A team with two models and a new one, without a project and without a budget.
fn check_other_teams(server: &Prometheus) {
    let board = Board::read("team");
    for (team, budget) in [("vision", Some(2450.0)), ("library", None)] {
        let answers = Answers::get(server, &board, &[("team", team)]);
        let own = |owner: &Owner| owner.team == team;
        let spent = truth::month(|owner, _| own(owner)).cost();
        check(team, answers.number("Spent this month, $currency", "A"), spent);
        match budget {
            Some(budget) => check(team, answers.number("Left of the budget, $currency", "A"), budget - spent),
            None => assert!(answers.series("Will it last?", "A").is_empty(), "{team} has no budget"),
        }
    }
}
