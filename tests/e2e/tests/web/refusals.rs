//! Files that cannot be honoured: one line that says where, what, and the way out, and nothing is started.

use wattribute_e2e::Scratch;

use crate::authorities::Authority;
use crate::server::Kind;

#[track_caller]
fn check(scratch: &Scratch, config: &str, want: &str) {
    let file = scratch.write("web.yml", config);
    let (status, said) = Kind::Wattribute.refuses(scratch);
    let folder = file.parent().expect("a folder").display().to_string();
    assert_eq!(said.replace(&folder, ""), format!("{want}\n"));
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_place_and_the_way_out_are_named() {
    let scratch = Scratch::new("refusals");
    Authority::new(&scratch, "ca").server("server");
    scratch.write("empty", "");
    let tls =
        |lines: &str| format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{lines}");
    let way_out = "(name a file that wattribute may read; a relative one begins at this file's folder)";
    check(
        &scratch,
        "tls_server_config:\n  cert_file: gone.crt\n  key_file: server.key\n",
        &format!(
            "/web.yml:2: tls_server_config.cert_file: /gone.crt: No such file or directory (os error 2) {way_out}"
        ),
    );
    check(
        &scratch,
        "tls_server_config:\n  cert_file: empty\n  key_file: server.crt\n",
        "/web.yml:2: tls_server_config.cert_file: there is no certificate in it (it must be PEM)\n\
         /web.yml:3: tls_server_config.key_file: there is no private key in it (it must be PEM, and not encrypted)",
    );
    check(
        &scratch,
        "tls_server_config:\n  cert_file: server.crt\n  key_file: ca.key\n",
        "/web.yml:2: tls_server_config.cert_file: keys may not be consistent: KeyMismatch \
         (certificate and key must be of each other)",
    );
    check(
        &scratch,
        &tls("  min_version: TLS10\n"),
        "/web.yml:4: tls_server_config.min_version: TLS10 is not spoken, as it is broken (TLS12 or TLS13)",
    );
    check(
        &scratch,
        &tls("  client_auth_type: RequireAndVerifyClientCert\n"),
        "/web.yml:1: tls_server_config: client_ca_file is missing (add `client_ca_file: …`)",
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let scratch = Scratch::new("refusals-missing");
    let (status, said) = Kind::Wattribute.refuses(&scratch);
    assert_eq!(status.code(), Some(1));
    assert!(
        said.ends_with("web.yml: No such file or directory (os error 2): see --web.config.file\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
