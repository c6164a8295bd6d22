//! `wattribute --source demo`, as someone without a GPU tries it: what it shows, and that it says what it is.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::thread::sleep;
use std::time::Duration;

use wattribute_e2e::{
    Auditor, Exporter, Flags, Format, Scrape, Scratch, accounted_gpus, check_metrics, device_mj, gunzip,
    team_mj,
};

fn start(scratch: &Scratch) -> Exporter {
    let flags = Flags { source: Some("demo".into()), ..Flags::default() };
    Exporter::start(scratch, flags).expect("it starts")
}

/// The energy of all teams of rules, in mJ.
fn of_people(scrape: &Scrape) -> u64 {
    let samples = scrape.find("wattribute_team_energy_joules_total", &[("kind", "active")]);
    let reserved = ["unattributed", "unallocated", "shared_idle", "unobserved", "overflow"];
    let people = samples.iter().filter(|sample| !reserved.contains(&sample.labels["team"].as_str()));
    people.filter_map(|sample| sample.millijoules()).sum()
}

#[test]
fn the_first_minute_is_not_empty_and_every_scrape_adds_up() {
    let scratch = Scratch::new("demo");
    let exporter = start(&scratch);
    let mut auditor = Auditor::default();
    auditor.until(&exporter, "people have used energy", |scrape| of_people(scrape) > 0);
    auditor.watch(&exporter, Duration::from_secs(10));
    let last = auditor.until(&exporter, "all GPUs have used energy, and one idles", |scrape| {
        let gpus = accounted_gpus(scrape);
        let all = gpus.len() >= 2 && gpus.iter().all(|uuid| device_mj(scrape, uuid) > 0);
        all && team_mj(scrape, "unallocated", "") > 0
    });
    let models = last.find("wattribute_gpu_info", &[]);
    let models: std::collections::BTreeSet<_> = models.iter().map(|sample| &sample.labels["model"]).collect();
    assert_eq!(models.len(), 2, "{models:?}");
}

#[test]
fn page_metrics_and_log_say_that_it_is_simulated() {
    let scratch = Scratch::new("demo-says");
    let exporter = start(&scratch);
    let sources = exporter.scrape().find("wattribute_source_info", &[]).len();
    assert_eq!(sources, 1);
    assert_eq!(exporter.scrape().value("wattribute_source_info", &[("source", "demo")]), Some("1"));
    let page = exporter.get("/", &[]).expect("a page");
    assert_eq!(page.status, 200);
    assert!(page.text().to_lowercase().contains("simulated"), "{}", page.text());
    assert!(exporter.stderr().contains("simulated"), "{}", exporter.stderr());
    assert_eq!(exporter.get("/-/healthy", &[]).expect("an answer").status, 200);
}

#[test]
fn promtool_has_no_complaint_while_the_demo_runs() {
    let scratch = Scratch::new("demo-promtool");
    let exporter = start(&scratch);
    for pause in [0, 4, 4] {
        sleep(Duration::from_secs(pause));
        let text = exporter.get("/metrics", &[]).expect("a scrape").text();
        assert_eq!(check_metrics(&text), Ok(()), "{text}");
    }
}

#[test]
fn format_and_compression_are_what_the_scraper_accepts() {
    let scratch = Scratch::new("demo-formats");
    let exporter = start(&scratch);
    let open = exporter.scrape_as(Format::OpenMetrics);
    let classic = exporter.scrape_as(Format::Classic);
    let gpus = |scrape: &Scrape| accounted_gpus(scrape).len();
    assert!(gpus(&open) > 0 && gpus(&open) == gpus(&classic));
    let plain = exporter.get("/metrics", &[]).expect("a scrape");
    assert_eq!(plain.header("content-type").map(|kind| kind.starts_with("text/plain")), Some(true));
    assert_eq!(plain.header("content-encoding"), None);
    for format in [Format::Classic, Format::OpenMetrics] {
        let accepts = [("Accept", format.content_type()), ("Accept-Encoding", "gzip")];
        let answer = exporter.get("/metrics", &accepts).expect("a scrape");
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        let text = String::from_utf8(gunzip(&answer.body)).expect("text");
        Scrape::parse(&text, format).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    // What Prometheus sends.
    let accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.3";
    let answer = exporter.get("/metrics", &[("Accept", accept)]).expect("a scrape");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
}
