//! What a web configuration file may say, and what is said of one that may not.

use super::config::{Config, Http2, PemSource, Preference, read};
use super::rate::Rate;
use super::words::{AllowedName, ClientAuth};
use std::time::Duration;
use tokio_rustls::rustls::ProtocolVersion;

fn good(text: &str) -> Config {
    read("web.yml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn refused(text: &str, want: &str) {
    assert_eq!(read("web.yml", text).expect_err(text).to_string(), want);
}

/// As in a section on TLS that is complete but for this.
#[track_caller]
fn tls_refused(text: &str, want: &str) {
    refused(&format!("tls_server_config:\n  cert_file: c\n  key_file: k\n{text}"), want);
}

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

#[test]
fn everything_may_be_said() {
    let config = good(&format!(
        "tls_server_config:
  cert_file: server.crt
  key: |
    a key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: /etc/ca.crt
  client_allowed_sans: [prometheus.example, 10.0.0.1, 'spiffe://x/y']
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256, X25519]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ''
    Content-Security-Policy: default-src 'self'
basic_auth_users:
  alice: {HASH}
rate_limit:
  interval: 1.5s
  burst: 20
"
    ));
    let tls = config.tls.expect("TLS");
    assert_eq!(tls.certificate.source, PemSource::File("server.crt".into()));
    assert_eq!(tls.key.source, PemSource::Inline("a key\n".into()));
    assert_eq!((tls.client_auth, tls.client_ca.expect("one").line), (ClientAuth::RequireAndVerify, 6));
    let names = tls.allowed_names.expect("some");
    assert_eq!(names[0], AllowedName::Dns("prometheus.example".into()));
    assert_eq!(names[1], AllowedName::Ip([10, 0, 0, 1].into()));
    assert_eq!((tls.min_version, tls.max_version), (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_2));
    assert_eq!((tls.suites.len(), tls.groups.len(), tls.preference), (2, 2, Preference::Client));
    assert_eq!((config.http2, config.headers.len()), (Http2::Off, 4));
    assert!(!config.users.is_empty());
    assert_eq!(config.rate, Some(Rate { interval: Duration::from_millis(1500), burst: 20 }));
}

#[test]
fn what_is_not_said_is_as_for_the_exporters_of_prometheus() {
    let config = good("tls_server_config: {cert_file: c, key_file: k, client_auth_type: '', min_version: }");
    let tls = config.tls.expect("TLS");
    assert_eq!((tls.client_auth, tls.preference), (ClientAuth::None, Preference::Server));
    assert_eq!((tls.min_version, tls.max_version), (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3));
    assert_eq!(config.http2, Http2::Offered);
    for nothing in [
        "{}",
        "tls_server_config:\nbasic_auth_users: {}\nhttp_server_config: {headers: }",
        "rate_limit: {interval: 0}",
    ] {
        let config = good(nothing);
        assert!(config.tls.is_none() && config.users.is_empty() && config.rate.is_none(), "{nothing}");
    }
}

#[test]
fn a_client_is_asked_for_what_go_asks_for() {
    for (name, want) in [
        ("NoClientCert", ClientAuth::None),
        ("RequestClientCert", ClientAuth::Request),
        ("RequireAnyClientCert", ClientAuth::RequireAny),
        ("RequireClientCert", ClientAuth::RequireAny),
    ] {
        let config =
            good(&format!("tls_server_config: {{cert_file: c, key_file: k, client_auth_type: {name}}}"));
        assert_eq!(config.tls.expect("TLS").client_auth, want);
    }
}

