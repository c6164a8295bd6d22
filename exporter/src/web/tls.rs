//! Makes of what the file says how rustls speaks TLS: reads certificates and keys, and sees that they fit. A complaint names
//! the line of the configuration file. Called by [`super::door`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};
use wattribute::yaml::{Fault, Report};

use super::clients;
use super::config::{Http2, Pem, PemSource, Preference, Tls};
use super::words::ClientAuth;

/// The largest file with certificates that is read.
const LARGEST: u64 = 1 << 20;

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct Speech {
    /// As rustls has it.
    pub config: Arc<ServerConfig>,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Whether not every name in their certificates will do.
    pub restricts_names: bool,
}

/// The files that are named, relative to this folder.
pub fn files(tls: &Tls, folder: &Path) -> Vec<PathBuf> {
    let all = [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()];
    let file = |pem: &Pem| match &pem.source {
        PemSource::File(name) => Some(folder.join(name)),
        PemSource::Inline(_) => None,
    };
    all.into_iter().flatten().filter_map(file).collect()
}

/// How TLS is spoken, with the files that are named relative to this folder. Nothing but what was reported if one is wrong.
pub fn speech(tls: Tls, http2: Http2, folder: &Path, report: &mut Report<'_>) -> Option<Speech> {
    let chain =
        read(&tls.certificate, folder, report).and_then(|text| certificates(&tls.certificate, &text, report));
    let key = read(&tls.key, folder, report).and_then(|text| private_key(&tls.key, &text, report));
    let roots = match &tls.client_ca {
        None => Some(RootCertStore::empty()),
        Some(ca) => read(ca, folder, report).and_then(|text| authorities(ca, &text, report)),
    };
    let (chain, key, roots) = (chain?, key?, roots?);
    let (place, client_auth) = (tls.certificate.clone(), tls.client_auth);
    let restricts_names = tls.allowed_names.is_some();
    match build(tls, http2, (chain, key, roots)) {
        Ok(config) => Some(Speech { config: Arc::new(config), client_auth, restricts_names }),
        Err(what) => refuse(&place, &what, "certificate and key must be of each other", report),
    }
}

type Secrets = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore);

fn build(tls: Tls, http2: Http2, (chain, key, roots): Secrets) -> Result<ServerConfig, String> {
    let mut provider = ring::default_provider();
    if !tls.suites.is_empty() {
        provider.cipher_suites = suites(tls.suites, &provider);
    }
    if !tls.groups.is_empty() {
        provider.kx_groups = tls.groups;
    }
    let provider = Arc::new(provider);
    let versions: Vec<&SupportedProtocolVersion> =
        [(ProtocolVersion::TLSv1_2, &TLS12), (ProtocolVersion::TLSv1_3, &TLS13)]
            .into_iter()
            .filter(|(version, _)| *version == tls.min_version || *version == tls.max_version)
            .map(|(_, supported)| supported)
            .collect();
    let verifier = clients::verifier(tls.client_auth, roots, tls.allowed_names, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let builder = builder.map_err(|error| error.to_string())?.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(chain, key).map_err(|error| error.to_string())?;
    if tls.client_auth.verifies() {
        // A session that is resumed would not be verified again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    config.ignore_client_order = tls.preference == Preference::Server;
    config.alpn_protocols = match http2 {
        Http2::Offered => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Off => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// Those that were chosen. As in Go the list is about TLS 1.2: unless it names suites of TLS 1.3, all of these stay.
fn suites(chosen: Vec<SupportedCipherSuite>, provider: &CryptoProvider) -> Vec<SupportedCipherSuite> {
    let is_new = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let mut all = chosen;
    if !all.iter().any(is_new) {
        all.extend(provider.cipher_suites.iter().copied().filter(is_new));
    }
    all
}

/// Reads something in PEM, which no fifo holds up and no device makes endless.
fn read(pem: &Pem, folder: &Path, report: &mut Report<'_>) -> Option<Vec<u8>> {
    let file = match &pem.source {
        PemSource::Inline(text) => return Some(text.clone().into_bytes()),
        PemSource::File(name) => folder.join(name),
    };
    let way_out = "name a file that wattribute may read; a relative one begins at this file's folder";
    match fs::metadata(&file) {
        Err(error) => refuse(pem, &format!("{}: {error}", file.display()), way_out, report),
        Ok(found) if !found.is_file() || found.len() > LARGEST => {
            refuse(pem, &format!("{}: it is no file of at most 1 MiB", file.display()), way_out, report)
        }
        Ok(_) => match fs::read(&file) {
            Ok(text) => Some(text),
            Err(error) => refuse(pem, &format!("{}: {error}", file.display()), way_out, report),
        },
    }
}

fn certificates(pem: &Pem, text: &[u8], report: &mut Report<'_>) -> Option<Vec<CertificateDer<'static>>> {
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(all) if !all.is_empty() => Some(all),
        Ok(_) => refuse(pem, "there is no certificate in it", "it must be PEM", report),
        Err(error) => refuse(pem, &error.to_string(), "it must be PEM", report),
    }
}

fn private_key(pem: &Pem, text: &[u8], report: &mut Report<'_>) -> Option<PrivateKeyDer<'static>> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Some(key),
        Err(_) => refuse(pem, "there is no private key in it", "it must be PEM, and not encrypted", report),
    }
}

fn authorities(pem: &Pem, text: &[u8], report: &mut Report<'_>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, text, report)? {
        if let Err(error) = roots.add(certificate) {
            return refuse(pem, &error.to_string(), "certificates of authorities stand there", report);
        }
    }
    Some(roots)
}

fn refuse<T>(pem: &Pem, what: &str, way_out: &str, report: &mut Report<'_>) -> Option<T> {
    report.add(pem.line, Fault::new(what).key(&pem.key).help(way_out));
    None
}
