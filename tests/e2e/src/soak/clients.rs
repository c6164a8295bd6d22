//! Who speaks to the exporter during a soak, beside the auditor: Prometheus, someone curious, and someone rude. None of
//! them looks at what comes: an answer that does not come is the auditor's to notice.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, sleep};
use std::time::Duration;

use crate::http;
use crate::keep_alive::Client;

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_secs(1);
/// How many connections the rude one holds at once.
const HELD: usize = 20;
const CURIOUS: &[&str] = &["/", "/metrics", "/api/v1/processes", "/-/healthy", "/nothing", "/-/ready"];

/// All of them; they go on until told to stop.
#[derive(Debug, Default)]
pub struct Clients {
    stop: AtomicBool,
    /// Requests that were answered.
    pub answered: AtomicU64,
    /// Connections that were left without waiting for an answer.
    pub abandoned: AtomicU64,
}

impl Clients {
    /// Starts them.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, address: SocketAddr) {
        scope.spawn(move || self.scrape(address));
        scope.spawn(move || self.look_around(address));
        scope.spawn(move || self.be_rude(address));
    }

    /// They end within seconds.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        sleep(PAUSE);
        !self.stop.load(Ordering::Relaxed)
    }

    fn count<T>(&self, outcome: &io::Result<T>) {
        self.answered.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
    }

    /// As Prometheus: a connection that is kept, compressed.
    fn scrape(&self, address: SocketAddr) {
        let mut client = None;
        while self.goes_on() {
            let scrape = |client: &mut Option<Client>| {
                let mut own = client.take().map_or_else(|| Client::connect(address), Ok)?;
                own.scrape("gzip")?;
                *client = Some(own);
                Ok(())
            };
            self.count(&scrape(&mut client));
        }
    }

    fn look_around(&self, address: SocketAddr) {
        let mut paths = CURIOUS.iter().cycle();
        while self.goes_on() {
            let path = paths.next().copied().unwrap_or("/");
            self.count(&http::get(address, path, &[("Accept", "application/openmetrics-text")]));
        }
    }

    /// Leaves before the answer, in the middle of a request, or says nothing for a while.
    fn be_rude(&self, address: SocketAddr) {
        let mut held: Vec<TcpStream> = vec![];
        let says = ["GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET /metrics HTTP/1.1\r\nHo", ""];
        while self.goes_on() {
            for text in says {
                let Ok(mut stream) = TcpStream::connect(address) else { continue };
                // It may be closed already; that is what this is about.
                stream.write_all(text.as_bytes()).ok();
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                if text.is_empty() {
                    held.push(stream);
                }
            }
            if held.len() > HELD {
                held.clear();
            }
        }
    }
}
