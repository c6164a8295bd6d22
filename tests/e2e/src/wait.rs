//! Waiting and ports, for everything that starts something.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must come: many times what it takes, since the machine may be busy with others.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many ports from here on are for tests: below those that Linux hands out by itself, so that between choosing a
/// port and listening on it, or while an exporter restarts, no connection gets it.
const PORTS: (u16, u16) = (10_000, 20_000);

/// How many ports this test program has looked at.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);

/// Asks `probe` every 20 ms until it has an answer.
///
/// # Panics
/// When there is none within the time; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(within: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        // The time is looked at first: a probe that begins in time counts, however long it takes.
        let is_last = Instant::now() >= deadline;
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(!is_last, "{what}: not within {within:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Measures something that is to be done within a time; three times at most, for a busy machine only ever adds to it.
///
/// # Panics
/// When it took longer each time.
#[track_caller]
pub fn at_best(within: Duration, what: &str, mut measure: impl FnMut() -> Duration) {
    let mut took = vec![];
    while took.last().is_none_or(|last| *last >= within) {
        assert!(took.len() < 3, "{what}: not within {within:?} but {took:?}");
        took.push(measure());
    }
}

/// An address on 127.0.0.1 that nobody listens on just now, and that no other test of this program is given.
///
/// # Panics
/// When the machine has no free port.
#[must_use]
pub fn free_address() -> SocketAddr {
    let (first, count) = PORTS;
    // Programs that run at the same time begin at different places.
    let begin = u16::try_from(std::process::id() * 61 % u32::from(count)).unwrap_or(0);
    let port = |number: u16| first + (begin + number) % count;
    let address = |number| SocketAddr::from((Ipv4Addr::LOCALHOST, port(number)));
    let mut addresses = (0..count).map(|_| address(LOOKED_AT.fetch_add(1, Ordering::Relaxed) % count));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port on 127.0.0.1")
}
