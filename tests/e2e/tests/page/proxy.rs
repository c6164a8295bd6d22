//! A reverse proxy that has the exporter below a path of its own, and may do to its pages what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wattribute_e2e::{Response, free_address, get};

/// Where the exporter is to be found below the proxy.
pub const PATH: &str = "/below/a/path/";

/// What a test does to the answers: it is told the how-manieth request for the page this is, and what it gets.
pub type Change = dyn Fn(usize, Response) -> Response + Send + Sync;

/// Listens as long as the test program runs.
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens on a free port.
    #[track_caller]
    pub fn before(exporter: SocketAddr, change: Box<Change>) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("a free port");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (own, change) = (Arc::clone(&requests), Arc::new(change));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, change) = (Arc::clone(&own), Arc::clone(&change));
                // A browser opens connections that it never uses.
                thread::spawn(move || pass(&stream, exporter, &requests, &**change));
            }
        });
        Self { address, requests }
    }

    /// The page below the proxy.
    pub fn page(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The paths that were asked for.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no other test has it").clone()
    }
}

/// One request, without its headers.
fn pass(
    mut stream: &TcpStream,
    exporter: SocketAddr,
    requests: &Mutex<Vec<String>>,
    change: &Change,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    while lines.next()?.is_ok_and(|line| !line.is_empty()) {}
    let number = {
        let mut requests = requests.lock().ok()?;
        requests.push(path.clone());
        requests.iter().filter(|one| **one == PATH).count()
    };
    let answer = path.strip_prefix(PATH).and_then(|rest| get(exporter, &format!("/{rest}"), &[]).ok());
    let nothing = Response { status: 404, headers: vec![], body: vec![] };
    let answer = answer.map_or(nothing, |answer| if path == PATH { change(number, answer) } else { answer });
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        if !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!("content-length: {}\r\n\r\n", answer.body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer.body).ok()
}
