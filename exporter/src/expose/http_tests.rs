//! The real server on a loopback port, spoken to in plain HTTP/1.1.

use super::fixture::EveryMetric;
use super::http::Server;
use super::metrics::{Exposition, Metric, Row};
use super::overview::Overview;
use super::publish::Published;
use super::routes::{Audience, Live, Reload, Site};
use super::seats::Limits;
use crate::web::door::Door;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    runtime: Runtime,
}

pub fn site(exposition: impl Exposition + 'static) -> Site {
    let live = Live::new(Published::new(Arc::new(exposition)), Overview::default());
    Site {
        live: Arc::new(live),
        telemetry_path: "/metrics".into(),
        scrapes: None,
        reload: tokio::sync::mpsc::channel(1).0,
        reloaders: Audience::Authenticated,
        onlookers: Audience::Authenticated,
        door: Arc::new(Door::new(None).expect("no file is needed")),
    }
}

pub fn start(site: Site) -> Running {
    start_with(site, (PATIENCE, Limits::default()))
}

fn start_with_grace(site: Site, grace: Duration) -> Running {
    start_with(site, (grace, Limits::default()))
}

pub fn start_with(site: Site, (grace, limits): (Duration, Limits)) -> Running {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::bind(&["127.0.0.1:0".into()])).expect("a free port");
    let server = server.with_limits(limits);
    let address = server.addresses()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let served = runtime.spawn(server.serve(Arc::new(site), stopped, grace));
    Running { address, stop: Some(stop), served, runtime }
}

