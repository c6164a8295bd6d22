//! Accepts connections on every listen address, until it is told to stop, and says so to those that are open.
//!
//! How many may be open is decided in [`super::seats`]; [`super::connection`] speaks on each. Called by the `serve` command.

use super::connection;
use super::routes::Site;
use super::seats::{Limits, Seats};
use hyper_util::server::graceful::GracefulShutdown;
use listenfd::ListenFd;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The bound listen addresses. Connections wait until [`Server::serve`] runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    limits: Limits,
}

/// A listen address could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was given.
    pub address: String,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        let way_out = "choose another with --web.listen-address";
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(f, "listen on {address}: the port is taken: {way_out}"),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "listen on {address}: this machine has no such address: {way_out}")
            }
            _ => write!(f, "listen on {address}: {source}: {way_out}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Server {
    /// Binds `host:port`, `[IPv6]:port` or `:port`, which means all addresses of the machine.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub async fn bind(addresses: &[String]) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let bound = bind(address).await;
            listeners.push(bound.map_err(|source| BindError { address: address.clone(), source })?);
        }
        Ok(Self { listeners, limits: Limits::default() })
    }

    /// Takes over the sockets that systemd has passed.
    ///
    /// # Errors
    /// If there are none, or one of them is no TCP socket.
    pub fn activated(mut sockets: ListenFd) -> Result<Self, String> {
        let mut listeners = Vec::new();
        for index in 0..sockets.len() {
            let taken = sockets.take_tcp_listener(index).and_then(|socket| {
                let Some(socket) = socket else { return Ok(None) };
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Some)
            });
            let say = |error| {
                format!("--web.systemd-socket: {error}: write ListenStream=host:port in the socket unit")
            };
            listeners.extend(taken.map_err(say)?);
        }
        if listeners.is_empty() {
            return Err(
                "--web.systemd-socket: systemd has passed no socket: start the socket unit, or leave it out"
                    .into(),
            );
        }
        Ok(Self { listeners, limits: Limits::default() })
    }

    /// With other limits than the default.
    #[cfg(test)]
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The addresses that are listened on, with the ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers requests until `stop` is ready; then accepts no more and gives those in progress `grace` to end.
    pub async fn serve(self, site: Arc<Site>, stop: impl Future<Output = ()>, grace: Duration) {
        let graceful = GracefulShutdown::new();
        let seats = Seats::new(self.limits);
        let watch = tokio::spawn(Arc::clone(&site.door).watch());
        let mut stop = std::pin::pin!(stop);
        for turn in 0_usize.. {
            tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.accept(turn) => match accepted {
                    Ok(stream) => {
                        let seat = tokio::select! {
                            biased;
                            () = &mut stop => break,
                            seat = seats.take() => seat,
                        };
                        let site = Arc::clone(&site);
                        tokio::spawn(connection::converse(stream, seat, site, graceful.watcher()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        watch.abort();
        drop(self.listeners);
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open at the end of the time to stop");
        }
    }

    /// Another address is looked at first with every turn, so that a crowd at one does not keep out those at others.
    async fn accept(&self, turn: usize) -> io::Result<TcpStream> {
        let (before, from) = self.listeners.split_at(turn % self.listeners.len().max(1));
        let any = poll_fn(|context| {
            let mut polls = from.iter().chain(before).map(|listener| listener.poll_accept(context));
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        any.await.map(|(stream, _)| stream)
    }
}

async fn bind(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await
        }
        bound => bound,
    }
}
