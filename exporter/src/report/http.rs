//! Asks a Prometheus-compatible server over HTTP or HTTPS: one question at a time, again where it failed for a passing
//! reason, never with half an answer. Called by [`super::server`]; what answers mean is not decided here.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::cli::Access;
use crate::tls;

/// The longest answer that is read; longer ones are asked for in smaller pieces.
pub const LONGEST: usize = 16 << 20;
/// Where systems keep the certificates they trust.
const SYSTEM_ROOTS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// It may go away: no connection, a time-out, a server that is busy.
    Passing(String),
    /// To ask again would change nothing.
    Lasting(String),
    /// The answer is longer than [`LONGEST`]: ask for less.
    TooLong,
}

/// A server, and who we are to it.
pub struct Client {
    secure: Option<Arc<ClientConfig>>,
    host: String,
    port: u16,
    /// What stands before `/api/v1`.
    prefix: String,
    headers: Vec<(&'static str, String)>,
    timeout: Duration,
    retries: u32,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// # Errors
    /// What is wrong with the flags or the files they name.
    pub fn new(access: &Access) -> Result<Self, String> {
        let way_out = "write it like http://localhost:9090 or https://host/prometheus";
        let wrong = |what: &str| format!("--prometheus: {what}: {way_out}");
        let uri: Uri = access.url.parse().map_err(|_| wrong("no URL"))?;
        let host = uri.host().ok_or_else(|| wrong("no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("--prometheus: a user in the URL would stand in the report: use --http.user".into());
        }
        if uri.query().is_some() {
            return Err(wrong("a query"));
        }
        let (secure, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(Arc::new(trust(access.ca_file.as_deref())?)), 443),
            _ => return Err(wrong("neither http nor https")),
        };
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(port),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            headers: headers(access, &uri)?,
            timeout: access.timeout,
            retries: access.retries,
            connection: None,
        })
    }

    /// The body of the answer to this question, at most [`LONGEST`] bytes.
    ///
    /// # Errors
    /// Why there is none, after as many tries as are allowed.
    pub async fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, Failure> {
        let target = format!("{}{path}?{}", self.prefix, encoded(query));
        let mut tries = 0;
        loop {
            let outcome = tokio::time::timeout(self.timeout, self.try_once(&target)).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Err(Failure::Passing(format!("no answer within {:?}: see --http.timeout", self.timeout)))
            });
            if outcome.is_err() {
                self.connection = None;
            }
            match outcome {
                Err(Failure::Passing(_)) if tries < self.retries => {
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                }
                Err(Failure::Passing(what)) => {
                    return Err(Failure::Passing(format!("{}: {what}, {} tries", self.name(), tries + 1)));
                }
                Err(Failure::Lasting(what)) => {
                    return Err(Failure::Lasting(format!("{}: {what}", self.name())));
                }
                other => return other,
            }
        }
    }

    /// The server as messages name it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn try_once(&mut self, target: &str) -> Result<Bytes, Failure> {
        let mut request = Request::get(target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Empty::new());
        let request =
            request.map_err(|error| Failure::Lasting(format!("the question is malformed ({error})")))?;
        let broken = |error: hyper::Error| Failure::Passing(format!("the connection broke ({error})"));
        let mut sender = match self.connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::TooLong
            } else {
                Failure::Passing(format!("the answer broke off ({error})"))
            }
        })?;
        self.connection = Some(sender);
        judge(status, body.to_bytes())
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, Failure> {
        let none = |error: io::Error| Failure::Passing(format!("no connection ({error})"));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(none)?;
        let handshake = |error: hyper::Error| Failure::Passing(format!("no connection ({error})"));
        let Some(config) = &self.secure else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(handshake)?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| Failure::Lasting(format!("no name for TLS ({error})")))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        let stream =
            stream.map_err(|error| Failure::Lasting(format!("no TLS ({error}): {}", tls_way_out(&error))))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(handshake)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What can be done about TLS that failed.
