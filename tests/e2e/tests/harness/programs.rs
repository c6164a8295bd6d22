//! Each thing the harness starts, started once.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use wattribute_e2e::{
    Exit, Exporter, Flags, Format, PATIENCE, Process, Prometheus, Scratch, at_best, check_metrics,
    eventually, gunzip, request, require,
};

/// Prometheus, dressed up as an exporter.
fn stand_in(scratch: &Scratch) -> Flags {
    let config = scratch.write("stand-in.yml", "global: {scrape_interval: 1s}\n");
    let path = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let others = vec![path("config.file", &config), path("storage.tsdb.path", &scratch.path("stand-in"))];
    Flags { program: Some(require("prometheus")), others, ..Flags::default() }
}

fn start(scratch: &Scratch) -> Exporter {
    Exporter::start(scratch, stand_in(scratch)).unwrap_or_else(|Exit { stderr, .. }| panic!("{stderr}"))
}

#[test]
fn prometheus_scrapes_and_answers() {
    let scratch = Scratch::new("prometheus");
    let exporter = start(&scratch);
    let (target, label) = (exporter.address(), exporter.address().to_string());
    let prometheus = Prometheus::start(scratch.path("one"), &[target], Duration::from_secs(1));
    let up = eventually(PATIENCE, "a target is up", || {
        let found = prometheus.query("up == 1");
        (!found.is_empty()).then_some(found)
    });
    assert_eq!((up[0].0["instance"].as_str(), up[0].1), (label.as_str(), 1.0));
    let now = prometheus.query("time()")[0].1;
    let before = prometheus.query_at("time()", now - 60.0)[0].1;
    assert!((now - before - 60.0).abs() < 0.01);
    let ranges = prometheus.query_range("vector(7)", (now - 4.0, now), Duration::from_secs(2));
    assert_eq!(ranges[0].1.iter().map(|point| point.1).collect::<Vec<_>>(), [7.0; 3]);
    assert!(prometheus.query("up{job=~\"no, not \\\"+&%= this\"}").is_empty());
    let other = Prometheus::start(scratch.path("two"), &[], Duration::from_secs(1));
    assert_ne!(other.address(), prometheus.address());
}

#[test]
fn prometheus_ends_with_its_value() {
    let scratch = Scratch::new("prometheus-end");
    let prometheus = Prometheus::start(scratch.path("one"), &[], Duration::from_secs(1));
    let address = prometheus.address();
    drop(prometheus);
    assert!(wattribute_e2e::get(address, "/-/ready", &[]).is_err());
}

#[test]
fn an_exporter_is_scraped() {
    let scratch = Scratch::new("scrape");
    let exporter = start(&scratch);
    let classic = exporter.scrape();
    assert_eq!(classic.types["process_start_time_seconds"], "gauge");
    assert!(classic.value("prometheus_build_info", &[]).is_some());
    let zipped = exporter.get("/metrics", &[("Accept-Encoding", "gzip")]).expect("a scrape");
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let text = String::from_utf8(gunzip(&zipped.body)).expect("text");
    assert_eq!(check_metrics(&text), Ok(()));
    let reload = request("POST", exporter.address(), "/-/reload", &[]).expect("an answer");
    assert_eq!(reload.status, 403);
}

/// This Prometheus writes of itself in the classic format only.
#[test]
fn a_scrape_in_another_format_is_refused() {
    let scratch = Scratch::new("format");
    let exporter = start(&scratch);
    let refused = catch_unwind(|| exporter.scrape_as(Format::OpenMetrics)).expect_err("not OpenMetrics");
    let complaint = refused.downcast_ref::<String>().expect("a text");
    assert!(complaint.starts_with("200 text/plain"), "{complaint}");
}

#[test]
fn promtool_complains() {
    let complaint = check_metrics("# TYPE joules counter\njoules 1\n").expect_err("no help, no _total");
    assert!(complaint.contains("_total"), "{complaint}");
}

#[test]
fn an_exporter_restarts_on_its_port_whatever_ended_it() {
    let scratch = Scratch::new("restart");
    let mut exporter = start(&scratch);
    let (address, first) = (exporter.address(), exporter.pid());
    exporter.restart().expect("ready");
    assert_eq!(exporter.address(), address);
    assert_ne!(exporter.pid(), first);
    exporter.kill9();
    assert!(exporter.get("/-/ready", &[]).is_err());
    exporter.restart().expect("ready");
    exporter.signal(Signal::TERM);
    assert!(exporter.wait().status.success());
    assert_eq!(exporter.stderr().matches("Server is ready").count(), 3);
}

#[test]
fn an_exporter_that_does_not_start_says_why() {
    let scratch = Scratch::new("refused");
    let flags = Flags { others: vec!["--no-such-flag".into()], ..stand_in(&scratch) };
    let Exit { status, stderr } = Exporter::start(&scratch, flags).expect_err("it ends");
    assert!(!status.success() && stderr.contains("no-such-flag"), "{stderr}");
}

fn proc(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process").replace('\0', " ")
}

#[test]
fn a_process_is_what_it_was_asked_to_be() {
    let process = Process::named("a_very_long_program").args(&["--model", "llama"]).env("TEAM", "alice");
    let running = process.argv0("python3").user(65_534, 65_533).start();
    let pid = running.pid();
    assert_eq!(proc(pid, "comm"), "a_very_long_pro\n");
    assert_eq!(proc(pid, "cmdline"), "python3 --model llama ");
    assert_eq!(proc(pid, "environ"), "TEAM=alice ");
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).expect("a link"), running.exe());
    let status = proc(pid, "status");
    assert!(
        status.contains("Uid:\t65534\t65534\t65534") && status.contains("Gid:\t65533\t65533\t65533"),
        "{status}"
    );
    assert!(status.lines().any(|line| line.trim_end() == "Groups:"), "{status}");
    let folder: PathBuf = running.exe().parent().expect("a folder").into();
    running.end();
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && !folder.exists());
}

#[test]
fn a_scratch_folder_is_unique_and_goes() {
    let (one, other) = (Scratch::new("same"), Scratch::new("same"));
    assert_ne!(one.path(""), other.path(""));
    let file = one.write("file", "content");
    drop(one);
    assert!(!file.exists() && other.path("").is_dir());
}

#[test]
#[should_panic(expected = "apt-get install no-such-tool")]
fn a_missing_program_fails_its_test() {
    let _path = require("no-such-tool");
}

#[test]
#[should_panic(expected = "the moon is blue: not within")]
fn waiting_ends() {
    eventually(Duration::from_millis(50), "the moon is blue", || None::<()>);
}

#[test]
fn the_best_of_three_counts() {
    let mut took = [9, 1, 9].map(Duration::from_secs).into_iter();
    at_best(Duration::from_secs(2), "it is done", || took.next().expect("a time"));
    assert_eq!(took.len(), 1);
}

#[test]
#[should_panic(expected = "it is done: not within 2s")]
fn three_times_too_long_is_too_long() {
    at_best(Duration::from_secs(2), "it is done", || Duration::from_secs(2));
}
