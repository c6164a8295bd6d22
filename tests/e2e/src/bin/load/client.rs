//! Scrapes as Prometheus does: OpenMetrics, compressed, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// The bytes of the body.
    pub fn scrape(&mut self, encoding: &str) -> usize {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: load\r\nAccept: {ACCEPT}\r\nAccept-Encoding: {encoding}\r\n\r\n"
        );
        self.0.get_mut().write_all(request.as_bytes()).expect("it reads");
        let mut length = None;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length.expect("a length")];
        self.0.read_exact(&mut body).expect("a body");
        body.len()
    }
}

/// How long each scrape took.
pub fn once_a_second(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let (mut client, begin) = (Client::connect(address), Instant::now());
    let mut took = vec![];
    while begin.elapsed() < time {
        let start = Instant::now();
        client.scrape("gzip");
        took.push(start.elapsed());
        sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    took
}

/// Scrapes per second of so many clients.
pub fn throughput(address: SocketAddr, clients: u32) -> f64 {
    const TIME: Duration = Duration::from_secs(5);
    let begin = Instant::now();
    let scrape = || {
        let (mut client, mut count) = (Client::connect(address), 0u32);
        while begin.elapsed() < TIME {
            client.scrape("gzip");
            count += 1;
        }
        count
    };
    let count: u32 = scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(scrape)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| panic!("a client failed"))).sum()
    });
    f64::from(count) / begin.elapsed().as_secs_f64()
}