#[test]
fn unknown_and_double_keys_are_refused() {
    refused(
        "tls_server_confg: {}",
        "web.yml:1: unknown key \"tls_server_confg\" (did you mean \"tls_server_config\"?)",
    );
    tls_refused("  certfile: x\n", "web.yml:4: unknown key \"certfile\" (did you mean \"cert_file\"?)");
    tls_refused("  key_file: x\n", "web.yml:4: duplicate key \"key_file\" (first in line 3)");
    refused(
        "http_server_config: {headers: {Server: x}}",
        "web.yml:1: unknown key \"Server\" (known: Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security)",
    );
    refused("rate_limit: {per: 1s}", "web.yml:1: unknown key \"per\" (known: interval, burst)");
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    tls_refused(
        "  min_version: TLS10\n",
        "web.yml:4: tls_server_config.min_version: TLS10 is not spoken, as it is broken (TLS12 or TLS13)",
    );
    tls_refused(
        "  max_version: TLS11\n",
        "web.yml:4: tls_server_config.max_version: TLS11 is not spoken, as it is broken (TLS12 or TLS13)",
    );
    tls_refused(
        "  min_version: SSL3\n",
        "web.yml:4: tls_server_config.min_version: unknown version \"SSL3\" (TLS12 or TLS13)",
    );
    tls_refused(
        "  curve_preferences:\n    - CurveP521\n",
        "web.yml:5: tls_server_config.curve_preferences: the curve \"CurveP521\" is not spoken (X25519, CurveP256 or CurveP384)",
    );
    tls_refused(
        "  client_auth_type: Always\n",
        "web.yml:4: tls_server_config.client_auth_type: unknown kind \"Always\" (NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert)",
    );
    let problems = read(
        "web.yml",
        "tls_server_config: {cert_file: c, key_file: k, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}",
    );
    let said = problems.expect_err("it is not spoken").to_string();
    assert!(
        said.contains(
            "\"TLS_RSA_WITH_AES_128_CBC_SHA\" is not spoken (leave it out; there are TLS_AES_128_GCM_SHA256"
        ),
        "{said}"
    );
    tls_refused(
        "  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a@b.example]\n",
        "web.yml:5: tls_server_config.client_allowed_sans: \"a@b.example\" cannot be looked for in a certificate (a host name, an address or a URI)",
    );
    let slow = HASH.replace("$10$", "$20$");
    refused(
        &format!("basic_auth_users: {{a: {slow}}}"),
        "web.yml:1: basic_auth_users.a: bcrypt of cost 20 is not checked, but that of 4 to 16 (make one by: htpasswd -nBC 10 \"\")",
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    refused(
        "tls_server_config: {min_version: TLS13}",
        "web.yml:1: tls_server_config: cert_file is missing (add `cert_file: …`)\nweb.yml:1: tls_server_config: key_file is missing (add `key_file: …`)",
    );
    tls_refused(
        "  cert: x\n",
        "web.yml:4: tls_server_config.cert: tls_server_config.cert_file is given too (leave one of them out)",
    );
    tls_refused(
        "  client_ca_file: ca\n",
        "web.yml:4: tls_server_config.client_ca_file: no client's certificate is verified by it (add `client_auth_type: RequireAndVerifyClientCert`, or leave it out)",
    );
    tls_refused(
        "  client_auth_type: RequireAndVerifyClientCert\n",
        "web.yml:1: tls_server_config: client_ca_file is missing (add `client_ca_file: …`)",
    );
    tls_refused(
        "  client_allowed_sans: [a]\n",
        "web.yml:1: tls_server_config.client_allowed_sans: clients need no certificate (add `client_auth_type: RequireAndVerifyClientCert`)",
    );
    tls_refused(
        "  min_version: TLS13\n  max_version: TLS12\n",
        "web.yml:1: tls_server_config.max_version: it is older than min_version (leave it out)",
    );
    refused("rate_limit: {interval: 1s}", "web.yml:1: rate_limit: burst is missing (add `burst: …`)");
    refused(
        "rate_limit: {interval: 1s, burst: 0}",
        "web.yml:1: rate_limit.burst: 0 would let nobody in (at least 1, or an interval of 0)",
    );
    refused(
        "http_server_config: {headers: {X-Frame-Options: DENY}}",
        "web.yml:1: http_server_config.headers.X-Frame-Options: it cannot be \"DENY\" (deny or sameorigin)",
    );
    refused(
        "basic_auth_users: {alice: secret}",
        "web.yml:1: basic_auth_users.alice: the password is no bcrypt hash (make one by: htpasswd -nBC 10 \"\")",
    );
    refused(
        &format!("basic_auth_users: {{'a:b': {HASH}}}"),
        "web.yml:1: basic_auth_users: \"a:b\" cannot come in (a user has no colon)",
    );
}

#[test]
fn an_empty_file_is_a_mistake() {
    assert!(read("web.yml", "").is_err());
    assert!(read("web.yml", "# nothing\n").is_err());
}

#[test]
fn the_examples_in_the_manual_are_right() {
    let page = include_str!("../../../docs/web.md");
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in &examples[..2] {
        assert!(good(example).tls.is_some(), "{example}");
    }
}
