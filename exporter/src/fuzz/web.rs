//! What anybody can send to the server: headers and queries (the frames of HTTP are hyper's); and its configuration.

use super::{Outcome, Target, said, text};
use crate::expose::negotiate::{Compression, compression, format};
use crate::expose::processes_query::Query;
use crate::web::config;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "accept", feed: accept, seeds: ACCEPT, rounds: 5000 },
    Target { name: "accept_encoding", feed: accept_encoding, seeds: ENCODINGS, rounds: 5000 },
    Target {
        name: "processes_query",
        feed: query,
        seeds: &[b"pid=1&gpu=0&limit=5&offset=5", b"gpu=GPU-1"],
        rounds: 5000,
    },
    Target { name: "web_config", feed: web_config, seeds: WEB_CONFIGS, rounds: 1500 },
];

const WEB_CONFIGS: &[&[u8]] = &[
    b"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
      client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example, 10.0.0.1]\n  min_version: TLS13\n  \
      curve_preferences: [X25519]\nhttp_server_config:\n  http2: false\n  headers: {X-Frame-Options: deny}\n",
    b"basic_auth_users:\n  ann: $2y$04$abcdefghijklmnopqrstuu5s1i6CTsMvmHAZUUYoE5mTLVNG7t8gy\nrate_limit: {interval: 1s, burst: 20}\n",
];

const ACCEPT: &[&[u8]] = &[
    b"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    b"text/*; q=\"0.5,;\", */* ;q=1.000",
    b"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
];
const ENCODINGS: &[&[u8]] = &[b"gzip, deflate;q=0.5, identity;q=0", b"*;q=0.1, x-gzip"];

fn accept(bytes: &[u8]) -> Outcome {
    let offer = format(&text(bytes));
    let is_known = offer.content_type.contains("charset=utf-8");
    if is_known { Outcome::Read } else { Outcome::Broken("an answer of an unknown type") }
}

/// Who does not say gzip never gets it.
fn accept_encoding(bytes: &[u8]) -> Outcome {
    let text = text(bytes).to_ascii_lowercase();
    let asks = text.contains("gzip") || text.contains('*');
    match compression(&text) {
        Compression::Gzip if !asks => Outcome::Broken("gzip for one who did not ask"),
        _ => Outcome::Read,
    }
}

fn web_config(bytes: &[u8]) -> Outcome {
    said(config::read("web.yml", &text(bytes)))
}

fn query(bytes: &[u8]) -> Outcome {
    match Query::parse(&text(bytes)) {
        Ok(query) if query.limit > 10_000 => Outcome::Broken("a limit beyond the largest"),
        result => said(result),
    }
}
