//! What no bill can be made of: each says why, and none is written.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread;

use wattribute_e2e::{Scratch, free_address, wattribute};

use crate::bill::report;
use crate::story::{prometheus, series};

#[track_caller]
fn refused(output: &Output, want: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    assert!(error.contains(want), "{want:?} is not in {error}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn bare(arguments: &[&str]) -> Output {
    Command::new(wattribute()).arg("report").args(arguments).output().expect("it runs")
}

#[test]
fn periods_that_are_none_are_refused_before_anything_is_asked() {
    let server = "--prometheus=http://127.0.0.1:1";
    for (period, want) in [
        (["--from=2024-03-30", "--to=2024-03-30"], "the period is empty"),
        (["--from=2024-03-31", "--to=2024-03-30"], "the period is empty"),
        (["--from=2124-03-30", "--to=2124-04-30"], "the period is not over"),
        (["--from=yesterday", "--to=2024-03-30"], "is no time"),
        (["--month=2024-13", "--lookback=1h"], "is no month"),
        (["--month=2024-01", "--from=2024-01-01"], "cannot be used with"),
    ] {
        refused(&bare(&[&[server], &period[..]].concat()), want);
    }
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let nobody = free_address();
    let month = "--month=2024-03";
    let server = format!("--prometheus=http://{nobody}");
    refused(&bare(&[&server, month, "--http.retries=1"]), &format!("{nobody}: no connection"));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = format!("--prometheus=http://{}", silent.local_addr().expect("an address"));
    refused(&bare(&[&server, month, "--http.retries=0", "--http.timeout=200ms"]), "no answer within 200ms");
    refused(&bare(&["--prometheus=http://me:secret@localhost", month]), "--http.user");
    refused(&bare(&["--prometheus=localhost", month]), "http");
}

/// A server that answers everything with this.
fn answering(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn an_answer_that_is_not_whole_makes_no_bill() {
    for (status, body, want) in [
        ("200 OK", r#"{"status":"success","data":[],"warnings":["store 2 is gone"]}"#, "store 2 is gone"),
        ("200 OK", r#"{"status":"success","isPartial":true,"data":[]}"#, "partial"),
        ("200 OK", "<html>", "makes no sense"),
        ("401 Unauthorized", "", "401 Unauthorized: see --http.user"),
        ("503 Service Unavailable", "busy", "busy"),
        ("422 Unprocessable Entity", "too many samples", "too many samples"),
    ] {
        let server = format!("--prometheus=http://{}", answering(status, body));
        refused(&bare(&[&server, "--month=2024-03", "--http.retries=0"]), want);
    }
}

#[test]
fn what_the_data_do_not_say_is_not_billed() {
    let scratch = Scratch::new("report-refusals");
    let mut all = series();
    let server = prometheus(&scratch, &all);
    let month = ["--month=2023-12", &format!("--prometheus=http://{}", server.address())];
    refused(&bare(&month), "no sample of wattribute_gpu_energy_joules_total in the period");
    refused(&report(server.address(), &scratch, &["--team=nobody", "--detail"]), "no team \"nobody\"");
    drop(server);

    // The same GPU by two servers: it would be billed twice.
    let twice = all.iter().filter(|(name, _)| name.contains("GPU-a")).cloned();
    let twice: Vec<_> = twice.map(|(name, points)| (name.replace("n1:9", "n7:9"), points)).collect();
    all.extend(twice);
    let scratch = Scratch::new("report-twice");
    let server = prometheus(&scratch, &all);
    refused(&report(server.address(), &scratch, &[]), "exported twice");
    let narrowed = report(server.address(), &scratch, &["--match=instance!=\"n7:9\"", "--format=json"]);
    assert!(narrowed.status.success(), "{narrowed:?}");
    crate::bill::check_truth(&String::from_utf8_lossy(&narrowed.stdout));
}
