//! The bill of the story, against what was computed by hand.
//!
//! GPU-a, H100, site without name, 0.30 × 1.25 until minute 180, then 0.36 × 1.25. Observed 410 of 420 minutes.
//!   vision 300 + 60 W × 24,600 s = 7,380,000 + 1,476,000 J; 3,672,000 J before the change: 1.02 kWh × 0.375 = 0.3825;
//!          5,184,000 J after: 1.44 × 0.45 = 0.648. Held 7200 + 17,400 / 2 = 15,900 s × 2.00 = 8.8333
//!   speech 100 W × 17,400 s = 1,740,000 J: 300,000 × … = 0.03125, 1,440,000 × … = 0.18. Held 8700 s × 2.00 = 4.8333
//!   unobserved 460 W × 600 s = 276,000 J = 0.02875
//! GPU-b, A100, north, 0.20. Of the gap from 170 to 190 the energy and time fall into the hour of its end.
//!   EVIL 200 W × 14,400 s = 2,880,000 J = 0.16. Held until minute 169, 10,140 s × 1.00 = 2.8167; then 4260 s × 1.50 = 1.775
//!   unallocated 50 W × (10,800 − 60) s = 537,000 J = 0.02983: a minute was never shown when its exporter began anew.
//!          Held 10,740 s × 1.50 = 4.475
//! GPU-c, H100: vision 500 W × 9000 s = 4,500,000 J = 1.25 × 0.45 = 0.5625. Held 9000 s × 2.00 = 5.00
//!
//! Electricity 1.593 + 0.21125 + 0.16 + 0.02983 + 0.02875 = 2.02283, hardware 13.83333 + 4.83333 + 4.59167 + 4.475 =
//! 27.73333: 2.02 + 27.73 = 29.75. Cents: vision 159 | 1383, speech 21 | 483, EVIL 16 | 459, unallocated 2.98 → 3 | 447.5 →
//! 448, unobserved 2.875 → 3.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;
use wattribute_e2e::{Scratch, wattribute};

use crate::schema::check_schema;
use crate::story::{EVIL, PRICES, prometheus, series};

/// Team; active, idle, unobserved and the like in J; held in s; electricity, hardware and cost.
const TEAMS: [(&str, &str, &str, &str, [&str; 3]); 5] = [
    (EVIL, "2880000.000", "0.000", "14400.000000", ["0.16", "4.59", "4.75"]),
    ("speech", "1740000.000", "0.000", "8700.000000", ["0.21", "4.83", "5.04"]),
    ("unallocated", "0.000", "537000.000", "10740.000000", ["0.03", "4.48", "4.51"]),
    ("unobserved", "276000.000", "0.000", "0.000000", ["0.03", "0.00", "0.03"]),
    ("vision", "11880000.000", "1476000.000", "24900.000000", ["1.59", "13.83", "15.42"]),
];

/// Runs the command; the period is the story's, written as clocks in Berlin show it.
pub fn report(server: SocketAddr, scratch: &Scratch, arguments: &[&str]) -> Output {
    let prices = scratch.path("prices.yaml");
    fs::write(&prices, PRICES).expect("written");
    let mut command = Command::new(wattribute());
    command.arg("report").arg(format!("--prometheus=http://{server}")).arg("--prices").arg(prices);
    command.args(["--http.retries=0", "--from=2024-03-30T21:00", "--to=2024-03-31T05:00"]).args(arguments);
    command.output().expect("it runs")
}