fn tls_way_out(error: &io::Error) -> &'static str {
    use CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet};
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet)) => {
            "the server's certificate must be renewed, or the clock here set"
        }
        Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            "name the server in --prometheus as its certificate does"
        }
        Some(rustls::Error::InvalidCertificate(_)) => "give the authority that signed it by --http.ca-file",
        _ => "does the server speak TLS there?",
    }
}

/// What a status says of asking again. An error's text is in the body, and a short one is shown.
fn judge(status: StatusCode, body: Bytes) -> Result<Bytes, Failure> {
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    let text: String = text.trim().chars().filter(|character| !character.is_control()).take(300).collect();
    let said =
        if text.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {text}") };
    let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::Lasting(format!("{said}: see --http.user and --http.bearer-token-file"))
        }
        StatusCode::NOT_FOUND => Failure::Lasting(format!("{said}: is that the part before /api/v1?")),
        _ if is_passing => Failure::Passing(said),
        _ => Failure::Lasting(said),
    })
}

/// 0.5, 1, 2, … up to 16 s.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(500) * 2u32.pow(tries.min(5))
}

fn headers(access: &Access, uri: &Uri) -> Result<Vec<(&'static str, String)>, String> {
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut headers = vec![
        ("host", authority),
        ("accept", "application/json".into()),
        ("user-agent", concat!("wattribute/", env!("CARGO_PKG_VERSION")).into()),
    ];
    if let (Some(user), Some(file)) = (&access.user, &access.password_file) {
        headers.push(("authorization", format!("Basic {}", base64(&format!("{user}:{}", secret(file)?)))));
    }
    if let Some(file) = &access.bearer_token_file {
        headers.push(("authorization", format!("Bearer {}", secret(file)?)));
    }
    if let Some(tenant) = &access.tenant {
        headers.push(("x-scope-orgid", tenant.clone()));
    }
    Ok(headers)
}

fn secret(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// TLS that trusts the file's certificates, or the system's.
fn trust(file: Option<&Path>) -> Result<ClientConfig, String> {
    let path = file.map(Path::to_owned).or_else(system_roots);
    let path = path.ok_or("https: no certificates of the system are found: give --http.ca-file")?;
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}: see --http.ca-file", path.display());
    let pem = fs::read(&path).map_err(|error| say(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = roots.add(certificate.map_err(|error| say(&error))?);
        // Systems have old certificates among theirs that nobody can use; in one's own file that is an error.
        if file.is_some() {
            added.map_err(|error| say(&error))?;
        }
    }
    if roots.is_empty() {
        return Err(say(&"no certificate in it"));
    }
    tls::trusting(roots).map_err(|error| error.to_string())
}

fn system_roots() -> Option<PathBuf> {
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.or_else(|| SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// As the query of a URL.
fn encoded(query: &[(&str, &str)]) -> String {
    let pairs = query.iter().map(|(name, value)| format!("{name}={}", percent(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let number =
            three.iter().chain([0, 0].iter()).take(3).fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[number >> (18 - 6 * place) & 63];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_base64() {
        for (text, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("a:b?é", "YTpiP8Op")]
        {
            assert_eq!(base64(text), want, "{text}");
        }
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(
            encoded(&[("query", "a{b=~\"c|d\"}[1h]"), ("time", "1.5")]),
            "query=a%7Bb%3D~%22c%7Cd%22%7D%5B1h%5D&time=1.5"
        );
    }

    #[track_caller]
    fn check(status: u16, want: &str) {
        let outcome = judge(StatusCode::from_u16(status).unwrap(), Bytes::from_static(b"no"));
        assert_eq!(
            outcome.is_err_and(|failure| format!("{failure:?}").starts_with(want)),
            !want.is_empty(),
            "{status}"
        );
    }

    #[test]
    fn what_may_pass_is_asked_again() {
        check(200, "");
        check(503, "Passing");
        check(429, "Passing");
        check(400, "Lasting");
        check(401, "Lasting");
        check(404, "Lasting");
        check(302, "Lasting");
    }
}
