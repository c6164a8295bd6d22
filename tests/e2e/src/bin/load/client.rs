//! Scrapes once a second, and as fast as can be.

use std::net::SocketAddr;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use wattribute_e2e::Client;

pub fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("it listens")
}

/// How long each scrape took.
pub fn once_a_second(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let (mut client, begin) = (connect(address), Instant::now());
    let mut took = vec![];
    while begin.elapsed() < time {
        let start = Instant::now();
        client.scrape("gzip").expect("a scrape");
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
        let (mut client, mut count) = (connect(address), 0u32);
        while begin.elapsed() < TIME {
            client.scrape("gzip").expect("a scrape");
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