#[track_caller]
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The bill in JSON is the one that was computed by hand.
#[track_caller]
pub fn check_truth(json: &str) {
    let bill: Value = serde_json::from_str(json).expect("JSON");
    check_schema(&bill);
    let teams: Vec<Value> = bill["teams"].as_array().expect("teams").clone();
    let names: Vec<&str> = teams.iter().filter_map(|team| team["labels"]["team"].as_str()).collect();
    assert_eq!(names, TEAMS.map(|team| team.0));
    for (team, (name, active, idle, held, [electricity, hardware, cost])) in teams.iter().zip(TEAMS) {
        let got = ["active_joules", "idle_joules", "held_seconds", "electricity", "hardware", "cost"]
            .map(|key| &team[key]);
        assert_eq!(got, [active, idle, held, electricity, hardware, cost], "{name}");
    }
    let total = ["energy_joules", "electricity", "hardware", "cost"].map(|key| &bill["total"][key]);
    assert_eq!(total, ["18789000.000", "2.02", "27.73", "29.75"]);
    let books = &bill["reconciliation"];
    let gpus = books["gpus"].as_array().expect("GPUs");
    let device: Vec<_> =
        gpus.iter().map(|gpu| (&gpu["device_joules"], &gpu["difference_joules"], &gpu["resets"])).collect();
    let (zero, none, one) = (Value::from("0.000"), Value::from(0), Value::from(1));
    let joules = ["10872000.000", "3417000.000", "4500000.000"].map(Value::from);
    assert_eq!(device, [(&joules[0], &zero, &none), (&joules[1], &zero, &one), (&joules[2], &zero, &none)]);
    let gaps = books["gaps"].as_array().expect("gaps");
    let gaps: Vec<_> = gaps
        .iter()
        .map(|gap| ["uuid", "from", "to", "energy_joules"].map(|key| gap[key].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        gaps,
        [
            ["GPU-a", "2024-03-30T22:30:00Z", "2024-03-30T22:41:00Z", "27600.000"],
            ["GPU-b", "2024-03-30T22:50:00Z", "2024-03-30T23:10:00Z", "240000.000"],
            ["GPU-c", "2024-03-30T20:01:00Z", "2024-03-31T00:30:00Z", "0.000"],
        ]
    );
    assert_eq!(books["differences"].as_array().map(Vec::len), Some(3), "{}", books["differences"]);
    assert_eq!([&books["observed_gpu_hours"], &books["expected_gpu_hours"]], ["16.317", "21.000"]);
}

#[test]
fn the_bill_is_what_was_computed_by_hand() {
    let scratch = Scratch::new("report");
    let prometheus = prometheus(&scratch, &series());
    check_truth(&said(&report(prometheus.address(), &scratch, &["--format=json"])));

    // Two bills of half the time are the bill of the whole: nothing is lost between them.
    let half = |from, to| {
        let mut command = Command::new(wattribute());
        command.arg("report").arg(format!("--prometheus=http://{}", prometheus.address()));
        let json =
            said(&command.args(["--format=json", "--from", from, "--to", to]).output().expect("it runs"));
        let bill: Value = serde_json::from_str(&json).expect("JSON");
        bill["total"]["energy_joules"]
            .as_str()
            .and_then(|text| text.replace('.', "").parse::<u64>().ok())
            .expect("joules")
    };
    // The cut is in the middle of the gap, which the second half then has whole.
    let halves = [half("2024-03-30T20:00", "2024-03-30T22:55"), half("2024-03-30T22:55", "2024-03-31T03:00")];
    assert_eq!(halves.iter().sum::<u64>(), 18_789_000_000);

    let csv = said(&report(prometheus.address(), &scratch, &["--format=csv"]));
    assert!(csv.contains("\"'=HYPERLINK(\"\"x\"\"),<b>&'\""), "{csv}");
    assert!(csv.contains("\"p,\"\"q\"\"\""), "{csv}");
    let focus = said(&report(prometheus.address(), &scratch, &["--format=focus"]));
    assert!(
        focus.lines().count() == 1 + 2 * (csv.lines().count() - 1) && focus.contains("\"kWh\""),
        "{focus}"
    );
    // Times in UTC; what is not there is nothing, not an empty text.
    assert!(
        focus.contains("\"2024-03-31T03:00:00Z\",\"2024-03-30T20:00:00Z\"") && !focus.contains(",\"\","),
        "{focus}"
    );
    let text = said(&report(prometheus.address(), &scratch, &[]));
    assert!(text.contains("29.75") && text.contains("no scrape of GPU-b"), "{text}");
    let detail = said(&report(prometheus.address(), &scratch, &["--team=speech", "--detail"]));
    assert!(detail.contains("held 2.417 h; electricity 0.21 + hardware 4.83 = 5.04 EUR"), "{detail}");
    assert_eq!(detail.lines().filter(|line| line.contains("GPU-a")).count(), 5, "{detail}");
    let mut command = Command::new(wattribute());
    command.arg("report").arg(format!("--prometheus=http://{}", prometheus.address()));
    command.arg("--prices").arg(scratch.path("prices.yaml")).arg("--explain=GPU-b@2024-03-31T00:00");
    let explained = said(&command.output().expect("it runs"));
    // 71 minutes of 200 W: the gap's and the hour's own; 0.2 × 852000 / 3600000.
    assert!(
        explained.contains("852000.000 J / 3600000 × 1.000000 (building) × 0.200000 EUR/kWh = 0.047333 EUR"),
        "{explained}"
    );
    assert!(explained.contains("4260.000000 s / 3600 × 1.500000 EUR/h = 1.775000 EUR"), "{explained}");
    let inventory = scratch.path("inventory.csv");
    fs::write(&inventory, "uuid,name\nGPU-a,left\nGPU-b,right\nGPU-x,lost\n").expect("written");
    let inventory = inventory.display().to_string();
    let counted = said(&report(prometheus.address(), &scratch, &["--inventory", &inventory]));
    assert!(counted.contains("GPU-x: it is in the inventory, and nobody scraped it"), "{counted}");
    assert!(counted.contains("GPU-c: it is not in the inventory"), "{counted}");
    let strict = report(prometheus.address(), &scratch, &["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
}
