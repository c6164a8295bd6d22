//! Who asks and whom: TLS by an own authority, passwords, tokens and tenants, against a real Prometheus; and progress, which
//! only a terminal is shown.

use std::fs;
use std::io::{Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use wattribute_e2e::{Prometheus, Scratch, require, wattribute};

use crate::bill::{check_truth, report, said};
use crate::story::{PRICES, data, prometheus, series};

/// Of the password `secret`, by bcrypt.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// An authority and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate and its key where Prometheus reads them at each connection.
    fn sign(&self, scratch: &Scratch, name: &str, last_year: i32) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(scratch.path("key.pem"), key.serialize_pem()).expect("written");
        fs::write(scratch.path("cert.pem"), certificate.pem()).expect("written");
    }
}

fn over_tls(server: SocketAddr, scratch: &Scratch, arguments: &[(&str, &str)]) -> Output {
    let mut command = Command::new(wattribute());
    command
        .arg("report")
        .arg(format!("--prometheus=https://{server}"))
        .arg("--prices")
        .arg(scratch.path("prices.yaml"));
    command.args(["--http.retries=0", "--format=json", "--from=2024-03-30T21:00", "--to=2024-03-31T05:00"]);
    command.args(["--http.user=emmy"]);
    arguments.iter().for_each(|(flag, file)| {
        command.arg(flag).arg(scratch.path(file));
    });
    command.output().expect("it runs")
}

#[test]
fn a_server_with_tls_and_a_password_is_believed_by_its_authority_alone() {
    let scratch = Scratch::new("report-tls");
    let (ours, others) = (Authority::new(), Authority::new());
    ours.sign(&scratch, "127.0.0.1", 2999);
    let files = [
        ("prices.yaml", PRICES),
        ("ca.pem", &ours.pem),
        ("other.pem", &others.pem),
        ("right", "secret\n"),
        ("wrong", "guess\n"),
    ];
    files.iter().for_each(|(name, text)| fs::write(scratch.path(name), text).expect("written"));
    let web = scratch.path("web.yml");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| scratch.path(name).display().to_string());
    let config = format!(
        "tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\nbasic_auth_users: {{emmy: {HASH}}}\n"
    );
    fs::write(&web, config).expect("written");
    let server = Prometheus::with_web_config(data(&scratch, &series()), &web);
    let (ca, password) = (("--http.ca-file", "ca.pem"), ("--http.password-file", "right"));
    check_truth(&said(&over_tls(server.address(), &scratch, &[ca, password])));

    let refused = |arguments: &[(&str, &str)], want: &str| {
        let output = over_tls(server.address(), &scratch, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && output.stdout.is_empty() && error.contains(want),
            "{want}: {output:?}"
        );
    };
    refused(&[ca, ("--http.password-file", "wrong")], "401 Unauthorized");
    refused(
        &[("--http.ca-file", "other.pem"), password],
        "give the authority that signed it by --http.ca-file",
    );
    refused(&[("--http.ca-file", "right"), password], "no certificate in it");
    ours.sign(&scratch, "127.0.0.1", 2020);
    refused(&[ca, password], "must be renewed");
    ours.sign(&scratch, "prometheus.example", 2999);
    refused(&[ca, password], "name the server in --prometheus as its certificate does");
    let plain = report(server.address(), &scratch, &[]);
    assert!(String::from_utf8_lossy(&plain.stderr).contains("400"), "{plain:?}");
}

/// Passes on what is said between both sides, and keeps what was asked.
fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, asked) = (listener.local_addr().expect("an address"), Arc::new(Mutex::new(String::new())));
    let kept = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).expect("a connection");
            let (mut back, mut out) =
                (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            thread::spawn(move || copy(&mut back, &mut out));
            let kept = Arc::clone(&kept);
            thread::spawn(move || pass_on(client, server, &kept));
        }
    });
    (address, asked)
}

fn pass_on(mut client: TcpStream, mut server: TcpStream, kept: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        kept.lock().expect("kept").push_str(&String::from_utf8_lossy(&buffer[..length]));
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may have gone first.
    server.shutdown(Shutdown::Both).ok();
}

#[test]
fn tokens_and_tenants_are_sent_with_every_question() {
    let scratch = Scratch::new("report-proxy");
    let server = prometheus(&scratch, &series());
    let (address, asked) = proxy(server.address());
    fs::write(scratch.path("token"), "abc.def\n").expect("written");
    let token = scratch.path("token").display().to_string();
    let flags = ["--format=json", "--http.bearer-token-file", &token, "--http.tenant=research"];
    check_truth(&said(&report(address, &scratch, &flags)));
    let asked = asked.lock().expect("kept").to_lowercase();
    let questions = asked.matches("get /api/v1/").count();
    assert!(questions > 10, "{asked}");
    for header in ["authorization: bearer abc.def\r\n", "x-scope-orgid: research\r\n"] {
        assert_eq!(asked.matches(header).count(), questions, "{header}");
    }
}

#[test]
fn progress_is_shown_on_a_terminal_alone() {
    let scratch = Scratch::new("report-progress");
    let server = prometheus(&scratch, &series());
    let command = format!(
        "{} report --prometheus=http://{} --from=2024-03-29 --to=2024-03-31T03:00 --format=json",
        wattribute().display(),
        server.address()
    );
    let terminal =
        Command::new(require("script")).args(["-qec", &command, "/dev/null"]).output().expect("script runs");
    let shown = String::from_utf8_lossy(&terminal.stdout);
    assert!(shown.contains("\rhour 1 of 51") && shown.contains("\rhour 51 of 51"), "{shown}");
    let piped = Command::new("sh").args(["-c", &command]).output().expect("it runs");
    assert!(
        piped.status.success() && !String::from_utf8_lossy(&piped.stderr).contains("hour 1"),
        "{piped:?}"
    );
}
