use super::*;
use crate::report::amount::{Amount, Minor};
use crate::report::lines::{Decimal, Money};

const PRICES: &str = "currency: EUR\ntime_zone: Europe/Berlin\nsites: {}\nhardware:\n  - {model: H100, rates: [{from: 2024-01-01, per_hour: 2}]}\n";
const BUDGETS: &str = "currency: EUR\nteams:\n  a:\n    credits:\n      - {from: 2024-01-01, amount: 100}\n      \
     - {from: 2024-02-15, amount: 30.5, note: grant}\n";

fn rater(budgets: &str) -> Rater {
    Rater::of(PRICES, budgets)
}

fn line(team: &str, cents: u64) -> Line {
    let amount = |units| Amount { units, minor: Minor::of("EUR") };
    let money = Money {
        electricity: amount(0),
        idle_electricity: amount(0),
        hardware: amount(cents),
        cost: amount(cents),
    };
    Line {
        labels: vec![("team".into(), team.into())],
        energy_joules: Decimal(0),
        active_joules: Decimal(0),
        idle_joules: Decimal(0),
        estimated_joules: Decimal(0),
        held_seconds: Decimal(0),
        busy_seconds: Decimal(0),
        money: Some(money),
        carbon_kilograms: None,
    }
}

fn month(text: &str) -> Period {
    rater(BUDGETS).with_zone(|zone| Period::month(text, zone)).unwrap()
}

fn after(report: &Credits, to: &str) -> Before {
    Before { to: to.into(), credits: Some(report.clone()), amended: None }
}

/// Opening, added, returned, consumed, closing, used up.
#[track_caller]
fn check(report: &Credits, want: [&str; 6]) {
    let Account { opening, added, returned, consumed, closing, used_up, .. } = &report.teams[0];
    let used_up = used_up.as_deref().unwrap_or("");
    assert_eq!([opening, added, returned, consumed, closing, used_up], want);
}

fn bill(period: &str, cents: u64, before: Option<&Before>) -> Credits {
    credits(&rater(BUDGETS), month(period), &[line("a", cents)], before).unwrap().unwrap()
}

#[test]
fn a_balance_goes_on_from_report_to_report() {
    let january = bill("2024-01", 4000, None);
    // 100 − 40 = 60; at 40 in 31 days, 100 last 77.5 days from 1 January: 18 March.
    check(&january, ["100", "0", "0", "40", "60", "2024-03-18"]);
    let february = bill("2024-02", 9050, Some(&after(&january, "2024-01-31T23:00:00Z")));
    check(&february, ["60", "30.5", "0", "90.5", "0", "2024-03-01"]);
    let march = bill("2024-03", 12_345, Some(&after(&february, "2024-02-29T23:00:00Z")));
    check(&march, ["0", "0", "0", "123.45", "-123.45", "2024-03-01"]);
    let april = bill("2024-04", 0, Some(&after(&march, "2024-03-31T22:00:00Z")));
    check(&april, ["-123.45", "0", "0", "0", "-123.45", ""]);
    assert_eq!(april.teams[0].granted, "130.5");
}

#[test]
fn without_a_report_before_it_begins_with_what_was_paid_until_then() {
    check(&bill("2024-02", 1050, None), ["100", "30.5", "0", "10.5", "120", "2025-01-26"]);
}

#[test]
fn a_correction_gives_back_what_the_corrected_one_took() {
    let january = bill("2024-01", 4000, None);
    let february = bill("2024-02", 5000, Some(&after(&january, "2024-01-31T23:00:00Z")));
    check(&february, ["60", "30.5", "0", "50", "40.5", "2024-03-24"]);
    // January cost 25, not 40: corrected after February.
    let mut before = after(&february, "2024-02-29T23:00:00Z");
    before.amended = Some(BTreeMap::from([("a".into(), 40_000_000)]));
    let corrected = bill("2024-01", 2500, Some(&before));
    check(&corrected, ["40.5", "0", "40", "25", "55.5", "2024-05-08"]);
    assert_eq!(before.difference(month("2024-01")), None);
    // And corrected again: to 26. What is left stands as of the end of February.
    let mut before = after(&corrected, "2024-01-31T23:00:00Z");
    before.amended = Some(BTreeMap::from([("a".into(), 25_000_000)]));
    let again = bill("2024-01", 2600, Some(&before));
    check(&again, ["55.5", "0", "25", "26", "54.5", "2024-05-05"]);
    assert_eq!(again.until, february.until);
}

#[test]
fn what_is_added_late_or_taken_out_of_the_file_is_not_lost() {
    let january = bill("2024-01", 4000, None);
    let late = BUDGETS.replace("amount: 100}", "amount: 100}\n      - {from: 2024-01-02, amount: 7}");
    let of = |budgets: &str| {
        let before = after(&january, "2024-01-31T23:00:00Z");
        credits(&rater(budgets), month("2024-02"), &[], Some(&before)).unwrap().unwrap()
    };
    check(&of(&late), ["60", "37.5", "0", "0", "97.5", ""]);
    check(
        &of("currency: EUR\nteams:\n  b: {monthly: [{from: 2024-01, amount: 1}]}\n"),
        ["60", "-100", "0", "0", "-40", ""],
    );
}

#[test]
fn a_month_that_no_report_has_is_said() {
    let before = after(&bill("2024-01", 0, None), "2024-01-31T23:00:00Z");
    assert_eq!(before.difference(month("2024-02")), None);
    assert!(before.difference(month("2024-03")).unwrap().contains("in no balance"));
}
