//! The API server: `GET /api/v1/pods` of one node, as a list or as a watch, over TLS.

use std::convert::Infallible;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::pod::Pod;

/// The node of which pods may be asked.
const NODE: &str = "gpu-1";
const TOKEN: &str = "the-exporters-token";

/// An API server; it ends with this value.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// What it knows. Each change wakes the watches.
#[derive(Debug)]
struct State {
    version: u64,
    /// With the version that each came with.
    pods: Vec<(u64, Pod)>,
    /// What happened at which version.
    events: Vec<(u64, Value)>,
    /// Versions up to here are forgotten.
    forgotten: u64,
    /// Watches that began before are ended.
    round: u64,
    delay: Duration,
    refusal: Option<StatusCode>,
    lists: usize,
    watches: usize,
    /// Requests for anything but the pods of the node.
    strays: usize,
}

impl ApiServer {
    /// Listens on a port of 127.0.0.1 and writes `ca.crt` and `token` into this folder.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    #[track_caller]
    pub fn start(account: &Path, pods: &[Pod]) -> Self {
        let tls = certify(account);
        let pods: Vec<(u64, Pod)> = pods.iter().map(|pod| (1, pod.clone())).collect();
        let (state, _) = watch::channel(State {
            version: 1,
            pods,
            events: vec![],
            forgotten: 0,
            round: 0,
            delay: Duration::ZERO,
            refusal: None,
            lists: 0,
            watches: 0,
            strays: 0,
        });
        let runtime = crate::runtime();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), state.clone()));
        Self { address, state, runtime: Some(runtime) }
    }

    /// What a pod in this cluster has in its environment, this node's name with it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let pairs = [
            ("KUBERNETES_SERVICE_HOST", host),
            ("KUBERNETES_SERVICE_PORT", port),
            ("NODE_NAME", NODE.into()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// A pod is new or has changed.
    pub fn put(&self, pod: &Pod) {
        self.state.send_modify(|state| {
            let is_new = state.pods.iter().all(|(_, known)| known.uid != pod.uid);
            state.change(if is_new { "ADDED" } else { "MODIFIED" }, pod);
            state.pods.retain(|(_, known)| known.uid != pod.uid);
            state.pods.push((state.version, pod.clone()));
        });
    }

    /// A pod is there no longer.
    pub fn delete(&self, pod: &Pod) {
        self.state.send_modify(|state| {
            state.change("DELETED", pod);
            state.pods.retain(|(_, known)| known.uid != pod.uid);
        });
    }

    /// Each list takes this long from now on.
    pub fn delay(&self, time: Duration) {
        self.state.send_modify(|state| state.delay = time);
    }

    /// Answers with this status from now on; `None` is as it should.
    pub fn refuse(&self, status: Option<u16>) {
        self.state.send_modify(|state| {
            state.refusal = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        });
    }

    /// Ends all watches; as a real one does, now and then.
    pub fn end_watches(&self) {
        self.state.send_modify(|state| state.round += 1);
    }

    /// Forgets what has changed so far: who goes on from there is told to list again.
    pub fn forget(&self) {
        self.state.send_modify(|state| {
            state.events.clear();
            state.version += 1;
            state.forgotten = state.version;
            state.round += 1;
        });
    }

    /// How often pods were listed, and how often watched.
    #[must_use]
    pub fn asked(&self) -> [usize; 2] {
        let state = self.state.borrow();
        [state.lists, state.watches]
    }

    /// How often anything else was asked for, which is refused.
    #[must_use]
    pub fn strays(&self) -> usize {
        self.state.borrow().strays
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl State {
    fn change(&mut self, kind: &str, pod: &Pod) {
        self.version += 1;
        self.events.push((self.version, json!({"type": kind, "object": pod.object(self.version)})));
    }

    fn list(&self) -> Value {
        let items: Vec<Value> = self.pods.iter().map(|(version, pod)| pod.object(*version)).collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})
    }
}

/// A new authority and a certificate of it for 127.0.0.1.
fn certify(account: &Path) -> ServerConfig {
    let mut authority = rcgen::CertificateParams::new([]).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let own = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = own.signed_by(&key, &issuer).expect("a certificate").der().clone();
    fs::write(account.join("ca.crt"), authority_pem).expect("a file");
    fs::write(account.join("token"), format!("{TOKEN}\n")).expect("a file");
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("TLS").with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    builder.with_single_cert(vec![certificate], key).expect("a certificate")
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: watch::Sender<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, tls.clone(), state.clone()));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, state: watch::Sender<State>) {
    // Each fails where the exporter goes.
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, state.clone()));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(
    request: Request<Incoming>,
    state: watch::Sender<State>,
) -> Result<Response<Channel<Bytes, Infallible>>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let is_right = request.uri().path() == "/api/v1/pods"
        && parameter("fieldSelector").is_some_and(|selector| selector == format!("spec.nodeName%3D{NODE}"));
    if !is_right {
        state.send_modify(|state| state.strays += 1);
    }
    let refusal = state.borrow().refusal;
    let status = match refusal {
        Some(status) => status,
        None if token != Some(&format!("Bearer {TOKEN}")) => StatusCode::UNAUTHORIZED,
        None if !is_right => StatusCode::FORBIDDEN,
        None => StatusCode::OK,
    };
    let (sender, body) = Channel::new(1);
    let version = parameter("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    match parameter("watch") {
        _ if status != StatusCode::OK => drop(sender),
        Some(_) => {
            state.send_modify(|state| state.watches += 1);
            tokio::spawn(follow(sender, state.subscribe(), version));
        }
        None => {
            state.send_modify(|state| state.lists += 1);
            tokio::spawn(list(sender, state.subscribe()));
        }
    }
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(body).expect("constant headers"))
}

type Sender = http_body_util::channel::Sender<Bytes, Infallible>;

async fn list(mut sender: Sender, state: watch::Receiver<State>) {
    let delay = state.borrow().delay;
    tokio::time::sleep(delay).await;
    let text = state.borrow().list().to_string();
    // It fails where the exporter has gone.
    sender.send_data(text.into()).await.ok();
}

/// Tells what happens after this version, until the watches end or nobody listens.
async fn follow(mut sender: Sender, mut state: watch::Receiver<State>, mut version: u64) {
    let round = state.borrow().round;
    loop {
        let (events, is_gone, is_over) = {
            let state = state.borrow_and_update();
            let newer = state.events.iter().filter(|(at, _)| *at > version).cloned().collect::<Vec<_>>();
            (newer, version < state.forgotten, state.round != round)
        };
        if is_gone {
            let status = json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410});
            send(&mut sender, &json!({"type": "ERROR", "object": status})).await;
        }
        if is_gone || is_over {
            return;
        }
        for (at, event) in events {
            version = at;
            if !send(&mut sender, &event).await {
                return;
            }
        }
        let bookmark = json!({"kind": "Pod", "metadata": {"resourceVersion": version.to_string()}});
        let is_heard = send(&mut sender, &json!({"type": "BOOKMARK", "object": bookmark})).await;
        if !is_heard || state.changed().await.is_err() {
            return;
        }
    }
}

/// Sends a line, in two pieces; whether anybody listens.
async fn send(sender: &mut Sender, object: &Value) -> bool {
    let line = Bytes::from(format!("{object}\n"));
    let half = line.len() / 2;
    sender.send_data(line.slice(..half)).await.is_ok() && sender.send_data(line.slice(half..)).await.is_ok()
}
