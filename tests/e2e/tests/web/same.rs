//! The same file, the same answers: beside Debian's node exporter, which has Prometheus's exporter-toolkit.

use wattribute_e2e::Scratch;

use crate::SECRET;
use crate::authorities::Authority;
use crate::server::{Kind, Server, Told, curl};

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Both servers with one file, and the arguments by which curl trusts them.
struct Pair {
    both: [Server; 2],
    trust: [String; 2],
}

impl Pair {
    #[track_caller]
    fn start(scratch: &Scratch, config: &str) -> Self {
        scratch.write("web.yml", config);
        let trust = ["--cacert".into(), scratch.path("ca.crt").display().to_string()];
        Self { both: Kind::BOTH.map(|kind| kind.start(scratch)), trust }
    }

    /// What both say to curl with these arguments.
    #[track_caller]
    fn ask(&self, args: &[&str]) -> [Told; 2] {
        let trust: Vec<&str> = self.trust.iter().map(String::as_str).collect();
        self.both.each_ref().map(|server| server.ask("/metrics", &[&trust[..], args].concat()))
    }

    /// Both answer with this status and version, and have these headers alike; 0 is no answer.
    #[track_caller]
    fn check(&self, args: &[&str], want: (u16, &str), headers: &[&str]) {
        for told in self.ask(args) {
            assert_eq!((told.status, told.version.as_str()), want, "{args:?}: {:?}", told.headers);
        }
        let [ours, theirs] = self.ask(args);
        for name in headers {
            assert_eq!(ours.header(name), theirs.header(name), "{args:?}: {name}");
        }
    }
}

fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let authority = Authority::new(&scratch, "ca");
    authority.server("server");
    authority.client("client", "DNS:prometheus.example");
    Authority::new(&scratch, "foreign").client("stranger", "DNS:prometheus.example");
    scratch
}

/// All that the files set, and what comes with a refusal.
const HEADERS: &[&str] = &[
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
    "strict-transport-security",
    "content-security-policy",
];

#[test]
fn passwords_headers_and_versions() {
    let scratch = scratch("same-passwords");
    let headers = "    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1; mode=block\n    \
                   Strict-Transport-Security: max-age=31536000\n    Content-Security-Policy: frame-ancestors 'none'\n";
    let config =
        format!("{TLS}http_server_config:\n  headers:\n{headers}basic_auth_users:\n  ann: {SECRET}\n");
    let pair = Pair::start(&scratch, &config);
    pair.check(&[], (401, "2"), HEADERS);
    pair.check(&["--user", "ann:secret"], (200, "2"), HEADERS);
    pair.check(&["--user", "ann:secret", "--http1.1"], (200, "1.1"), HEADERS);
    pair.check(&["--user", "ann:secret", "--http1.0", "--no-alpn"], (200, "1"), HEADERS);
    pair.check(&["--user", "ann:wrong"], (401, "2"), HEADERS);
    pair.check(&["--user", "nobody:secret"], (401, "2"), HEADERS);
    pair.check(&["--user", "ann:"], (401, "2"), HEADERS);
    pair.check(&["--header", "Authorization: Bearer secret"], (401, "2"), HEADERS);
    pair.check(&["--user", "ann:secret", "--tls-max", "1.2"], (200, "2"), HEADERS);
    pair.check(&["--user", "ann:secret", "--tls-max", "1.1"], (0, "0"), &[]);
    for server in &pair.both {
        let told = curl(&format!("http://{}/metrics", server.address), &[]);
        assert_eq!(
            (told.status, told.body.trim()),
            (400, "Client sent an HTTP request to an HTTPS server."),
            "{told:?}"
        );
    }
}

#[test]
fn without_tls_there_are_passwords_all_the_same() {
    let scratch = Scratch::new("same-plain");
    scratch.write("web.yml", &format!("basic_auth_users:\n  ann: {SECRET}\n"));
    for server in Kind::BOTH.map(|kind| kind.start(&scratch)) {
        let url = format!("http://{}/metrics", server.address);
        assert_eq!([&[][..], &["--user", "ann:secret"]].map(|args| curl(&url, args).status), [401, 200]);
    }
}

#[test]
fn versions_suites_and_curves() {
    let scratch = scratch("same-versions");
    let pair =
        Pair::start(&scratch, &format!("{TLS}  min_version: TLS13\nhttp_server_config:\n  http2: false\n"));
    pair.check(&[], (200, "1.1"), &[]);
    pair.check(&["--tls-max", "1.2"], (0, "0"), &[]);
    drop(pair);
    let config = format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  \
         curve_preferences: [CurveP256]\nhttp_server_config:\n  http2: false\n"
    );
    let pair = Pair::start(&scratch, &config);
    pair.check(&["--tlsv1.3"], (0, "0"), &[]);
    pair.check(&["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (200, "1.1"), &[]);
    pair.check(&["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"], (0, "0"), &[]);
    pair.check(&["--curves", "P-384"], (0, "0"), &[]);
}

/// What is said to a client without a certificate, to ours, and to a stranger; 0 is no answer.
#[track_caller]
fn check_clients(scratch: &Scratch, lines: &str, want: [u16; 3]) {
    let pair = Pair::start(scratch, &format!("{TLS}{lines}"));
    let with = |name: &str| {
        let path = |kind: &str| scratch.path(&format!("{name}.{kind}")).display().to_string();
        vec!["--cert".to_owned(), path("crt"), "--key".into(), path("key")]
    };
    for (args, want) in [vec![], with("client"), with("stranger")].iter().zip(want) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for told in pair.ask(&args) {
            assert_eq!(told.status, want, "{lines} {args:?}: {:?}", told.headers);
        }
    }
}

#[test]
fn clients_are_asked_for_the_same_certificates() {
    let scratch = scratch("same-clients");
    let ca = "  client_ca_file: ca.crt\n";
    check_clients(&scratch, "  client_auth_type: NoClientCert\n", [200, 200, 200]);
    check_clients(&scratch, "  client_auth_type: RequestClientCert\n", [200, 200, 200]);
    check_clients(&scratch, "  client_auth_type: RequireAnyClientCert\n", [0, 200, 200]);
    check_clients(&scratch, &format!("  client_auth_type: VerifyClientCertIfGiven\n{ca}"), [200, 200, 0]);
    check_clients(&scratch, &format!("  client_auth_type: RequireAndVerifyClientCert\n{ca}"), [0, 200, 0]);
}

#[test]
fn what_one_refuses_the_other_does_too() {
    let scratch = scratch("same-refusals");
    for config in [
        "tls_server_config:\n  cert_file: missing.crt\n  key_file: server.key\n".to_owned(),
        "tls_server_config:\n  cert_file: server.crt\n  key_file: client.key\n".to_owned(),
        "tls_server_config:\n  cert_file: server.crt\n".to_owned(),
        format!("{TLS}  client_ca_file: ca.crt\n"),
        format!("{TLS}  client_auth_type: Never\n"),
        format!("{TLS}  certificate: server.crt\n"),
        format!("{TLS}  cipher_suites: [TLS_NULL]\n"),
        "basic_auth_users:\n  ann: secret\n".to_owned(),
        "http_server_config:\n  headers:\n    Server: x\n".to_owned(),
        "users: {}\n".to_owned(),
    ] {
        scratch.write("web.yml", &config);
        for kind in Kind::BOTH {
            let (status, said) = kind.refuses(&scratch);
            assert_eq!(status.code(), Some(1), "{kind:?}: {config}\n{said}");
        }
    }
}
