//! The two parts of Kubernetes that the exporter asks, for tests: a kubelet's PodResources service (gRPC over a unix
//! socket) and an API server (HTTPS with an authority of its own, lists and watches of pods). Both speak the real
//! protocols, and misbehave on demand. They listen on a unix socket and on 127.0.0.1 only.

#![expect(clippy::expect_used, clippy::panic, reason = "a harness fails its test by panicking")]

mod api;
mod kubelet;
mod messages;
mod pod;

pub use api::ApiServer;
pub use kubelet::{Kubelet, Manner};
pub use messages::Container;
pub use pod::Pod;

use tokio::runtime::Runtime;

/// Threads of its own, so that a test which blocks blocks no server.
fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("threads for a server")
}
