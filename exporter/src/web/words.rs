//! The values of the web configuration file, as Go's crypto/tls names them. What rustls cannot do is refused here, with the
//! way out. Pure: text in, values out. Called by [`super::config`].

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio_rustls::rustls::crypto::SupportedKxGroup;
use tokio_rustls::rustls::crypto::ring::cipher_suite as suites;
use tokio_rustls::rustls::crypto::ring::kx_group;
use tokio_rustls::rustls::{ProtocolVersion, SupportedCipherSuite};
use wattribute::yaml::{Fault, quote};

use super::passwords::Hash;

/// Whether a client must show a certificate, and whether it is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for; any or none will do.
    Request,
    /// One must be shown; any will do.
    RequireAny,
    /// One that is shown must be verified.
    VerifyIfGiven,
    /// One must be shown and verified.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether what a client shows says who it is.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether a client without a certificate is sent away.
    #[must_use]
    pub fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// A name that a client's certificate may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedName {
    /// A host name, exactly so.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A URI, exactly so.
    Uri(String),
}

/// The headers that may be set, and the values that some of them are held to.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// Their names.
pub fn header_names() -> Vec<&'static str> {
    HEADERS.iter().map(|(name, _)| *name).collect()
}

/// A header that is added to every answer.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let allowed = HEADERS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, values)| values);
    if !allowed.is_empty() && !allowed.contains(&value) {
        return Err(Fault::new(format!("it cannot be {}", quote(value))).help(allowed.join(" or ")));
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| Fault::new(error.to_string()))?;
    let value = HeaderValue::from_str(value);
    Ok((name, value.map_err(|_| Fault::new("a header cannot hold this").help("letters in one line"))?))
}

/// `client_auth_type`.
pub fn client_auth(text: &str) -> Result<ClientAuth, Fault> {
    match text {
        "NoClientCert" => Ok(ClientAuth::None),
        "RequestClientCert" => Ok(ClientAuth::Request),
        // The second is how the first exporters wrote it.
        "RequireAnyClientCert" | "RequireClientCert" => Ok(ClientAuth::RequireAny),
        "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyIfGiven),
        "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerify),
        _ => Err(Fault::new(format!("unknown kind {}", quote(text))).help(
            "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
             RequireAndVerifyClientCert",
        )),
    }
}

/// A version of TLS.
pub fn version(text: &str) -> Result<ProtocolVersion, Fault> {
    match text {
        "TLS12" => Ok(ProtocolVersion::TLSv1_2),
        "TLS13" => Ok(ProtocolVersion::TLSv1_3),
        "TLS10" | "TLS11" => {
            Err(Fault::new(format!("{text} is not spoken, as it is broken")).help("TLS12 or TLS13"))
        }
        _ => Err(Fault::new(format!("unknown version {}", quote(text))).help("TLS12 or TLS13")),
    }
}

/// The cipher suites that are spoken, by the names that Go gives them.
const SUITES: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suites::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// A cipher suite.
pub fn suite(text: &str) -> Result<SupportedCipherSuite, Fault> {
    let found = SUITES.iter().find(|(name, _)| *name == text).map(|(_, suite)| *suite);
    found.ok_or_else(|| {
        let known: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
        let fault = Fault::new(format!("{} is not spoken", quote(text)));
        fault.help(format!("leave it out; there are {}", known.join(", ")))
    })
}

/// An elliptic curve.
pub fn group(text: &str) -> Result<&'static dyn SupportedKxGroup, Fault> {
    match text {
        "X25519" => Ok(kx_group::X25519),
        "CurveP256" => Ok(kx_group::SECP256R1),
        "CurveP384" => Ok(kx_group::SECP384R1),
        _ => {
            let fault = Fault::new(format!("the curve {} is not spoken", quote(text)));
            Err(fault.help("X25519, CurveP256 or CurveP384"))
        }
    }
}

/// A name that a client's certificate may have.
pub fn allowed_name(text: &str) -> Result<AllowedName, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(AllowedName::Ip(address));
    }
    if text.contains(':') {
        return Ok(AllowedName::Uri(text.into()));
    }
    if text.is_empty() || text.contains('@') {
        let fault = Fault::new(format!("{} cannot be looked for in a certificate", quote(text)));
        return Err(fault.help("a host name, an address or a URI"));
    }
    Ok(AllowedName::Dns(text.into()))
}

/// The bcrypt hash of a password.
pub fn hash(text: &str) -> Result<Hash, Fault> {
    Hash::parse(text).map_err(|what| Fault::new(what).help("make one by: htpasswd -nBC 10 \"\""))
}

/// Yes or no, as YAML 1.1 has it.
pub fn truth(text: &str) -> Result<bool, Fault> {
    match text {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(Fault::new(format!("{} is neither true nor false", quote(text)))),
    }
}

/// How many.
pub fn count(text: &str) -> Result<u32, Fault> {
    let number = text.parse().map_err(|_| Fault::new(format!("{} is no number", quote(text))));
    number.map_err(|fault| fault.help("a number like 20"))
}

/// A length of time as Go writes it, `1.5s` or `1m30s`; a bare number is nanoseconds.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong =
        || Fault::new(format!("{} is no length of time", quote(text))).help("one like 500ms, 1s or 1m30s");
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_duration(text: &str, want: Option<u64>) {
        assert_eq!(duration(text).ok(), want.map(Duration::from_micros), "{text:?}");
    }

    #[test]
    fn lengths_of_time_are_read_as_go_writes_them() {
        check_duration("1s", Some(1_000_000));
        check_duration("1.5s", Some(1_500_000));
        check_duration("1m30s", Some(90_000_000));
        check_duration("250us", Some(250));
        check_duration("0", Some(0));
        check_duration("1000", Some(1));
        for wrong in ["s", "1 s", "-1s", "1d", "1.2.3s", "1s5", "99999999999999999999999h"] {
            check_duration(wrong, None);
        }
    }

    #[track_caller]
    fn check_name(text: &str, want: Option<&AllowedName>) {
        assert_eq!(allowed_name(text).ok().as_ref(), want, "{text:?}");
    }

    #[test]
    fn names_are_told_apart() {
        check_name("::1", Some(&AllowedName::Ip([0, 0, 0, 0, 0, 0, 0, 1].into())));
        check_name("10.0.0.1", Some(&AllowedName::Ip([10, 0, 0, 1].into())));
        check_name("spiffe://a/b", Some(&AllowedName::Uri("spiffe://a/b".into())));
        check_name("prometheus.example", Some(&AllowedName::Dns("prometheus.example".into())));
        check_name("a@b.example", None);
        check_name("", None);
    }
}
