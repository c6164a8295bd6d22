//! What was in force when, and what is wrong with files.

use jiff::Timestamp;

use super::{Budgets, Micros, Month, Prices};

const PRICES: &str = r#"
currency: EUR
time_zone: Europe/Berlin
sites:
  default:
    electricity: [{from: 2026-01-01, per_kwh: 0.30}, {from: 2026-11-15, per_kwh: 0.28}]
    pue: [{from: 2026-01-01, ratio: 1.3}, {from: 2026-07-01, ratio: 1.25}]
  north:
    electricity:
      - from: 2026-01-01
        bands:
          - {days: [mon-thu, fri], hours: 6-22, per_kwh: 0.32}
          - {days: mon-fri, hours: [0-6, 22-24], per_kwh: 0.24}
          - {days: sat-sun, per_kwh: 0.2}
    pue: [{from: 2026-01-01, ratio: 1}]
    carbon: [{from: 2026-06-01, grams_per_kwh: 40.5, source: grid, year: 2025}]
hardware:
  - {model: "NVIDIA H100 NVL", rates: [{from: 2026-11-15, per_hour: 3}]}
  - {model: "NVIDIA H100.*", rates: [{from: 2026-01-01, per_hour: 2.1}]}
"#;

fn prices() -> Prices {
    Prices::read("prices.yaml", PRICES).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

#[track_caller]
fn check_electricity(site: Option<&str>, time: &str, want: Option<&str>) {
    let got = prices().electricity_at(site, at(time));
    assert_eq!(got, want.map(|price| Micros::parse(price).unwrap()));
}

#[test]
fn a_tariff_begins_at_local_midnight() {
    check_electricity(None, "2025-12-31T22:59:59Z", None);
    check_electricity(None, "2025-12-31T23:00:00Z", Some("0.3"));
    check_electricity(None, "2026-11-14T22:59:59Z", Some("0.3"));
    check_electricity(None, "2026-11-14T23:00:00Z", Some("0.28"));
}

#[test]
fn a_site_that_is_not_named_has_no_price() {
    check_electricity(Some("south"), "2026-06-01T00:00:00Z", None);
    check_electricity(Some("default"), "2026-06-01T00:00:00Z", None);
}

#[test]
fn hours_and_days_are_those_of_the_local_clock() {
    check_electricity(Some("north"), "2026-11-20T05:30:00Z", Some("0.32"));
    check_electricity(Some("north"), "2026-11-20T04:30:00Z", Some("0.24"));
    check_electricity(Some("north"), "2026-06-19T04:30:00Z", Some("0.32"));
    check_electricity(Some("north"), "2026-11-20T22:59:59Z", Some("0.24"));
    check_electricity(Some("north"), "2026-11-20T23:00:00Z", Some("0.2"));
}

#[test]
fn what_comes_with_electricity_has_its_own_days() {
    let ratio = |time| prices().pue_at(None, at(time)).map(|ratio| ratio.to_string());
    assert_eq!(ratio("2026-06-30T22:00:00Z").as_deref(), Some("1.25"));
    assert_eq!(ratio("2026-06-30T21:59:59Z").as_deref(), Some("1.3"));
    let carbon = |site, time| prices().carbon_at(site, at(time)).cloned();
    assert_eq!(carbon(None, "2026-08-01T00:00:00Z"), None);
    assert_eq!(carbon(Some("north"), "2026-05-31T21:59:59Z"), None);
    let grid = carbon(Some("north"), "2026-05-31T22:00:00Z").unwrap();
    assert_eq!((grid.grams_per_kwh, &*grid.source, &*grid.year), (Micros(40_500_000), "grid", "2025"));
}

#[track_caller]
fn check_hardware(model: &str, time: &str, want: Option<&str>) {
    let got = prices().hardware_at(model, at(time)).map(|rate| rate.to_string());
    assert_eq!(got.as_deref(), want);
}

#[test]
fn the_first_pattern_with_a_rate_wins() {
    check_hardware("NVIDIA H100 NVL", "2026-11-15T00:00:00Z", Some("3"));
    check_hardware("NVIDIA H100 NVL", "2026-11-14T00:00:00Z", Some("2.1"));
    check_hardware("NVIDIA H100 80GB HBM3", "2026-11-15T00:00:00Z", Some("2.1"));
    check_hardware("An NVIDIA H100", "2026-11-15T00:00:00Z", None);
    check_hardware("NVIDIA H100", "2025-11-15T00:00:00Z", None);
}

#[test]
fn a_single_month_goes_before_the_monthly_amount() {
    let text = "
currency: EUR
teams:
  a:
    months: {2026-03: 7, 2026-12: 0}
    monthly: [{from: 2026-02, amount: 5}, {from: 2026-05, amount: none}]
    projects: {p: {months: {2026-03: 2}}}
    credits: [{from: 2026-01-01, amount: 1000.5, note: grant}]
";
    let budgets = Budgets::read("budgets.yaml", text).unwrap();
    let of = |month| budgets.of("a", Month::parse(month).unwrap()).map(|amount| amount.to_string());
    let months = ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-12", "2027-01"];
    let want = [None, Some("5"), Some("7"), Some("5"), None, Some("0"), None];
    assert_eq!(months.map(of), want.map(|amount| amount.map(str::to_owned)));
    let march = Month::parse("2026-03").unwrap();
    assert_eq!(budgets.of_project("a", "p", march), Some(Micros(2_000_000)));
    assert_eq!(budgets.of_project("a", "q", march), None);
    assert_eq!(budgets.of("b", march), None);
    assert_eq!(budgets.credits("a")[0].amount, Micros(1_000_500_000));
    assert!(budgets.credits("b").is_empty());
    assert_eq!(budgets.thresholds(), [50, 80, 100]);
}

/// What is wrong with a file of prices or budgets.
#[track_caller]
fn wrong(file: &str, text: &str, want: &str) {
    let problems = match file {
        "prices" => Prices::read("f", text).map(drop),
        _ => Budgets::read("f", text).map(drop),
    };
    assert_eq!(problems.unwrap_err().to_string(), want.trim());
}

/// What is wrong with one site.
#[track_caller]
fn wrong_site(site: &str, want: &str) {
    let text = format!("currency: EUR\ntime_zone: UTC\nsites:\n  x:\n{site}");
    wrong("prices", &text, want);
}

const PUE: &str = "    pue: [{from: 2026-01-01, ratio: 1}]\n";

#[test]
fn what_is_missing_unknown_or_twice_is_reported_at_once() {
    wrong("prices", "", "f:1: the file is empty (write at least `sites: {}`)");
    wrong(
        "prices",
        "curency: EUR\ntime_zone: Europe/Berlyn\nhardware: {}\nhardware: []\n",
        r#"
f:1: unknown key "curency" (did you mean "currency"?)
f:1: currency is missing (add `currency: …`)
f:1: sites is missing (add `sites: …`)
f:2: time_zone: unknown time zone "Europe/Berlyn" (did you mean "Europe/Berlin"?)
f:3: hardware: expected a list, found a map
f:4: duplicate key "hardware" (first in line 3)"#,
    );
    wrong_site(
        "    electricity: [{per_kwh: 0.1}, {from: 2026-01-01}]\n    pue: [{from: 2026-01-01, ration: 1}]",
        r#"
f:5: site "x": from is missing (add `from: …`)
f:5: site "x": electricity: neither per_kwh nor bands (add `per_kwh: …`, or `bands:` by hours and days)
f:6: site "x": unknown key "ration" (did you mean "ratio"?)
f:6: site "x": ratio is missing (add `ratio: …`)"#,
    );
}

#[test]
fn days_must_rise_and_be_days() {
    let step = |from: &str| format!("      - {{from: {from}, per_kwh: 1}}\n");
    let steps = ["2026-01-02", "2026-01-02", "2026-01-01", "2026-02-30", "1.1.2027"].map(step).concat();
    wrong_site(
        &format!("    electricity:\n{steps}{PUE}"),
        r#"
f:7: site "x": electricity.from: not later than the step before it (the oldest stands first, no day twice)
f:8: site "x": electricity.from: not later than the step before it (the oldest stands first, no day twice)
f:9: site "x": electricity.from: "2026-02-30" is no day (a day from 1970 to 2199, like 2026-11-30)
f:10: site "x": electricity.from: "1.1.2027" is no day (a day from 1970 to 2199, like 2026-11-30)"#,
    );
}

#[test]
fn numbers_are_decimals_and_not_negative() {
    wrong_site(
        "    electricity: [{from: 2026-01-01, per_kwh: -0.1}]\n    pue: [{from: 2026-01-01, ratio: 0.9}]",
        r#"
f:5: site "x": per_kwh: "-0.1" is no amount (a decimal like 0.31, not negative, with at most six digits after the point)
f:6: site "x": pue.ratio: "0.9" is below 1 (a site draws at least what its machines draw)"#,
    );
}

#[track_caller]
fn wrong_bands(bands: &str, want: &str) {
    let site = format!("    electricity:\n      - from: 2026-01-01\n        bands: {bands}\n{PUE}");
    wrong_site(&site, &format!("f:7: site \"x\": {want}"));
}

#[test]
fn every_hour_has_one_price() {
    wrong_bands(
        "[{hours: 0-7, per_kwh: 1}, {hours: 8-24, per_kwh: 2}]",
        "bands: no price on mon from 7 to 8 (add a band, or `per_kwh: …` beside `bands` for all other hours)",
    );
    wrong_bands(
        "[{days: mon-sat, per_kwh: 1}, {days: [sat, sun], per_kwh: 2}]",
        "bands: overlaps the band in line 7, first on sat from 0 to 1 (an hour has one price: take it out of one of them)",
    );
    wrong_bands(
        "[{per_kwh: 1}]\n        per_kwh: 2",
        "bands: per_kwh beside bands that leave no hour (drop per_kwh)",
    );
}

#[test]
fn a_range_runs_forward() {
    wrong_bands(
        "[{hours: 22-6, per_kwh: 1}]",
        "bands.hours: \"22-6\" ends before it begins (the hours are of each day itself: write a list, like [22-24, 0-6])",
    );
    wrong_bands(
        "[{days: fri-mon, per_kwh: 1}]",
        "bands.days: \"fri-mon\" runs over the end of the week (the week begins on mon: write a list, like [fri-sun, mon])",
    );
    wrong_bands(
        "[{hours: 6-25, per_kwh: 1}]",
        "bands.hours: \"6-25\" is no range of hours (like 6-22, from 6:00 until 22:00, whole hours from 0 to 24)",
    );
    wrong_bands(
        "[{days: munday, per_kwh: 1}]",
        "bands.days: unknown day \"munday\" (mon tue wed thu fri sat sun)",
    );
}

#[test]
fn a_price_without_a_pue_is_refused() {
    wrong_site(
        "    electricity: [{from: 2026-01-01, per_kwh: 1}]\n    pue: [{from: 2026-01-02, ratio: 1}]",
        "f:4: site \"x\": pue: the first PUE is later than the first price (let it begin on the same day; a ratio of 1 adds nothing)",
    );
}

#[test]
fn a_pattern_must_mean_the_same_to_prometheus() {
    wrong(
        "prices",
        "currency: EUR\ntime_zone: UTC\nsites: {}\nhardware:\n- {model: '(?i)h100', rates: [{from: 2026-01-01, per_hour: 1}]}\n- {model: 'a(', rates: []}\n",
        r#"
f:5: model: a group with flags or a name in the pattern "(?i)h100" (Prometheus reads it otherwise: keep to letters, `.`, `*`, `+`, `?`, `|`, (…) and […])
f:6: model: bad regular expression `a(`: unclosed group (write `\` before a character that stands for itself)
f:6: rates: an empty list (write one step, or drop the key)"#,
    );
}

#[test]
fn budgets_are_checked_alike() {
    wrong(
        "budgets",
        "currency: E\nthresholds: [80, 50, 0]\nteams:\n  a: {}\n  b: {monthly: [{from: 2026-13, amount: 1e3}], mont: 1}\n  c: {months: {2026-1: 5}}\n  a: {}\n",
        r#"
f:1: currency: "E" is no currency (three capital letters, like EUR)
f:2: thresholds: "0" is no percentage (a whole number from 1 to 1000)
f:4: team "a": it has nothing (add `monthly: […]`, or drop the team)
f:5: team "b": unknown key "mont" (did you mean "months"?)
f:5: team "b": monthly.from: "2026-13" is no month (a month from 1970 to 2199, like 2026-11)
f:5: team "b": monthly.amount: "1e3" is no amount (a decimal like 0.31, not negative, with at most six digits after the point)
f:6: team "c": months: "2026-1" is no month (a month from 1970 to 2199, like 2026-11)
f:7: duplicate key "a" (first in line 4)"#,
    );
}

#[test]
fn files_over_the_limits_are_not_parsed() {
    let deep = format!("sites: {}{}", "[".repeat(70), "]".repeat(70));
    wrong("prices", &deep, "f:1: nested deeper than 64");
    let large = "#".repeat((4 << 20) + 1);
    wrong("budgets", &large, "f:1: the file has 4194305 bytes, over the limit of 4 MiB (split it)");
}
