//! The kubelet's PodResources service.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, channel::Channel};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

use crate::messages::{Container, response};

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    #[default]
    Good,
    /// After this time.
    Slow(Duration),
    /// With bytes that are no message.
    Garbage,
    /// With a message of 17 MiB.
    Huge,
    /// With a status that is no success.
    Refusing,
    /// By closing the connection.
    Closing,
}

/// A kubelet; it ends with this value, and its socket goes.
#[derive(Debug)]
pub struct Kubelet {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct State {
    containers: Vec<Container>,
    manner: Manner,
    calls: usize,
}

impl Kubelet {
    /// Listens on this socket, which replaces one that is there.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    #[track_caller]
    pub fn start(socket: &Path, containers: &[Container]) -> Self {
        fs::remove_file(socket).ok();
        let state = State { containers: containers.to_vec(), ..State::default() };
        let (state, runtime) = (Arc::new(Mutex::new(state)), crate::runtime());
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()))
        };
        runtime.spawn(accept(listener, Arc::clone(&state)));
        Self { socket: socket.into(), state, runtime: Some(runtime) }
    }

    /// These containers have these devices from now on.
    pub fn give(&self, containers: &[Container]) {
        self.with(|state| state.containers = containers.to_vec());
    }

    /// Answers so from now on.
    pub fn behave(&self, manner: Manner) {
        self.with(|state| state.manner = manner);
    }

    /// How often it was asked.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.with(|state| state.calls)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        // It may have been replaced or removed by the test.
        fs::remove_file(&self.socket).ok();
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

async fn accept(listener: UnixListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: UnixStream, state: Arc<Mutex<State>>) {
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // It fails where the exporter goes, or the service closes.
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}

type Body = Channel<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Body>, String> {
    let (manner, message) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls += 1;
        (state.manner, response(&state.containers))
    };
    let (parts, body) = request.into_parts();
    let is_grpc = parts.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    let asked = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    if parts.uri.path() != "/v1.PodResourcesLister/List" || !is_grpc || asked.as_ref() != [0; 5] {
        return Ok(reply(None, "12"));
    }
    match manner {
        Manner::Good => {}
        Manner::Slow(time) => tokio::time::sleep(time).await,
        Manner::Garbage => return Ok(reply(Some(framed(&[0x0a, 0xff, 0x01, 0x7f, 0x0b])), "0")),
        Manner::Huge => return Ok(reply(Some(framed(&vec![0; 17 << 20])), "0")),
        Manner::Refusing => return Ok(reply(None, "8")),
        Manner::Closing => return Err("closed".into()),
    }
    Ok(reply(Some(framed(&message)), "0"))
}

/// A message with its prefix.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("less than 4 GiB");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// The message, if there is one, and the status behind it.
fn reply(message: Option<Bytes>, status: &'static str) -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static("as the test wants it"));
    tokio::spawn(async move {
        // Each fails where the exporter has gone.
        if let Some(message) = message {
            sender.send_data(message).await.ok();
        }
        sender.send_trailers(trailers).await.ok();
    });
    let response = Response::builder().header("content-type", "application/grpc").body(body);
    response.expect("constant headers")
}
