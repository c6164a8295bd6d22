//! Reads the web configuration file: text in, what it says out, or everything that is wrong with it. Certificates are named
//! here and read in [`super::tls`]. Called by [`super::door`].

use hyper::header::{HeaderName, HeaderValue};
use tokio_rustls::rustls::crypto::SupportedKxGroup;
use tokio_rustls::rustls::{ProtocolVersion, SupportedCipherSuite};
use wattribute::rules::Problems;
use wattribute::yaml::{self, Entry, Fault, Kind, Node, Report, quote};

use super::passwords::Users;
use super::rate::Rate;
use super::words::{self, AllowedName, ClientAuth};

/// What a file says.
#[derive(Debug, Default)]
pub struct Config {
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is offered over TLS.
    pub http2: Http2,
    /// Added to every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may come in.
    pub users: Users,
    /// How many requests are answered.
    pub rate: Option<Rate>,
}

/// Whether HTTP/2 is offered over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// It is.
    #[default]
    Offered,
    /// HTTP/1.1 alone is spoken.
    Off,
}

/// How TLS is spoken.
#[derive(Debug)]
pub struct Tls {
    /// The server's certificate, and those between it and the authority.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who vouches for them.
    pub client_ca: Option<Pem>,
    /// Names of which a client's certificate has one; `None`: any name will do.
    pub allowed_names: Option<Vec<AllowedName>>,
    /// The oldest version.
    pub min_version: ProtocolVersion,
    /// The newest version.
    pub max_version: ProtocolVersion,
    /// The suites, those that are preferred first; none: rustls's own.
    pub suites: Vec<SupportedCipherSuite>,
    /// Whose order of suites counts.
    pub preference: Preference,
    /// The curves, those that are preferred first; none: rustls's own.
    pub groups: Vec<&'static dyn SupportedKxGroup>,
}

/// Whose order of suites counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The server's.
    #[default]
    Server,
    /// The client's.
    Client,
}

/// Something in PEM, and the place in the file that a complaint about it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pem {
    /// From 1.
    pub line: usize,
    /// `tls_server_config.cert_file`.
    pub key: String,
    /// Where it is.
    pub source: PemSource,
}

/// Where something in PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// A file, relative to the folder of the configuration file.
    File(String),
    /// In the configuration file.
    Inline(String),
}

const SECTIONS: &[&str] = &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
const TLS_KEYS: &[&str] = &[
    "cert_file",
    "key_file",
    "cert",
    "key",
    "client_auth_type",
    "client_ca_file",
    "client_ca",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// Reads a file of this name.
///
/// # Errors
/// Everything that is wrong, by lines.
pub fn read(name: &str, text: &str) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let mut report = Report::new(name, &mut problems);
    let root = yaml::parse(text, "{}", &mut report);
    let config = root.and_then(|root| {
        let sections = yaml::map(&root, "", &mut report)?;
        yaml::check_keys(sections, SECTIONS, &mut report);
        Some(Config {
            tls: section(sections, "tls_server_config", &mut report, tls),
            users: section(sections, "basic_auth_users", &mut report, users).unwrap_or_default(),
            rate: section(sections, "rate_limit", &mut report, rate),
            ..section(sections, "http_server_config", &mut report, http).unwrap_or_default()
        })
    });
    problems.sort_by_key(|problem| problem.line);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems(problems)),
    }
}

/// A section and what stands in it: where it begins, its name, its entries.
struct Section<'n> {
    line: usize,
    name: &'n str,
    entries: &'n [Entry],
}

fn section<T>(
    sections: &[Entry],
    name: &'static str,
    report: &mut Report<'_>,
    read: impl FnOnce(&Section<'_>, &mut Report<'_>) -> Option<T>,
) -> Option<T> {
    let entry = given(sections, name)?;
    let entries = yaml::map(&entry.value, name, report)?;
    // As for the exporters of Prometheus, an empty section is none.
    if entries.is_empty() { None } else { read(&Section { line: entry.line, name, entries }, report) }
}

/// The entry of a key that has a value.
fn given<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Entry> {
    yaml::get(entries, key).filter(|entry| match &entry.value.kind {
        Kind::Empty => false,
        Kind::Text(text) => !text.is_empty(),
        _ => true,
    })
}

impl Section<'_> {
    fn check_keys(&self, known: &[&str], report: &mut Report<'_>) {
        yaml::check_keys(self.entries, known, report);
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// What a key says, if it is given.
    fn value<T>(
        &self,
        key: &str,
        report: &mut Report<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let entry = given(self.entries, key)?;
        scalar(&entry.value, &self.path(key), report, parse)
    }

    /// What the items of a list say, if it is given and each of them is right.
    fn values<T>(
        &self,
        key: &str,
        report: &mut Report<'_>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let entry = given(self.entries, key)?;
        let path = self.path(key);
        let items = yaml::list(&entry.value, &path, report)?;
        // All of them are read, so that all complaints are heard.
        let read: Vec<Option<T>> = items.iter().map(|item| scalar(item, &path, report, &parse)).collect();
        read.into_iter().collect()
    }

    /// What a pair of keys names, of which one may be given: a file, or the text itself.
    fn pem(&self, file: &str, inline: &str, report: &mut Report<'_>) -> Option<Pem> {
        let of = |key: &str, report: &mut Report<'_>, source: fn(String) -> PemSource| {
            let entry = given(self.entries, key)?;
            let source = source(yaml::text(&entry.value, &self.path(key), report)?.to_owned());
            Some(Pem { line: entry.line, key: self.path(key), source })
        };
        let (file, inline) = (of(file, report, PemSource::File), of(inline, report, PemSource::Inline));
        if let (Some(file), Some(inline)) = (&file, &inline) {
            let fault = Fault::new(format!("{} is given too", file.key)).key(&inline.key);
            report.add(inline.line, fault.help("leave one of them out"));
        }
        file.or(inline)
    }

    fn missing(&self, what: &str, report: &mut Report<'_>) {
        report.add(
            self.line,
            Fault::new(format!("{what} is missing")).key(self.name).help(format!("add `{what}: …`")),
        );
    }
}

