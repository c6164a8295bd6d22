//! What the recording rules have of the same hours, beside the bill. The recorded series are written here: some equal
//! to the bill, some further from it than they may be.

use serde_json::{Value, json};
use wattribute_e2e::Scratch;

use crate::bill::{report, said};
use crate::schema::check_schema;
use crate::story::{EVIL, MINUTES, prometheus, series};

/// A recorded series: what it has of each of the seven hours, in their last minute.
fn hourly(name: &str, labels: &str, hours: [i64; 7]) -> (String, Vec<(i64, i64)>) {
    let points = (1..=MINUTES / 60).zip(hours).map(|(hour, value)| (hour * 60 - 1, value));
    (format!("{name}{{{labels}}}"), points.collect())
}

#[test]
fn the_recording_rules_are_compared_with_the_bill() {
    let scratch = Scratch::new("report-recorded");
    let mut all = series();
    let energy = |team: &str, hours| {
        let team = team.replace('"', "\\\"");
        hourly("team:energy_joules:closed_hour", &format!("team=\"{team}\",month=\"24291\""), hours)
    };
    let once = |joules| [joules, 0, 0, 0, 0, 0, 0];
    all.extend([
        energy("vision", [1_917_000; 7]), // 13,419,000 against 13,356,000
        energy("speech", [240_000; 7]),   // 1,680,000 against 1,740,000
        energy(EVIL, once(2_880_000)),
        energy("unallocated", once(537_000)),
        energy("unobserved", once(276_000)),
        hourly("team:cost:closed_hour", "team=\"vision\",currency=\"EUR\"", [2, 2, 2, 2, 2, 2, 3]), // 15 against 15.426333
        hourly("team:cost:closed_hour", "team=\"vision\",currency=\"USD\"", [9; 7]),
    ]);
    let server = prometheus(&scratch, &all);
    let rules = |arguments: &[&str]| -> (Value, Vec<String>) {
        let json = said(&report(server.address(), &scratch, &[&["--format=json"], arguments].concat()));
        let bill: Value = serde_json::from_str(&json).expect("JSON");
        check_schema(&bill);
        let differences = bill["reconciliation"]["differences"].as_array().expect("differences").iter();
        let differences =
            differences.filter_map(Value::as_str).filter(|text| text.contains("recording rules"));
        (bill["reconciliation"]["rules"].clone(), differences.map(str::to_owned).collect())
    };
    let (compared, differences) = rules(&[]);
    assert_eq!(compared["state"], "compared");
    assert_eq!([&compared["recorded_hours"], &compared["expected_hours"]], [7, 7]);
    assert_eq!(compared["not_recorded"], json!(["held_seconds"]));
    let of = |team: &str, figure: &str| {
        let teams = compared["teams"].as_array().expect("teams");
        teams.iter().find(|one| one["team"] == team && one["figure"] == figure).expect("compared").clone()
    };
    let speech = json!({"team": "speech", "figure": "energy_joules", "recorded": "1680000.000", "report": "1740000.000",
        "difference": "-60000.000", "difference_percent": "-3.448", "is_within_tolerance": false});
    assert_eq!(of("speech", "energy_joules"), speech);
    assert_eq!(of("vision", "energy_joules")["difference_percent"], "0.471");
    assert_eq!(
        [of("vision", "cost")["recorded"].clone(), of("vision", "cost")["report"].clone()],
        ["15.000000", "15.426333"]
    );
    assert_eq!(compared["totals"][0]["report"], "18789000.000");
    // Energy of one team, cost of vision, and the cost of four that has no record.
    assert_eq!(differences.len(), 6, "{differences:?}");
    assert_eq!(rules(&["--rules-tolerance=5"]).1.len(), 4);
    let (off, none) = rules(&["--rules-tolerance=off"]);
    assert_eq!((off["state"].as_str(), none.len()), (Some("not asked for"), 0));
    let (nowhere, none) = rules(&["--rules-match=cluster=\"b\""]);
    assert_eq!((nowhere["state"].as_str(), none.len()), (Some("no recorded series: not compared"), 0));
    let text = said(&report(server.address(), &scratch, &[]));
    assert!(text.contains("energy_joules: 18792000.000 by the rules, 18789000.000 here, 0.015 %"), "{text}");
}