impl Running {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream
    }

    /// The whole answer to one request on a connection of its own; bytes that are not text are replaced.
    pub fn ask(&self, request_line: &str, headers: &str) -> String {
        self.try_ask(request_line, headers).expect("an answer")
    }

    /// As [`Running::ask`]; an error where the server hung up before it had read everything.
    pub fn try_ask(&self, request_line: &str, headers: &str) -> std::io::Result<String> {
        let mut stream = self.connect();
        write!(stream, "{request_line} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[track_caller]
pub fn check(answer: &str, status: u16, parts: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    for part in parts {
        assert!(answer.contains(part), "{part:?} is not in {answer}");
    }
}

#[test]
fn a_scrape_gets_what_it_asks_for() {
    let running = start(site(EveryMetric));
    let classic =
        ["content-type: text/plain; version=0.0.4; charset=utf-8\r\n", "vary: Accept, Accept-Encoding\r\n"];
    check(&running.ask("GET /metrics", ""), 200, &classic);
    check(&running.ask("GET /metrics?x=1", ""), 200, &["cache-control: no-store\r\n", "\nprocess_open_fds "]);
    let accept = "Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
    let open = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    let answer = running.ask("GET /metrics", accept);
    check(&answer, 200, &[open]);
    assert!(answer.ends_with("\n# EOF\n") && !answer.contains("content-encoding"));
    let packed = running.ask("GET /metrics", "Accept-Encoding: gzip\r\n");
    check(&packed, 200, &["content-encoding: gzip\r\n", "\r\n\r\n\u{1f}"]);
}

#[test]
fn head_is_get_without_the_body() {
    let running = start(site(EveryMetric));
    let head = running.ask("HEAD /metrics", "");
    let length = running.ask("GET /metrics", "").split_once("\r\n\r\n").expect("a body").1.len();
    check(&head, 200, &[&format!("content-length: {length}\r\n")]);
    assert!(head.ends_with("\r\n\r\n"));
}

#[test]
fn the_path_of_the_metrics_can_be_chosen() {
    let running = start(Site { telemetry_path: "/".into(), ..site(EveryMetric) });
    check(&running.ask("GET /", ""), 200, &["wattribute_gpu_up{"]);
    check(&running.ask("GET /metrics", ""), 404, &["not found: the metrics are at /\n"]);
}

#[test]
fn single_processes_are_shown_only_if_that_is_enabled() {
    let running = start(site(EveryMetric));
    let closed = running.ask("GET /api/v1/processes", "");
    check(&closed, 403, &["not open to everybody: see --web.enable-processes and --web.config.file\n"]);
    check(&running.ask("GET /api/v1/processes?pid=1", ""), 403, &["--web.enable-processes"]);
    let running = start(Site { onlookers: Audience::Everybody, ..site(EveryMetric) });
    let headers =
        ["content-type: application/json\r\n", "cache-control: no-store\r\n", "vary: Accept-Encoding\r\n"];
    let open = running.ask("GET /api/v1/processes", "");
    check(&open, 200, &headers);
    check(&open, 200, &["\"processes\":0,\"truncated\":false,\"gpus\":[]"]);
    let head = running.ask("HEAD /api/v1/processes", "");
    check(&head, 200, &headers);
    assert!(head.ends_with("\r\n\r\n"));
    let packed = running.ask("GET /api/v1/processes", "Accept-Encoding: gzip\r\n");
    check(&packed, 200, &["content-encoding: gzip\r\n", "\r\n\r\n\u{1f}"]);
    check(&running.ask("GET /api/v1/processes?pid=1", ""), 404, &["pid 1 is on no GPU"]);
    check(&running.ask("GET /api/v1/processes?pid=x", ""), 400, &["pid: not a number: write pid=1\n"]);
    check(&running.ask("POST /api/v1/processes", "Content-Length: 0\r\n"), 405, &["allow: GET, HEAD\r\n"]);
}

#[test]
fn there_is_a_page_that_may_run_its_own_script_only() {
    let answer = start(site(EveryMetric)).ask("GET /", "Accept: text/html\r\n");
    check(
        &answer,
        200,
        &[
            "content-type: text/html",
            "content-security-policy: default-src 'none';",
            "script-src 'sha256-",
            "./metrics",
        ],
    );
}

#[test]
fn ready_is_said_when_the_first_sample_is_in() {
    let site = site(EveryMetric);
    let live = Arc::clone(&site.live);
    let running = start(site);
    check(&running.ask("GET /-/healthy", ""), 200, &[]);
    check(&running.ask("GET /-/ready", ""), 503, &["not ready"]);
    live.is_ready.store(true, Ordering::Relaxed);
    check(&running.ask("GET /-/ready", ""), 200, &[]);
}

#[test]
fn a_new_snapshot_is_seen_by_the_next_scrape() {
    let site = site(EveryMetric);
    let live = Arc::clone(&site.live);
    let running = start(site);
    check(&running.ask("GET /metrics", ""), 200, &["wattribute_gpu_up"]);
    live.published.store(Arc::new(Published::new(Arc::new(Nothing))));
    assert!(!running.ask("GET /metrics", "").contains("wattribute_gpu_up"));
}

#[test]
fn what_is_not_there_or_not_meant_is_refused() {
    let running = start(site(EveryMetric));
    check(&running.ask("GET /etc/passwd", ""), 404, &["the metrics are at /metrics"]);
    check(&running.ask("GET /metrics/", ""), 404, &[]);
    check(&running.ask("POST /metrics", "Content-Length: 0\r\n"), 405, &["allow: GET, HEAD\r\n"]);
    check(&running.ask("DELETE /", ""), 405, &["allow: GET, HEAD\r\n"]);
    check(&running.ask("GET /-/reload", ""), 405, &["allow: POST, PUT\r\n"]);
    // It hangs up when it has read enough, and the answer may get lost with the rest.
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    let answer = (0..50).find_map(|_| running.try_ask("GET /metrics", &long).ok());
    check(&answer.expect("an answer"), 431, &[]);
}

#[test]
fn reloading_must_be_allowed() {
    check(
        &start(site(EveryMetric)).ask("POST /-/reload", ""),
        403,
        &["not open to everybody: see --web.enable-lifecycle and --web.config.file\n"],
    );
}

#[test]
fn the_outcome_of_a_reload_is_told() {
    let (reload, mut requests) = tokio::sync::mpsc::channel::<Reload>(1);
    let running = start(Site { reload, reloaders: Audience::Everybody, ..site(EveryMetric) });
    let answers = running.runtime.spawn(async move {
        for outcome in [Ok(()), Err("teams.yaml:14: unknown field".to_owned())] {
            requests.recv().await.expect("a request").send(outcome).expect("it is awaited");
        }
    });
    check(&running.ask("POST /-/reload", ""), 200, &["reloaded\n"]);
    check(&running.ask("PUT /-/reload", ""), 500, &["not reloaded: teams.yaml:14: unknown field\n"]);
    running.runtime.block_on(answers).expect("two requests");
    check(&running.ask("POST /-/reload", ""), 503, &["stopping"]);
}

struct Nothing;

impl Exposition for Nothing {
    fn rows(&self, _: Metric, _: &mut Row<'_>) {}
}

/// Says when its encoding begins, and then waits until it may go on.
pub struct Slow(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl Exposition for Slow {
    fn rows(&self, metric: Metric, _: &mut Row<'_>) {
        if metric == Metric::GpuInfo {
            self.0.send(()).expect("the test listens");
            let _ = self.1.lock().expect("one at a time").recv_timeout(PATIENCE);
        }
    }
}

/// A slow site, what tells that a scrape has begun, and what lets it go on.
pub fn slow_site() -> (Site, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, begins), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    (site(Slow(begun, Mutex::new(may_go_on))), begins, go_on)
}

#[test]
fn a_slow_scrape_holds_up_nothing_but_scrapes_beyond_the_limit() {
    let (slow, begins, go_on) = slow_site();
    let running = start(Site { scrapes: Some(Arc::new(Semaphore::new(1))), ..slow });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| running.ask("GET /metrics", ""));
        begins.recv_timeout(PATIENCE).expect("the first scrape begins");
        check(&running.ask("GET /metrics", ""), 503, &["--web.max-requests"]);
        check(&running.ask("GET /-/healthy", ""), 200, &[]);
        go_on.send(()).expect("it waits");
        check(&first.join().expect("an answer"), 200, &[]);
    });
    check(&running.ask("GET /metrics", ""), 200, &[]);
}