fn scalar<T>(
    node: &Node,
    path: &str,
    report: &mut Report<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    let text = yaml::text(node, path, report)?;
    report.check(node.line, parse(text).map_err(|fault| fault.key(path)))
}

fn tls(section: &Section<'_>, report: &mut Report<'_>) -> Option<Tls> {
    section.check_keys(TLS_KEYS, report);
    let certificate = section.pem("cert_file", "cert", report);
    let key = section.pem("key_file", "key", report);
    if certificate.is_none() {
        section.missing("cert_file", report);
    }
    if key.is_none() {
        section.missing("key_file", report);
    }
    let client_ca = section.pem("client_ca_file", "client_ca", report);
    let client_auth = section.value("client_auth_type", report, words::client_auth).unwrap_or_default();
    let allowed_names = section.values("client_allowed_sans", report, words::allowed_name);
    clients(section, (client_auth, client_ca.as_ref(), allowed_names.as_deref()), report);
    let (min_version, max_version) = versions(section, report);
    let prefers = section.value("prefer_server_cipher_suites", report, words::truth).unwrap_or(true);
    Some(Tls {
        certificate: certificate?,
        key: key?,
        client_auth,
        client_ca,
        allowed_names,
        min_version,
        max_version,
        suites: section.values("cipher_suites", report, words::suite).unwrap_or_default(),
        preference: if prefers { Preference::Server } else { Preference::Client },
        groups: section.values("curve_preferences", report, words::group).unwrap_or_default(),
    })
}

fn versions(section: &Section<'_>, report: &mut Report<'_>) -> (ProtocolVersion, ProtocolVersion) {
    let min = section.value("min_version", report, words::version).unwrap_or(ProtocolVersion::TLSv1_2);
    let max = section.value("max_version", report, words::version).unwrap_or(ProtocolVersion::TLSv1_3);
    if (min, max) == (ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2) {
        let fault = Fault::new("it is older than min_version").key(section.path("max_version"));
        report.add(section.line, fault.help("leave it out"));
    }
    (min, max)
}

/// Whether what is asked of clients makes sense.
fn clients(
    section: &Section<'_>,
    (auth, ca, names): (ClientAuth, Option<&Pem>, Option<&[AllowedName]>),
    report: &mut Report<'_>,
) {
    if auth.verifies() && ca.is_none() {
        section.missing("client_ca_file", report);
    }
    if let Some(ca) = ca.filter(|_| !auth.verifies()) {
        let fault = Fault::new("no client's certificate is verified by it").key(&ca.key);
        report
            .add(ca.line, fault.help("add `client_auth_type: RequireAndVerifyClientCert`, or leave it out"));
    }
    let Some(names) = names else { return };
    let mut refuse = |what: &str, help: &str| {
        let fault = Fault::new(what).key(section.path("client_allowed_sans"));
        report.add(section.line, fault.help(help));
    };
    if names.is_empty() {
        refuse("an empty list lets nobody in", "name somebody, or drop the key");
    }
    if !auth.requires() {
        refuse("clients need no certificate", "add `client_auth_type: RequireAndVerifyClientCert`");
    }
}

fn http(section: &Section<'_>, report: &mut Report<'_>) -> Option<Config> {
    section.check_keys(&["http2", "headers"], report);
    let is_on = section.value("http2", report, words::truth).unwrap_or(true);
    let headers = given(section.entries, "headers").and_then(|entry| {
        let path = section.path("headers");
        let entries = yaml::map(&entry.value, &path, report)?;
        yaml::check_keys(entries, &words::header_names(), report);
        let set: Vec<&Entry> = entries.iter().filter(|entry| given(entries, &entry.key).is_some()).collect();
        let read = |entry: &&Entry| {
            let name = entry.key.as_str();
            scalar(&entry.value, &format!("{path}.{name}"), report, |text| words::header(name, text))
        };
        Some(set.iter().filter_map(read).collect())
    });
    Some(Config {
        http2: if is_on { Http2::Offered } else { Http2::Off },
        headers: headers.unwrap_or_default(),
        ..Config::default()
    })
}

fn users(section: &Section<'_>, report: &mut Report<'_>) -> Option<Users> {
    let read = |entry: &Entry| {
        let path = section.path(&entry.key);
        if entry.key.contains(':') {
            let fault = Fault::new(format!("{} cannot come in", quote(&entry.key))).key(section.name);
            report.add(entry.line, fault.help("a user has no colon"));
        }
        Some((entry.key.clone(), scalar(&entry.value, &path, report, words::hash)?))
    };
    Some(section.entries.iter().filter_map(read).collect())
}

/// An interval of zero is no limit, as for the exporters of Prometheus.
fn rate(section: &Section<'_>, report: &mut Report<'_>) -> Option<Rate> {
    section.check_keys(&["interval", "burst"], report);
    let interval = section.value("interval", report, words::duration);
    let burst = section.value("burst", report, words::count);
    let interval = interval.filter(|interval| !interval.is_zero())?;
    match burst {
        Some(burst @ 1..) => Some(Rate { interval, burst }),
        Some(0) => {
            let fault = Fault::new("0 would let nobody in").key(section.path("burst"));
            report.add(section.line, fault.help("at least 1, or an interval of 0"));
            None
        }
        None => {
            section.missing("burst", report);
            None
        }
    }
}
