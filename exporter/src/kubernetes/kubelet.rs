//! Asks the kubelet which container was given which GPUs: gRPC over its unix socket, one question per connection.
//!
//! Waits for the kubelet, on the stage's own thread. Not done here: when to ask, and what follows (`mod`, `desk`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::devices::{Minors, held, need_minors};
use super::podresources::{self, Container};
use crate::allocation::Device;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read: that of thousands of pods.
const LONGEST: usize = 16 << 20;
/// In front of a message: a zero for "not compressed", and four bytes of its length.
const PREFIX: usize = 5;

/// What a container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// With the number of replicas of each; 1 where it is held whole.
    pub devices: BTreeMap<Device, u64>,
    /// Names of devices that are some GPU, but nobody can be sure which.
    pub unsure: Vec<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no socket: this is no node of Kubernetes, or its kubelet starts just now.
    Absent,
    /// It does not answer, or refuses to.
    Unreachable(String),
    /// What it says makes no sense.
    Malformed(&'static str),
}

impl Failure {
    /// As in `identify_failures_total`; no node of Kubernetes is no failure.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Unreachable(_) => Some("kubelet_unreachable"),
            Self::Malformed(_) => Some("kubelet_malformed"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no socket"),
            Self::Unreachable(what) => f.write_str(what),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

/// What all containers hold that were given a GPU.
///
/// # Errors
/// Why the kubelet does not say.
pub async fn ask(socket: &Path, procfs: &Path) -> Result<Vec<Holding>, Failure> {
    let answer = tokio::time::timeout(PATIENCE, call(socket)).await;
    let answer = answer.map_err(|_| Failure::Unreachable(format!("no answer within {PATIENCE:?}")))??;
    let containers =
        podresources::parse(&answer).map_err(|_| Failure::Malformed("the answer is no list of pods"))?;
    let minors = if need_minors(&containers) { Minors::read(procfs) } else { Minors::default() };
    Ok(containers.into_iter().filter_map(|container| holding(container, &minors)).collect())
}

fn holding(container: Container, minors: &Minors) -> Option<Holding> {
    let held = held(&container, minors);
    let Container { namespace, pod, name, .. } = container;
    let is_concerned = !held.devices.is_empty() || !held.unsure.is_empty();
    is_concerned.then_some(Holding {
        namespace,
        pod,
        container: name,
        devices: held.devices,
        unsure: held.unsure,
    })
}

async fn call(socket: &Path) -> Result<Bytes, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Absent,
        _ => Failure::Unreachable(format!("the socket cannot be opened ({error})")),
    })?;
    let broken = |error: hyper::Error| Failure::Unreachable(format!("the connection broke ({error})"));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    // Ends when the answer is read or dropped; what was wrong is seen there.
    tokio::spawn(connection);
    let response = sender.send_request(request()?).await.map_err(broken)?;
    read(response).await
}

fn request() -> Result<Request<Full<Bytes>>, Failure> {
    // An empty message.
    let body = Full::new(Bytes::from_static(&[0; PREFIX]));
    let request = Request::post("http://localhost/v1.PodResourcesLister/List");
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(body);
    request.map_err(|_| Failure::Malformed("no request can be made"))
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Bytes, Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::Unreachable(format!("it answers {}", response.status())));
    }
    // Without a body the status stands in the headers.
    let headers = response.headers().clone();
    let collected = Limited::new(response.into_body(), LONGEST).collect().await;
    let collected = collected.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return Failure::Malformed("the answer is longer than 16 MiB");
        }
        Failure::Unreachable(format!("the answer broke off ({error})"))
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    check_status(&headers, &trailers)?;
    message(&collected.to_bytes())
}

fn check_status(headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Failure> {
    let find = |name| trailers.get(name).or_else(|| headers.get(name));
    let Some(status) = find("grpc-status") else {
        return Err(Failure::Malformed("the answer has no status"));
    };
    if status.as_bytes() == b"0" {
        return Ok(());
    }
    let text = |value: Option<&hyper::header::HeaderValue>| {
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    Err(Failure::Unreachable(format!(
        "it refuses: {} (status {})",
        text(find("grpc-message")),
        text(Some(status))
    )))
}

/// The one message of an answer.
fn message(body: &Bytes) -> Result<Bytes, Failure> {
    let Some((prefix, message)) = body.split_at_checked(PREFIX) else {
        return Err(Failure::Malformed("the answer is cut short"));
    };
    let [compressed, length @ ..] = prefix else { return Err(Failure::Malformed("the answer is cut short")) };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if *compressed != 0 || length != message.len() {
        return Err(Failure::Malformed("the answer is not one message"));
    }
    Ok(body.slice(PREFIX..))
}
