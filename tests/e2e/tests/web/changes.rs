//! What changes while the exporter runs: certificates, keys and users.

use wattribute_e2e::{PATIENCE, Scratch, eventually};

use crate::authorities::{Authority, replace};
use crate::server::Kind;
use crate::{OTHER, SECRET};

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[test]
fn a_new_certificate_is_shown_and_a_bad_one_is_not() {
    let scratch = Scratch::new("new-certificate");
    Authority::new(&scratch, "ca").server("server");
    let next = Authority::new(&scratch, "next");
    next.server("renewed");
    scratch.write("web.yml", TLS);
    let server = Kind::Wattribute.start(&scratch);
    let trusts = |ca: &str| {
        let ca = scratch.path(&format!("{ca}.crt")).display().to_string();
        server.ask("/-/healthy", &["--cacert", &ca]).status == 200
    };
    assert!(trusts("ca") && !trusts("next"));
    replace(&scratch, "server", "renewed");
    eventually(PATIENCE, "the new certificate is shown", || trusts("next").then_some(()));
    assert!(!trusts("ca"));
    scratch.write("server.crt", "-----BEGIN CERTIFICATE-----\nhalf of i");
    eventually(PATIENCE, "the bad one is refused", || {
        server.log().contains("was refused: the last good").then_some(())
    });
    assert!(trusts("next"), "{}", server.log());
}

#[test]
fn new_users_are_let_in_and_old_ones_no_longer() {
    let scratch = Scratch::new("new-users");
    Authority::new(&scratch, "ca").server("server");
    let with = |hash: &str| scratch.write("web.yml", &format!("{TLS}basic_auth_users:\n  ann: {hash}\n"));
    with(SECRET);
    let server = Kind::Wattribute.start(&scratch);
    let ca = scratch.path("ca.crt").display().to_string();
    let status = |user: &str| server.ask("/metrics", &["--cacert", &ca, "--user", user]).status;
    assert_eq!([status("ann:secret"), status("ann:other")], [200, 401]);
    with(OTHER);
    eventually(PATIENCE, "the new password is right", || (status("ann:other") == 200).then_some(()));
    assert_eq!(status("ann:secret"), 401);
    // A file without users would let everybody in; so would half of one.
    scratch.write("web.yml", TLS);
    eventually(PATIENCE, "it is refused", || {
        server.log().contains("no password would be asked for").then_some(())
    });
    assert_eq!([status("ann:other"), status("ann:secret")], [200, 401]);
}

#[test]
fn clients_without_a_certificate_are_not_let_in_by_a_change() {
    let scratch = Scratch::new("fewer-certificates");
    let authority = Authority::new(&scratch, "ca");
    authority.server("server");
    authority.client("client", "DNS:prometheus.example");
    let with = |lines: &str| scratch.write("web.yml", &format!("{TLS}  client_ca_file: ca.crt\n{lines}"));
    with("  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n");
    let server = Kind::Wattribute.start(&scratch);
    let ca = scratch.path("ca.crt").display().to_string();
    let refusals = || server.log().matches("certificates of clients would matter less").count();
    for (number, less) in ["VerifyClientCertIfGiven", "RequireAndVerifyClientCert"].into_iter().enumerate() {
        with(&format!("  client_auth_type: {less}\n"));
        eventually(PATIENCE, "it is refused", || (refusals() > number).then_some(()));
        assert_eq!(server.ask("/metrics", &["--cacert", &ca]).status, 0, "{less}");
    }
}
