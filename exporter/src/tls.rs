//! TLS to servers that we ask: by ring, 1.2 and newer. Whom to trust is the caller's.

use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, crypto};

/// A client that trusts these authorities alone.
///
/// # Errors
/// Where ring speaks no version of TLS that rustls thinks safe.
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
