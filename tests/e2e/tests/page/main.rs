//! The page at `/` in a real browser: without its script it says all there is; with it, it stays current and keeps what
//! the reader is at; and nothing that a name says becomes markup.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod browser;
mod live;
mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use browser::{Seen, look, values};
use fake_nvml::{Gpu, Load, Scenario, Seconds};
use proxy::Proxy;
use rustix::process::Signal;
use serde_json::Value;
use wattribute_e2e::{
    Exporter, Flags, PATIENCE, Process, Response, Running, Scrape, Scratch, TEAM_OF_ENVIRONMENT, eventually,
    gunzip, request,
};

/// What people may call a team.
const HOSTILE: &str = "<img src=x onerror=document.title=1>\"'&";
/// The same as a browser writes it.
const ESCAPED: &str = "<bdi>&lt;img src=x onerror=document.title=1&gt;\"'&amp;</bdi>";

/// An exporter with two GPUs. On the first, which draws nothing by itself, a team with a hostile name works for some
/// seconds; on the other a process with a hostile name works on and on.
struct Setting {
    exporter: Exporter,
    _processes: [Running; 2],
    scratch: Scratch,
}

fn begin(name: &str) -> Setting {
    let scratch = Scratch::new(name);
    let processes = [
        Process::named("python3").env("TEAM", HOSTILE).start(),
        Process::named("<b>'&").env("TEAM", "steady").start(),
    ];
    let mut gpus: Vec<Gpu> = (0..2).map(Gpu::numbered).collect();
    gpus[0].idle_watts = 0;
    gpus[0].model = "<script>document.title=2</script>".into();
    let mut scenario = Scenario::starting_now(gpus);
    let [hostile, steady] = processes.each_ref().map(Running::pid);
    let some_seconds = Some(Seconds::from(12.0));
    scenario.loads =
        vec![Load { until_s: some_seconds, ..Load::constant(hostile, 0, 60) }, Load::constant(steady, 1, 30)];
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", TEAM_OF_ENVIRONMENT)],
        exposition_delay: Some(Duration::from_secs(2)),
        others: vec!["--web.enable-processes".into()],
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    eventually(PATIENCE, "both teams have drawn something", || {
        let page = exporter.get("/", &[]).expect("a page").text();
        let teams = page.split_once("<tbody>").map_or("", |(_, teams)| teams);
        (teams.contains("onerror") && teams.contains("steady")).then_some(())
    });
    Setting { exporter, _processes: processes, scratch }
}

impl Setting {
    fn page(&self) -> String {
        format!("http://{}/", self.exporter.address())
    }
}

/// A team's energy over all GPUs, in J.
fn energy(scrape: &Scrape, team: &str) -> f64 {
    let samples = scrape.find("wattribute_team_energy_joules_total", &[("team", team)]);
    let millijoules: u64 = samples.iter().filter_map(|sample| sample.millijoules()).sum();
    Duration::from_millis(millijoules).as_secs_f64()
}

/// What the scrape has of a GPU, in the order of its card.
fn gauges(scrape: &Scrape, uuid: &str) -> Vec<f64> {
    let names = [
        "power_watts",
        "power_limit_watts",
        "utilization_ratio",
        "memory_used_bytes",
        "memory_total_bytes",
        "temperature_celsius",
    ];
    let value = |name: &str| scrape.value(&format!("wattribute_gpu_{name}"), &[("uuid", uuid)]);
    names.iter().filter_map(|name| value(name)?.parse().ok()).collect()
}

/// A team's row: watts, joules, share, GPUs, processes.
#[track_caller]
fn row(seen: &Seen, team: &str) -> Vec<f64> {
    let table = seen.part("<table class=\"teams\">", "</table>");
    let row = table.split("<tr>").find(|row| row.contains(team));
    values(row.unwrap_or_else(|| panic!("no {team} in {table}")))
}

/// A proxy that forbids the page its script.
fn without_script(exporter: SocketAddr) -> Proxy {
    let forbid = |_, mut page: Response| {
        for (_, policy) in page.headers.iter_mut().filter(|(name, _)| name == "content-security-policy") {
            let parts = policy.split("; ");
            let part = |part| if str::starts_with(part, "script-src") { "script-src 'none'" } else { part };
            *policy = parts.map(part).collect::<Vec<_>>().join("; ");
        }
        page
    };
    Proxy::before(exporter, Box::new(forbid))
}

