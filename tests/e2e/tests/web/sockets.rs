//! Where requests come in: sockets of systemd, several addresses, IPv6.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, get, require, wattribute};

use crate::server::{Kind, Server};

/// A process that ends with this value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_healthy(address: SocketAddr) -> bool {
    get(address, "/-/healthy", &[]).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn sockets_of_systemd_are_taken_over() {
    let addresses = [free_address(), free_address()];
    let mut command = Command::new(require("systemd-socket-activate"));
    command.args(addresses.map(|address| format!("--listen={address}")));
    command.arg(wattribute()).args(["--source=demo", "--web.systemd-socket"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _exporter = Ending(command.spawn().expect("it runs"));
    for address in addresses {
        // It starts with the first connection.
        eventually(PATIENCE, "it answers", || is_healthy(address).then_some(()));
    }
}

#[test]
fn without_a_socket_of_systemd_it_says_so() {
    let mut command = Command::new(wattribute());
    command.args(["--source=demo", "--web.systemd-socket"]).env_remove("LISTEN_FDS");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said,
        "--web.systemd-socket: systemd has passed no socket: start the socket unit, or leave it out\n"
    );
}

#[test]
fn several_addresses_of_both_families_are_listened_on() {
    let scratch = Scratch::new("families");
    let mut addresses = vec![free_address()];
    // A container may be without IPv6.
    if let Ok(free) = TcpListener::bind("[::1]:0") {
        let port = free_address().port();
        addresses.push((free.local_addr().expect("an address").ip(), port).into());
    }
    let flags: Vec<String> =
        addresses.iter().map(|address| format!("--web.listen-address={address}")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start(Kind::Wattribute, &scratch, &flags);
    addresses.push(server.address);
    for address in addresses {
        eventually(PATIENCE, "it answers", || is_healthy(address).then_some(()));
    }
}
