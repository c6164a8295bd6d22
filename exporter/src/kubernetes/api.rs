//! Asks the API server of the cluster: the pods on this node, as a list and as a stream of what changes.
//!
//! Waits for the server, on the stage's own thread. Not done here: when to ask, and what follows (`mod`, `desk`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::pods::List;
use super::watch::{Change, Lines};
use crate::{settings, tls};

/// How long it may take until an answer begins, and until a list is complete.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the server is asked to keep a stream of changes open; it may close it earlier.
const STREAM: Duration = Duration::from_secs(300);
/// How much of a list is read.
const LONGEST: usize = 64 << 20;
/// After how long without a sign the other side is taken to be gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Where the API server is and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    node: String,
    /// The folder with `ca.crt` and `token`, which are replaced from time to time.
    account: PathBuf,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does not answer.
    Unreachable(String),
    /// We may not ask.
    Denied(StatusCode),
    /// It no longer has what changed since then: list again.
    Gone,
    /// What it says makes no sense.
    Malformed(String),
}

impl Failure {
    /// As in `identify_failures_total`; to list again is no failure.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) => Some("kubernetes_api_unreachable"),
            Self::Denied(_) => Some("kubernetes_api_denied"),
            Self::Malformed(_) => Some("kubernetes_api_malformed"),
            Self::Gone => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(what) => f.write_str(what),
            Self::Denied(status) => write!(f, "{status}: let the service account list and watch pods"),
            Self::Malformed(what) => write!(f, "the answer makes no sense ({what})"),
            Self::Gone => f.write_str("the changes since then are gone"),
        }
    }
}

/// A stream of changes.
pub struct Changes {
    body: Incoming,
    lines: Lines,
}

impl Server {
    /// The one that Kubernetes names to everything that runs in a pod; `None` where this is none. The node is named by
    /// the settings, or by the variable `NODE_NAME`, which has to be set from `spec.nodeName` of the pod.
    ///
    /// # Errors
    /// What is missing, and the way out.
    pub fn find(settings: &settings::Kubernetes) -> Result<Option<Self>, String> {
        let host = env::var("KUBERNETES_SERVICE_HOST").ok().filter(|host| !host.is_empty());
        let Some(host) = host else { return Ok(None) };
        let port = env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(443);
        let node = settings.node_name.clone().or_else(|| env::var("NODE_NAME").ok());
        let node = node.filter(|node| settings::is_node_name(node)).ok_or(
            "the name of this node is not known: set NODE_NAME from spec.nodeName of the pod, or --kubernetes.node-name",
        )?;
        Ok(Some(Self { host, port, node, account: settings.service_account.clone() }))
    }

    /// All pods on this node. A list `from` the server's own memory is cheap for it, but may be older than what was
    /// seen before.
    ///
    /// # Errors
    /// Why there is no list.
    pub async fn list(&self, from: Memory) -> Result<List, Failure> {
        let version = match from {
            Memory::Server => "&resourceVersion=0",
            Memory::Store => "",
        };
        let listing = async {
            let response = self.get(version).await?;
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| Failure::Unreachable(format!("the list broke off ({error})")))?;
            serde_json::from_slice(&body.to_bytes()).map_err(|error| Failure::Malformed(error.to_string()))
        };
        within(PATIENCE, listing).await
    }

    /// What changes from this version on.
    ///
    /// # Errors
    /// Why there is no stream.
    pub async fn watch(&self, version: &str) -> Result<Changes, Failure> {
        if !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::Malformed("a resource version with other characters than digits".into()));
        }
        let seconds = STREAM.as_secs();
        let query = format!(
            "&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}"
        );
        let response = within(PATIENCE, self.get(&query)).await?;
        Ok(Changes { body: response.into_body(), lines: Lines::default() })
    }

    async fn get(&self, query: &str) -> Result<Response<Incoming>, Failure> {
        let request = self.request(query)?;
        let stream = self.connect().await.map_err(|error| {
            Failure::Unreachable(format!("{}:{}: no connection ({error})", self.host, self.port))
        })?;
        let broken = |error: hyper::Error| Failure::Unreachable(format!("the connection broke ({error})"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends when the answer is dropped, or the other side closes; the body says what was wrong.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::GONE => Err(Failure::Gone),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(Failure::Denied(status)),
            status => Err(Failure::Unreachable(format!("it answers {status}"))),
        }
    }

    fn request(&self, query: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let token = self.account.join("token");
        let token = fs::read_to_string(&token)
            .map_err(|error| Failure::Unreachable(format!("{}: {error}", token.display())))?;
        let Self { host, port, node, .. } = self;
        let request = Request::get(format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}{query}"))
            .header("host", format!("{}:{port}", bracketed(host)))
            .header("authorization", format!("Bearer {}", token.trim()))
            .header("accept", "application/json")
            .header("user-agent", concat!("wattribute/", env!("CARGO_PKG_VERSION")));
        request.body(Empty::new()).map_err(|_| Failure::Unreachable("the token is no text".into()))
    }

    async fn connect(&self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        notice_silence(&stream)?;
        connector.connect(name, stream).await
    }

    /// TLS that trusts the cluster's own authority alone.
    fn tls(&self) -> io::Result<ClientConfig> {
        let path = self.account.join("ca.crt");
        let pem =
            fs::read(&path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        tls::trusting(roots).map_err(io::Error::other)
    }
}

/// Where the API server takes a list from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its own.
    Server,
    /// The store behind it: as new as can be.
    Store,
}

impl Changes {
    /// The next change; `None` is the end of the stream, which is normal.
    ///
    /// # Errors
    /// Where the stream breaks, or what it says makes no sense.
    pub async fn next(&mut self) -> Result<Option<Change>, Failure> {
        loop {
            if let Some(change) = self.lines.next()? {
                return Ok(Some(change));
            }
            // The server ends the stream by itself; where it does not, nobody is there any more.
            match within(STREAM + PATIENCE, async { Ok(self.body.frame().await) }).await? {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Failure::Unreachable(format!("the stream broke off ({error})")));
                }
                Some(Ok(frame)) => self.lines.extend(frame.data_ref().map_or(&[], |data| data)),
            }
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let outcome = tokio::time::timeout(time, work).await;
    outcome.unwrap_or_else(|_| Err(Failure::Unreachable(format!("no answer within {time:?}"))))
}

/// Lets the kernel look whether the other side is still there: a stream may be silent for minutes.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE / 2)?;
    sockopt::set_tcp_keepintvl(stream, SILENCE / 6)?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(sockopt::set_tcp_user_timeout(stream, u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX))?)
}

/// An IPv6 address stands in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
