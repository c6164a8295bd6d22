//! The listen addresses: free, taken by an exporter that runs already, or taken by something else.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::finding::Finding;
use crate::expose::http::{BindError, Server};
use crate::settings::Serve;

const CHECK: &str = "listen address";
/// How long who has the port may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of the answer is read.
const ENOUGH: u64 = 4096;

pub fn examine(settings: &Serve) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Finding::failure(CHECK, error.to_string(), "raise the limits of this user")];
        }
    };
    let addresses = &settings.web.listen_addresses;
    let judge = |address: &String| match runtime.block_on(Server::bind(std::slice::from_ref(address))) {
        Ok(_) => Finding::ok(CHECK, format!("{address} is free")),
        Err(BindError { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => taken(address),
        Err(error) => {
            Finding::failure(CHECK, error.source.to_string(), format!("{address}: see --web.listen-address"))
        }
    };
    addresses.iter().map(judge).collect()
}

fn taken(address: &str) -> Finding {
    if is_served(address) {
        return Finding::ok(CHECK, format!("{address}: an exporter runs here and is healthy"));
    }
    Finding::failure(
        CHECK,
        format!("{address} is taken, and who has it does not say that it is wattribute"),
        "choose another by --web.listen-address, or stop what has it: ss -ltnp names it",
    )
}

/// Whether a healthy exporter answers there.
pub fn is_served(address: &str) -> bool {
    ask(address).is_ok_and(|answer| answer.contains("wattribute is healthy"))
}

fn ask(address: &str) -> io::Result<String> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    let mut found = format!("{host}:{port}").to_socket_addrs()?;
    let address = found.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /-/healthy HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // What came before the time was over may be enough.
    let _ = stream.take(ENOUGH).read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