#[test]
fn stopping_lets_a_scrape_end_and_accepts_no_more() {
    let (slow, begins, go_on) = slow_site();
    let mut running = start(slow);
    let stop = running.stop.take();
    std::thread::scope(|scope| {
        let scrape = scope.spawn(|| running.ask("GET /metrics", ""));
        begins.recv_timeout(PATIENCE).expect("the scrape begins");
        drop(stop);
        let began = Instant::now();
        while TcpStream::connect(running.address).is_ok() {
            assert!(began.elapsed() < PATIENCE, "connections are still accepted");
            std::thread::sleep(Duration::from_millis(5));
        }
        go_on.send(()).expect("it waits");
        check(&scrape.join().expect("an answer"), 200, &[]);
    });
    running.runtime.block_on(running.served).expect("a clean end");
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let (slow, begins, go_on) = slow_site();
    let mut running = start_with_grace(slow, Duration::from_millis(50));
    let mut scrape = running.connect();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    begins.recv_timeout(PATIENCE).expect("the scrape begins");
    drop(running.stop.take());
    let began = Instant::now();
    running.runtime.block_on(running.served).expect("a clean end");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    go_on.send(()).expect("it waits");
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let running = start(site(EveryMetric));
    let mut stream = running.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).expect("an answer");
        check(&String::from_utf8_lossy(&answer[..length]), 200, &["wattribute is healthy\n"]);
    }
}

#[test]
fn stopping_ends_idle_connections_at_once_and_half_sent_requests_in_time() {
    let mut running = start_with_grace(site(EveryMetric), Duration::from_millis(300));
    let mut idle = running.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = [0; 1024];
    let _ = idle.read(&mut answer).expect("an answer");
    let mut half = running.connect();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHo").expect("sent");
    let began = Instant::now();
    drop(running.stop.take());
    assert_eq!(idle.read(&mut answer).expect("the end"), 0);
    running.runtime.block_on(running.served).expect("a clean end");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}

#[test]
fn several_addresses_are_listened_on() {
    let runtime = Runtime::new().expect("a runtime");
    let mut addresses = vec!["127.0.0.1:0".to_owned(), "localhost:0".into(), ":0".into()];
    // A container may be without IPv6.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        addresses.push("[::1]:0".into());
    }
    let server = runtime.block_on(Server::bind(&addresses)).expect("free ports");
    let bound = server.addresses();
    runtime.spawn(server.serve(Arc::new(site(EveryMetric)), std::future::pending(), PATIENCE));
    for (address, asked) in bound.iter().zip(&addresses) {
        TcpStream::connect(address).unwrap_or_else(|error| panic!("{asked}: {error}"));
    }
    assert!(bound[2].ip().is_unspecified());
}

#[test]
fn a_port_that_is_taken_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let runtime = Runtime::new().expect("a runtime");
    let bind = |address: &str| {
        runtime.block_on(Server::bind(&[address.to_owned()])).map(|_| ()).map_err(|error| error.to_string())
    };
    let want = format!("listen on {address}: the port is taken: choose another with --web.listen-address");
    assert_eq!(bind(&address), Err(want));
    let want =
        "listen on 192.0.2.1:0: this machine has no such address: choose another with --web.listen-address";
    assert_eq!(bind("192.0.2.1:0"), Err(want.into()));
}
