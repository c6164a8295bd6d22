//! Accepts connections on every listen address and speaks HTTP/1.1 on them until it is told to stop.
//!
//! It bounds what a client can hold: the number of connections, the time and the size of a request's head. What is
//! answered is decided in [`super::routes`]. Called by the `serve` command.

use super::routes::{self, Site};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection may go without a complete request head. It covers the wait for the next request too, so
/// it is longer than the usual scrape interval.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// More connections than this wait until one is closed.
const MAX_CONNECTIONS: usize = 256;
/// The wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The bound listen addresses. Connections wait until [`Server::serve`] runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
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
        Ok(Self { listeners })
    }

    /// The addresses that are listened on, with the ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers requests until `stop` is ready; then accepts no more and gives those in progress `grace` to end.
    pub async fn serve(self, site: Arc<Site>, stop: impl Future<Output = ()>, grace: Duration) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.accept(&places) => match accepted {
                    Ok((stream, place)) => converse(stream, place, &site, &graceful),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        drop(self.listeners);
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open at the end of the time to stop");
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        let any = poll_fn(|context| {
            let mut polls = self.listeners.iter().map(|listener| listener.poll_accept(context));
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        any.await.map(|(stream, _)| (stream, place))
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

fn converse(stream: TcpStream, place: OwnedSemaphorePermit, site: &Arc<Site>, graceful: &GracefulShutdown) {
    let site = Arc::clone(site);
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(routes::respond(&site, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(place);
    });
}
