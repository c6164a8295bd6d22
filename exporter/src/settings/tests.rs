//! What is refused, and what the defaults are.

use super::*;
use clap::Parser;

fn settings(line: &str) -> Result<Serve, Vec<String>> {
    let words = std::iter::once("wattribute").chain(line.split_whitespace());
    Serve::check(cli::Cli::try_parse_from(words).expect("flags").serve)
}

#[track_caller]
fn refused(line: &str, want: &[&str]) {
    assert_eq!(settings(line).expect_err(line), want);
}

#[test]
fn nothing_typed_is_enough() {
    let settings = settings("").expect("the defaults");
    assert_eq!(settings.source, Source::Nvml { library: None });
    assert_eq!(settings.exposition_delay, Duration::from_secs(60));
    assert_eq!(settings.web.max_requests, Some(40));
    assert!(settings.web.config_file.is_none() && settings.state_dir.is_none());
    assert_eq!([settings.web.reloaders, settings.web.onlookers], [Audience::Authenticated; 2]);
}

#[test]
fn what_is_typed_is_taken() {
    let settings = settings(
        "--source=nvml --nvml.library=/x.so --web.max-requests=0 --web.enable-lifecycle --state.dir=/s \
         --web.listen-address=[::1]:1 --web.listen-address=:2 --web.listen-address=localhost:3",
    );
    let settings = settings.expect("they fit together");
    assert_eq!(settings.source, Source::Nvml { library: Some("/x.so".into()) });
    assert_eq!(settings.web.max_requests, None);
    assert_eq!(settings.web.reloaders, Audience::Everybody);
    assert_eq!(
        settings.web.listen,
        Listen::Addresses(["[::1]:1", ":2", "localhost:3"].map(Into::into).into())
    );
}

#[test]
fn what_cannot_be_is_refused_all_at_once() {
    refused(
        "--source=a.capture --nvml.library=x --sample.interval=2m --web.telemetry-path=metrics \
         --web.listen-address=9100 --state.dir=s",
        &[
            "--sample.interval 120s: out of range: choose from 100ms to 1m",
            "--web.telemetry-path metrics: it must begin with a slash: choose one like /metrics",
            "--state.dir: replayed energy is not kept: leave it out, or --source",
            "--web.listen-address 9100: there is no port from 0 to 65535: write host:port, [IPv6]:port or :port",
            "--nvml.library: a capture needs no driver: leave it out, or --source",
        ],
    );
}

#[test]
fn simulated_gpus_have_no_driver() {
    let want = "--nvml.library: simulated GPUs need no driver: leave it out, or --source demo";
    refused("--source=demo --nvml.library=/x.so", &[want]);
}

#[test]
fn a_capture_is_a_path() {
    let settings = settings("--source=tests/captures/x").expect("a path");
    assert_eq!(settings.source, Source::Capture("tests/captures/x".into()));
    assert_eq!(settings.exposition_delay, DEMO_DELAY);
}

#[test]
fn the_delay_is_two_intervals_at_least() {
    let want = "--exposition.delay 1.5s: shorter than two sample intervals of 1s: \
                choose at least 2s, and at least two scrape intervals";
    refused("--exposition.delay=1s500ms", &[want]);
    assert!(settings("--exposition.delay=2s").is_ok());
    refused(
        "--sample.interval=10s --exposition.delay=2h",
        &["--exposition.delay 7200s: too long: choose 1h at most"],
    );
    refused(
        "--sample.interval=100ms --exposition.delay=10m",
        &[
            "--exposition.delay 600s: more than 3600 sample intervals of 100ms, which are all kept in memory: \
           choose at most 360s, or a longer --sample.interval",
        ],
    );
}

#[test]
fn an_address_has_a_port_and_is_given_once() {
    let way_out = "write host:port, [IPv6]:port or :port";
    for (address, what) in [
        ("::1:80", "an IPv6 address, and only that, stands in brackets"),
        ("[x]:80", "an IPv6 address, and only that, stands in brackets"),
        ("x:65536", "there is no port from 0 to 65535"),
        ("x:+1", "there is no port from 0 to 65535"),
    ] {
        let want = format!("--web.listen-address {address}: {what}: {way_out}");
        refused(&format!("--web.listen-address={address}"), &[&want]);
    }
    let want = format!("--web.listen-address :1: it is given twice: {way_out}");
    refused("--web.listen-address=:1,:1", &[&want]);
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_node_has_a_name_as_in_dns() {
    let want = "--kubernetes.node-name A&b: no node is called so: take the one that kubectl get nodes shows";
    refused("--kubernetes.node-name=A&b", &[want]);
    assert!(settings("--kubernetes.node-name=gpu-1.example.org").is_ok());
}

#[test]
fn the_metrics_take_no_other_pages_path() {
    for path in ["/-/ready", "/api/v1/processes", "/a?b", "/a b"].map(str::to_owned) {
        assert!(telemetry_path(&path).is_err(), "{path}");
    }
    assert!(telemetry_path("/").is_ok() && telemetry_path("/gpu/metrics").is_ok());
}

#[test]
fn without_a_driver_the_way_out_is_named() {
    let message = no_driver("libnvidia-ml.so.1 was not found");
    assert!(message.contains("libnvidia-ml.so.1 was not found") && message.contains("--source demo"));
}
