//! The short form of the soak: half a minute of everything at once. `tests/soak` runs the long one.

use std::time::Duration;

use wattribute_e2e::soak::{Outcome, Plan, soak};

#[track_caller]
fn check(outcome: &Outcome) {
    let faults = outcome.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", outcome.table());
    assert!(outcome.scrapes > 10 && outcome.answered > 10 && outcome.abandoned > 10, "{}", outcome.table());
    assert!(outcome.guests > 10 && outcome.troubles >= 3 && outcome.reloads >= 4, "{}", outcome.table());
}

#[test]
fn churn_reloads_rude_clients_and_a_bad_driver_leave_no_trace() {
    check(&soak(&Plan::short()));
}

#[test]
fn and_so_with_kills_now_and_then() {
    let plan = Plan { kill: Some(Duration::from_secs(6)), ..Plan::short() };
    let outcome = soak(&plan);
    assert!(outcome.kills >= 2, "{}", outcome.table());
    check(&outcome);
}
