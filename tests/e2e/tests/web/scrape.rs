//! A real Prometheus scrapes over TLS with a password, and through a crowd of idle connections.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use wattribute_e2e::{PATIENCE, Prometheus, Scratch, eventually};

use crate::SECRET;
use crate::authorities::Authority;
use crate::server::{Kind, Server, curl};

/// More than are kept open at once.
const CROWD: usize = 300;

#[test]
fn prometheus_scrapes_over_tls_with_a_password() {
    let scratch = Scratch::new("scrape");
    Authority::new(&scratch, "ca").server("server");
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    scratch.write("web.yml", &format!("{tls}basic_auth_users:\n  ann: {SECRET}\n"));
    let server = Kind::Wattribute.start(&scratch);
    let job = |name: &str, password: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: {:?}}}\n  \
             basic_auth: {{username: ann, password: {password}}}\n  static_configs: [{{targets: ['{}']}}]\n",
            scratch.path("ca.crt"),
            server.address
        )
    };
    let jobs = job("right", "secret") + &job("wrong", "guess");
    let config =
        format!("global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n{jobs}");
    let prometheus = Prometheus::with_config(scratch.path("prometheus"), &config);
    eventually(PATIENCE, "the right password gets the metrics", || {
        (!prometheus.query("wattribute_build_info{job=\"right\"}").is_empty()).then_some(())
    });
    eventually(PATIENCE, "the wrong one gets none", || {
        (!prometheus.query("up{job=\"wrong\"} == 0").is_empty()).then_some(())
    });
    assert!(prometheus.query("wattribute_build_info{job=\"wrong\"}").is_empty());
}

#[test]
fn a_client_that_never_shakes_hands_is_sent_away() {
    let scratch = Scratch::new("handshake");
    Authority::new(&scratch, "ca").server("server");
    scratch.write("web.yml", "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n");
    let server = Kind::Wattribute.start(&scratch);
    let mut silent = TcpStream::connect(server.address).expect("a connection");
    silent.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    // Idle it could stay for longer than that.
    assert!(matches!(silent.read(&mut [0]), Ok(0)));
}

#[test]
fn a_crowd_of_idle_connections_keeps_nobody_out() {
    let scratch = Scratch::new("crowd");
    let server = Server::start(Kind::Wattribute, &scratch, &[]);
    let crowd: Vec<TcpStream> =
        (0..CROWD).map(|_| TcpStream::connect(server.address).expect("a connection")).collect();
    let url = format!("http://{}/-/healthy", server.address);
    for _ in 0..5 {
        assert_eq!(curl(&url, &[]).status, 200);
    }
    // Those who came first have had to leave.
    crowd[0].set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    assert!(matches!((&crowd[0]).read(&mut [0]), Ok(0)));
}
