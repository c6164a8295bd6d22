//! What is asked of clients in a TLS handshake: the five kinds of Go's crypto/tls, and names that are allowed.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::words::{AllowedName, ClientAuth};

type Verifier = Arc<dyn ClientCertVerifier>;

/// What asks clients for this; the authorities are those that vouch for them.
///
/// # Errors
/// If there are no authorities where they are needed.
pub fn verifier(
    auth: ClientAuth,
    roots: RootCertStore,
    names: Option<Vec<AllowedName>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, String> {
    let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let unverified = Unverified { auth, algorithms: provider.signature_verification_algorithms };
    let verifier: Verifier = match auth {
        ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
        ClientAuth::Request | ClientAuth::RequireAny => Arc::new(unverified),
        ClientAuth::VerifyIfGiven => {
            webpki.allow_unauthenticated().build().map_err(|error| error.to_string())?
        }
        ClientAuth::RequireAndVerify => webpki.build().map_err(|error| error.to_string())?,
    };
    Ok(match names {
        Some(names) => Arc::new(Named { inner: verifier, names }),
        None => verifier,
    })
}

/// Takes any certificate of which the client has the key.
#[derive(Debug)]
struct Unverified {
    auth: ClientAuth,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Unverified {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.requires()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Asks for one of these names, after all that `inner` asks for.
#[derive(Debug)]
struct Named {
    inner: Verifier,
    names: Vec<AllowedName>,
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if self.names.iter().any(|name| has_name(end_entity, name)) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Exactly so: a wildcard in a certificate is no name of an allowed one.
fn has_name(certificate: &CertificateDer<'_>, name: &AllowedName) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    match name {
        AllowedName::Dns(name) => certificate.valid_dns_names().any(|own| own == name),
        AllowedName::Uri(name) => certificate.valid_uri_names().any(|own| own == name),
        AllowedName::Ip(address) => has_address(&certificate, *address),
    }
}

fn has_address(certificate: &webpki::EndEntityCert<'_>, address: IpAddr) -> bool {
    certificate.verify_is_valid_for_subject_name(&ServerName::IpAddress(address.into())).is_ok()
}
