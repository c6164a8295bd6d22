//! The web configuration file, and the listen addresses: free, taken by an exporter that runs already, or by something else.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::finding::Finding;
use crate::expose::http::{BindError, Server};
use crate::settings::Serve;
use crate::web::door::Door;

const CHECK: &str = "listen address";
const CONFIG: &str = "web configuration";
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
    let judge = |address: &String| match runtime.block_on(Server::bind(std::slice::from_ref(address))) {
        Ok(_) => Finding::ok(CHECK, format!("{address} is free")),
        Err(BindError { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => taken(address),
        Err(error) => {
            Finding::failure(CHECK, error.source.to_string(), format!("{address}: see --web.listen-address"))
        }
    };
    configuration(settings).into_iter().chain(settings.web.listen.addresses().iter().map(judge)).collect()
}

fn configuration(settings: &Serve) -> Option<Finding> {
    let file = settings.web.config_file.clone()?;
    let place = file.display().to_string();
    Some(match Door::new(Some(file)) {
        Ok(door) if door.policy().tls.is_some() => Finding::ok(CONFIG, format!("{place}: TLS is spoken")),
        Ok(_) => Finding::ok(CONFIG, format!("{place}: without TLS")),
        Err(errors) => Finding::failure(CONFIG, errors, "see docs/web.md"),
    })
}

fn taken(address: &str) -> Finding {
    if is_served(address) {
        return Finding::ok(CHECK, format!("{address}: an exporter runs here and is healthy"));
    }
    if ask(address).is_ok_and(|answer| answer.contains("HTTPS server")) {
        let advice = "if it is no wattribute, choose another by --web.listen-address: ss -ltnp names it";
        return Finding::warning(CHECK, format!("{address} is taken by a server that speaks TLS"), advice);
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
