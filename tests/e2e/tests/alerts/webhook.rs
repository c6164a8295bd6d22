//! A webhook as Alertmanager calls it: takes every notice, answers 200, and remembers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use wattribute_e2e::{PATIENCE, eventually, free_address};

/// Paths that were called, each with an alert that fires.
type Notices = Arc<Mutex<Vec<(String, Value)>>>;

/// Listens as long as the test program runs.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    notices: Notices,
}

impl Webhook {
    /// Listens on a free port.
    #[track_caller]
    pub fn listen() -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("a free port");
        let notices = Notices::default();
        let own = Arc::clone(&notices);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notices = Arc::clone(&own);
                // A client that breaks off calls again; Alertmanager does.
                thread::spawn(move || take(stream, &notices));
            }
        });
        Self { address, notices }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The alerts with these labels, among others, that came to a path.
    pub fn notices(&self, path: &str, labels: &[(&str, &str)]) -> Vec<Value> {
        let all = self.notices.lock().expect("no other test has it");
        let has = |alert: &Value| labels.iter().all(|(name, value)| alert["labels"][*name] == *value);
        all.iter().filter(|(own, alert)| own == path && has(alert)).map(|(_, alert)| alert.clone()).collect()
    }

    /// The first of them; waits for it.
    #[track_caller]
    pub fn wait_for(&self, path: &str, labels: &[(&str, &str)]) -> Value {
        eventually(PATIENCE, &format!("{labels:?} at {path}"), || self.notices(path, labels).pop())
    }
}

/// One request: a head, and a body of the length that it says.
fn take(mut stream: TcpStream, notices: &Notices) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut bytes = Vec::new();
    let (path, body) = loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&some[..count]);
        if let Some(request) = parse(&bytes) {
            break request;
        }
    };
    let body: Value = serde_json::from_slice(&body).ok()?;
    let fires = |alert: &&Value| alert["status"] == "firing";
    let alerts = body["alerts"].as_array()?.iter().filter(fires).map(|alert| (path.clone(), alert.clone()));
    notices.lock().ok()?.extend(alerts);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()
}

/// Path and body, once they are whole.
fn parse(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let path = head.split(' ').nth(1)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let body = bytes[end..].get(..length.unwrap_or(0))?;
    Some((path.into(), body.to_vec()))
}