#[test]
fn without_script_its_numbers_are_those_of_the_scrape_and_of_the_api() {
    let setting = begin("page-numbers");
    let (proxy, uuid) = (without_script(setting.exporter.address()), Gpu::numbered(1).uuid);
    // The page is live, and the counters follow.
    let (seen, scrape) = eventually(PATIENCE, "two equal scrapes, and the page between them", || {
        let before = setting.exporter.scrape();
        let seen = look(&setting.scratch, &proxy.page(), 500);
        let after = setting.exporter.scrape();
        let same = energy(&before, HOSTILE) == energy(&after, HOSTILE)
            && row(&seen, ESCAPED)[..2] == [0.0, energy(&after, HOSTILE)]
            && gauges(&before, &uuid) == gauges(&after, &uuid);
        same.then_some((seen, after))
    });
    let is_forbidden = |complaint: &String| complaint.contains("inline script");
    assert!(!seen.complaints.is_empty() && seen.complaints.iter().all(is_forbidden), "{:?}", seen.complaints);
    assert!(seen.document.contains("<html lang=\"en\">"), "the script has run");

    let card = seen.part(&format!("data-key=\"{uuid}\""), "</dl>");
    assert_eq!(values(card), gauges(&scrape, &uuid), "{card}");
    assert_eq!(gauges(&scrape, &uuid).len(), 6);
    let hostile = row(&seen, ESCAPED);
    assert!(hostile[1] > 0.0);
    assert_eq!(hostile[3..], [0.0, 0.0]);
    assert_eq!(row(&seen, "steady")[3..], [1.0, 1.0]);

    let listed = setting.exporter.get("/api/v1/processes", &[]).expect("an answer");
    let listed: Value = serde_json::from_slice(&listed.body).expect("JSON");
    let process = &listed["gpus"][1]["processes"][0];
    let part = seen.part(&format!("./api/v1/processes?pid={}\"", process["pid"]), "</tr>");
    let [memory, busy] = [&process["memory_bytes"], &process["sm_utilization"]].map(Value::as_f64);
    let [shown_memory, shown_busy] = values(part)[..] else { panic!("{part}") };
    // The driver's samples of it are not exactly alike.
    let is_near = |busy: f64| (busy - shown_busy).abs() < 0.05;
    assert!(Some(shown_memory) == memory && busy.is_some_and(is_near), "{part} {process}");
    assert!(part.contains("<bdi>&lt;b&gt;'&amp;</bdi>"), "{part}");
}

#[test]
fn hostile_names_stay_text() {
    let setting = begin("page-hostile");
    let broken = TEAM_OF_ENVIRONMENT.replace("match:", "<img src=y>:");
    setting.scratch.write("rules.yaml", &broken);
    setting.exporter.signal(Signal::HUP);
    eventually(PATIENCE, "the rules are refused", || {
        let page = setting.exporter.get("/", &[]).expect("a page").text();
        page.contains("The rules were refused").then_some(())
    });
    let seen = look(&setting.scratch, &setting.page(), 6_000);
    assert_eq!(seen.complaints, [] as [String; 0]);
    let document = &seen.document;
    assert!(document.contains("· Wattribute</title>"), "{document}");
    assert_eq!((document.matches("<script").count(), document.matches("<img").count()), (1, 0), "{document}");
    for text in
        ["&lt;img src=y&gt;", ESCAPED, "&lt;script&gt;document.title=2&lt;/script&gt;", "&lt;b&gt;'&amp;"]
    {
        assert!(document.contains(text), "no {text} in {document}");
    }
}

#[test]
fn it_is_packed_if_asked_not_kept_and_strict_about_what_may_run() {
    let setting = begin("page-headers");
    let address = setting.exporter.address();
    let head = request("HEAD", address, "/", &[]);
    assert!(head.is_err(), "a HEAD has no body, which the client takes for half an answer");
    let answer = setting.exporter.get("/", &[("Accept-Encoding", "gzip")]).expect("a page");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-encoding", "gzip"),
        ("cache-control", "no-store"),
        ("vary", "Accept-Encoding"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let unpacked = gunzip(&answer.body);
    assert!(unpacked.starts_with(b"<!doctype html>") && unpacked.ends_with(b"</html>\n"));
}
