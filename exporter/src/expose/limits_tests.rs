//! Clients that are slow, many, or strange: what they get, and that they keep nobody else from being answered.

use super::fixture::EveryMetric;
use super::http_tests::{PATIENCE, Running, check, site, slow_site, start, start_with};
use super::routes::Site;
use super::seats::Limits;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Sends bytes as they are, and gives all that comes until the server hangs up.
fn talk(running: &Running, bytes: &str) -> String {
    let mut stream = running.connect();
    stream.write_all(bytes.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // It may hang up before it has read everything.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the server hangs up, and how many bytes came.
fn drain(stream: &mut TcpStream) -> usize {
    let (mut all, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(length) => all += length,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn limits(limits: Limits) -> Running {
    start_with(site(EveryMetric), (PATIENCE, limits))
}

#[test]
fn old_and_odd_ways_to_ask_are_understood() {
    let running = start(site(EveryMetric));
    let old = talk(&running, "GET /-/healthy HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 OK") && old.ends_with("healthy\n"), "{old}");
    check(&running.ask("GET http://elsewhere:1/-/healthy", ""), 200, &[]);
    check(&running.ask("GET /-/healthy?x=%00", ""), 200, &[]);
    check(&running.ask("GET /-/healthy", &"X: y\r\n".repeat(90)), 200, &[]);
    let one = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let both = talk(&running, &[one, one, last].concat());
    assert_eq!(
        (both.matches("HTTP/1.1 200 OK").count(), both.matches("HTTP/1.1 404").count()),
        (2, 1),
        "{both}"
    );
}

#[test]
fn a_path_is_what_is_written() {
    let running = start(site(EveryMetric));
    for path in ["/%6detrics", "//metrics", "/./metrics", "/metrics/../metrics", "/METRICS", "/-/healthy/"] {
        check(&running.ask(&format!("GET {path}"), ""), 404, &[]);
    }
    check(&running.ask("OPTIONS *", ""), 404, &[]);
    check(&running.ask("BREW /metrics", ""), 405, &["allow: GET, HEAD\r\n"]);
}

#[test]
fn what_is_no_http_is_refused_and_nothing_falls_over() {
    let running = start(site(EveryMetric));
    for garbage in [
        "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /metrics HTTP/9.9\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let answer = talk(&running, garbage);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{garbage:?}: {answer}");
    }
    let smuggled = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd";
    assert!(talk(&running, smuggled).starts_with("HTTP/1.1 400 "));
    check(&running.ask("GET /-/healthy", ""), 200, &[]);
}

#[test]
fn bodies_are_not_waited_for() {
    let running = start(site(EveryMetric));
    check(&running.ask("GET /-/healthy", "Content-Length: 99999999999\r\n"), 200, &[]);
    check(&running.ask("POST /metrics", "Transfer-Encoding: chunked\r\n"), 405, &[]);
    let with_body = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let two = talk(
        &running,
        &[with_body, "GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat(),
    );
    assert!(two.starts_with("HTTP/1.1 200 OK") && two.contains("HTTP/1.1 503 "), "{two}");
}

#[test]
fn heads_have_an_end() {
    let running = start(site(EveryMetric));
    // It hangs up when it has read enough, and the answer may get lost with the rest.
    let refused = |headers: &str| {
        let answer =
            (0..50).find_map(|_| running.try_ask("GET /metrics", headers).ok().filter(|all| !all.is_empty()));
        check(&answer.expect("an answer"), 431, &[]);
    };
    refused(&"X: y\r\n".repeat(200));
    refused(&format!("X: {}\r\n", "x".repeat(20_000)));
}

#[test]
fn a_scrape_that_cannot_be_made_in_time_says_so_in_time_and_keeps_its_place() {
    let (slow, begins, go_on) = slow_site();
    let running = start(Site { scrapes: Some(Arc::new(Semaphore::new(1))), ..slow });
    let late = running.ask("GET /metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.05\r\n");
    check(&late, 503, &["could not be written in the scrape's time"]);
    begins.recv_timeout(PATIENCE).expect("it had begun");
    check(&running.ask("GET /metrics", ""), 503, &["--web.max-requests"]);
    go_on.send(()).expect("it waits");
    let began = Instant::now();
    while !running.ask("GET /metrics", "").starts_with("HTTP/1.1 200 ") {
        assert!(began.elapsed() < PATIENCE, "the place was not given back");
    }
}

#[test]
fn a_time_that_makes_no_sense_is_no_time() {
    let running = start(site(EveryMetric));
    for value in ["", "x", "-1", "0", "NaN", "inf", "1e400", "10", "1e300", "0.5.5"] {
        let header = format!("X-Prometheus-Scrape-Timeout-Seconds: {value}\r\n");
        check(&running.ask("GET /metrics", &header), 200, &[]);
    }
}

#[test]
fn a_crowd_that_only_sits_there_shuts_nobody_out() {
    let running = limits(Limits { connections: 4, ..Limits::default() });
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..20 {
        let mut idle = running.connect();
        let began: &[u8] = if number % 2 == 0 { b"GET /metrics HTTP/1.1\r\nHo" } else { b"" };
        idle.write_all(began).expect("sent");
        crowd.push(idle);
        check(&running.ask("GET /-/healthy", ""), 200, &[]);
    }
    // The first had to leave, the last still has its place.
    assert_eq!(drain(&mut crowd[0]), 0);
    let last = crowd.last_mut().expect("a crowd");
    last.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    assert!(drain(last) > 0);
}

#[test]
fn who_asks_for_nothing_is_sent_away() {
    let running = limits(Limits { idle: Duration::from_millis(100), ..Limits::default() });
    assert_eq!(drain(&mut running.connect()), 0);
    let mut half = running.connect();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHo").expect("sent");
    drain(&mut half);
    // On a busy machine it may be sent away before it has asked.
    let is_answered = || {
        let mut once = running.connect();
        once.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").is_ok() && drain(&mut once) > 0
    };
    assert!((0..50).any(|_| is_answered()));
}

#[test]
fn who_does_not_read_is_sent_away() {
    let running = limits(Limits { idle: Duration::from_millis(300), ..Limits::default() });
    let mut deaf = running.connect();
    let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    deaf.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    let began = Instant::now();
    // It goes on asking and never reads, until the buffers of both sides are full and the server hangs up.
    while deaf.write_all(&ask).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it is still listened to");
    }
    check(&running.ask("GET /-/healthy", ""), 200, &[]);
}
