//! What a certificate opens, and what stays open without.

use wattribute_e2e::Scratch;

use crate::authorities::Authority;
use crate::server::{Kind, Server, Told};

fn scratch(name: &str, lines: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let authority = Authority::new(&scratch, "ca");
    authority.server("server");
    authority.client("client", "DNS:prometheus.example,IP:10.0.0.1,URI:spiffe://example/prometheus");
    authority.client("other", "DNS:grafana.example");
    let tls =
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n";
    scratch.write("web.yml", &format!("{tls}{lines}"));
    scratch
}

/// What is said at a path to a client with this certificate, or to one with none.
#[track_caller]
fn ask(server: &Server, scratch: &Scratch, (path, client): (&str, Option<&str>)) -> Told {
    let file = |name: String| scratch.path(&name).display().to_string();
    let mut args = vec!["--cacert".to_owned(), file("ca.crt".into())];
    if let Some(name) = client {
        args.extend([
            "--cert".to_owned(),
            file(format!("{name}.crt")),
            "--key".into(),
            file(format!("{name}.key")),
        ]);
    }
    server.ask(path, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn single_processes_and_reloads_are_for_those_with_a_certificate() {
    let scratch = scratch("rights", "  client_auth_type: VerifyClientCertIfGiven\n");
    let server = Kind::Wattribute.start(&scratch);
    let ask = |path, client| ask(&server, &scratch, (path, client));
    assert_eq!(ask("/-/healthy", None).status, 200);
    assert_eq!(ask("/metrics", None).status, 200);
    assert_eq!(ask("/api/v1/processes", None).status, 403);
    wattribute_e2e::eventually(wattribute_e2e::PATIENCE, "the demo's processes are listed", || {
        let told = ask("/api/v1/processes", Some("client"));
        assert_eq!(told.status, 200, "{told:?}");
        (told.body.contains("\"pid\"") && ask("/", Some("client")).body.contains("Billed to")).then_some(())
    });
    assert!(!ask("/", None).body.contains("Billed to"));
    let reload = |client: &[&str]| {
        let ca = scratch.path("ca.crt").display().to_string();
        server.ask("/-/reload", &[&["--cacert", &ca, "--request", "POST"], client].concat()).status
    };
    let [cert, key] =
        ["crt", "key"].map(|kind| scratch.path(&format!("client.{kind}")).display().to_string());
    assert_eq!([reload(&[]), reload(&["--cert", &cert, "--key", &key])], [403, 200]);
}

#[test]
fn a_certificate_must_have_a_name_that_is_allowed() {
    let lines = "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans:";
    for (name, want) in [
        ("prometheus.example", 200),
        ("10.0.0.1", 200),
        ("spiffe://example/prometheus", 200),
        ("prometheus.elsewhere", 0),
        ("example", 0),
    ] {
        let scratch = scratch("allowed", &format!("{lines} ['{name}', nobody.example]\n"));
        let server = Kind::Wattribute.start(&scratch);
        assert_eq!(ask(&server, &scratch, ("/metrics", Some("client"))).status, want, "{name}");
        assert_eq!(ask(&server, &scratch, ("/metrics", Some("other"))).status, 0, "{name}");
        assert_eq!(ask(&server, &scratch, ("/metrics", None)).status, 0, "{name}");
    }
}
