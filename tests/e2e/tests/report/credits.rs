//! Balances of credits over a chain of reports: each begins where the one before ended, and takes what its own lines say.
//! The amounts themselves are checked by hand in the unit tests.

use std::fs;

use serde_json::Value;
use wattribute_e2e::Scratch;

use crate::folder::{Desk, FIRST, SECOND};
use crate::schema::check_schema;
use crate::story::{PRICES, prometheus, series};

const BUDGETS: &str = "currency: EUR\nteams:\n  vision:\n    credits:\n      - {from: 2024-01-01, amount: 10}\n      \
     - {from: 2024-03-31, amount: 2.5}\n";

#[test]
fn balances_go_on_over_a_chain_of_reports() {
    let scratch = Scratch::new("report-credits");
    let server = prometheus(&scratch, &series());
    let desk = Desk { server: format!("http://{}", server.address()), scratch };
    fs::write(desk.path("prices.yaml"), PRICES).expect("written");
    fs::write(desk.path("budgets.yaml"), BUDGETS).expect("written");
    let budgets = ("--budgets", "budgets.yaml");
    // Cost, and what the balance says, in cents.
    let bill = |name: &str, period, more: &[(&str, &str)]| -> (i64, [i64; 5]) {
        let output = desk.report(name, period, &[&[budgets], more].concat());
        assert!(output.status.success(), "{output:?}");
        let json = fs::read(desk.path(name).join("report.json")).expect("a report");
        let bill: Value = serde_json::from_slice(&json).expect("JSON");
        check_schema(&bill);
        let vision =
            bill["teams"].as_array().expect("teams").iter().find(|team| team["labels"]["team"] == "vision");
        let account = &bill["credits"]["teams"][0];
        let keys = ["opening", "added", "returned", "consumed", "closing"];
        (cents(&vision.expect("vision")["cost"]), keys.map(|key| cents(&account[key])))
    };
    let (one, first) = bill("1", FIRST, &[]);
    assert_eq!(first, [1000, 0, 0, one, 1000 - one]);
    let (two, second) = bill("2", SECOND, &[("--previous", "1")]);
    assert_eq!(second, [1000 - one, 250, 0, two, 1250 - one - two]);
    assert_eq!(one + two, 1542);
    assert!(second[4] < 0, "{second:?}");
    // A correction with other prices gives back what the first had taken.
    fs::write(desk.path("prices.yaml"), PRICES.replace("per_hour: 2.00", "per_hour: 1.00")).expect("written");
    let (cheaper, third) = bill("2a", SECOND, &[("--previous", "2"), ("--amends", "2")]);
    assert_eq!(third, [second[4], 0, two, cheaper, second[4] + two - cheaper]);
    assert!(cheaper < two);
    desk.verify(&["1", "2", "2a"], &[]).expect("a chain");

    let lost = desk.report("3", ["2024-03-31T05:00", "2024-03-31T05:01"], &[("--previous", "2a")]);
    assert!(String::from_utf8_lossy(&lost.stderr).contains("give --budgets"), "{lost:?}");
    let report = desk.path("2a/report.json");
    let changed =
        fs::read_to_string(&report).expect("a report").replace("\"closing\": \"", "\"closing\": \"1");
    fs::write(&report, changed).expect("written");
    let forged = desk.report("3", ["2024-03-31T05:00", "2024-03-31T05:01"], &[budgets, ("--previous", "2a")]);
    assert!(
        String::from_utf8_lossy(&forged.stderr).contains("it was changed since it was written"),
        "{forged:?}"
    );
}

fn cents(decimal: &Value) -> i64 {
    let value: f64 = decimal.as_str().and_then(|text| text.parse().ok()).expect("a decimal");
    #[expect(clippy::cast_possible_truncation, reason = "small")]
    let cents = (value * 100.0).round() as i64;
    cents
}
