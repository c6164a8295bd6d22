//! What each path answers.
//!
//! Handlers only read what was published last: none samples, and none waits for the accounting. Called by
//! [`super::http`] for every request.

use super::negotiate::{self, Compression, Encoding};
use super::overview::{Overview, Readiness};
use super::page;
use super::processes::Listing;
use super::processes_query::Query;
use super::publish::{self, EncodeError, Published};
use crate::account::occupant::Detail;
use crate::web::door::Door;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

/// What the running exporter shows; it replaces the parts, requests read them.
pub struct Live {
    /// The latest snapshot.
    pub published: ArcSwap<Published>,
    /// What the page for people says.
    pub overview: ArcSwap<Overview>,
    /// What the processes API says; empty where single processes are not shown.
    pub listing: ArcSwap<Listing>,
    /// Whether the first complete sample is in.
    pub is_ready: AtomicBool,
}

impl Live {
    /// Not ready yet, with what can be shown already.
    #[must_use]
    pub fn new(published: Published, overview: Overview) -> Self {
        Self {
            published: ArcSwap::from_pointee(published),
            overview: ArcSwap::from_pointee(overview),
            listing: ArcSwap::default(),
            is_ready: AtomicBool::new(false),
        }
    }

    fn readiness(&self) -> Readiness {
        if self.is_ready.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::Starting }
    }
}

/// A request to load the rules again; the outcome, with the reason of a failure, is sent back.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// Everything a request needs.
pub struct Site {
    /// What is shown.
    pub live: Arc<Live>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// How many scrapes may run at once; `None` is no limit.
    pub scrapes: Option<Arc<Semaphore>>,
    /// Who reloads the rules.
    pub reload: mpsc::Sender<Reload>,
    /// Who may reload them.
    pub reloaders: Audience,
    /// To whom single processes are shown.
    pub onlookers: Audience,
    /// Who may ask at all.
    pub door: Arc<Door>,
}

/// For whom something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever asks.
    Everybody,
    /// Who has shown a password, or a certificate that was verified.
    Authenticated,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody.
    Anybody,
    /// Somebody who has shown a password, or a certificate that was verified.
    Authenticated,
}

impl Audience {
    fn includes(self, caller: Caller) -> bool {
        self == Self::Everybody || caller == Caller::Authenticated
    }
}

/// What is answered: all of it at once.
pub type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// How long Prometheus waits for a scrape, in seconds.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// How long a scrape may take where the scraper does not say how long it waits.
const LONGEST_SCRAPE: Duration = Duration::from_secs(60);
const PROCESSES: &str = "/api/v1/processes";

/// Answers one request.
pub async fn respond<B>(site: &Site, caller: Caller, request: &Request<B>) -> Answer {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let writes = matches!(*request.method(), Method::POST | Method::PUT);
    match request.uri().path() {
        path if path == site.telemetry_path && reads => scrape(site, request.headers()).await,
        "/" if reads => front_page(site, caller, request).await,
        "/-/healthy" if reads => text(StatusCode::OK, "wattribute is healthy\n"),
        "/-/ready" if reads => ready(site),
        PROCESSES if reads => processes(site, caller, request).await,
        "/-/reload" if writes => reload(site, caller, request.headers()).await,
        "/-/reload" => not_allowed("POST, PUT"),
        "/" | "/-/healthy" | "/-/ready" | PROCESSES => not_allowed("GET, HEAD"),
        path if path == site.telemetry_path => not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, format!("not found: the metrics are at {}\n", site.telemetry_path)),
    }
}

fn ready(site: &Site) -> Answer {
    match site.live.readiness() {
        Readiness::Ready => text(StatusCode::OK, "wattribute is ready\n"),
        Readiness::Starting => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the first complete sample is not in\n")
        }
    }
}

async fn scrape(site: &Site, headers: &HeaderMap) -> Answer {
    let Ok(permit) = permit(site) else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once: see --web.max-requests\n");
    };
    let offer = negotiate::format(&joined(headers, &header::ACCEPT));
    let compression = negotiate::compression(&joined(headers, &header::ACCEPT_ENCODING));
    let encoding = Encoding { format: offer.format, compression };
    let making = body(site.live.published.load_full(), encoding, permit);
    let Ok(made) = tokio::time::timeout(patience(headers), making).await else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the metrics could not be written in the scrape's time\n",
        );
    };
    let body = match made {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a scrape failed");
            return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
        }
    };
    let mut answer = answer(StatusCode::OK, offer.content_type, body);
    set(&mut answer, header::VARY, "Accept, Accept-Encoding");
    if compression == Compression::Gzip {
        set(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    answer
}

/// A place among those that may be served at once. It goes with the work, not with the client, who may hang up and ask
/// again.
fn permit(site: &Site) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
    site.scrapes.as_ref().map(|scrapes| Arc::clone(scrapes).try_acquire_owned()).transpose()
}

/// How long a scrape may take: a little less than the scraper waits, if it says so.
fn patience(headers: &HeaderMap) -> Duration {
    let said = headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let said = said.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    said.map_or(LONGEST_SCRAPE, |seconds| Duration::from_secs_f64(seconds.min(60.0) * 0.9))
}

/// The bytes if they are there; else they are made where the making holds up no other request.
async fn body(
    published: Arc<Published>,
    encoding: Encoding,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Bytes, EncodeError> {
    if let Some(made) = published.made(encoding) {
        return made;
    }
    let making = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        published.body(encoding)
    });
    making.await.unwrap_or(Err(EncodeError))
}

async fn processes<B>(site: &Site, caller: Caller, request: &Request<B>) -> Answer {
    if !site.onlookers.includes(caller) {
        return text(
            StatusCode::FORBIDDEN,
            "the processes API is not open to everybody: see --web.enable-processes and --web.config.file\n",
        );
    }
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let Ok(permit) = permit(site) else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once: see --web.max-requests\n");
    };
    let compression = negotiate::compression(&joined(request.headers(), &header::ACCEPT_ENCODING));
    let (listing, pid) = (site.live.listing.load_full(), query.pid);
    // Many processes take milliseconds, which are to hold up no other request.
    let making = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let made = listing.answer(&query).map_err(|error| error.to_string())?;
        let pack = |body: String| match compression {
            Compression::Identity => Ok(Bytes::from(body)),
            Compression::Gzip => publish::gzip(body.as_bytes()),
        };
        made.map(pack).transpose().map_err(|error| error.to_string())
    });
    let body = match making.await.map_err(|error| error.to_string()).and_then(|made| made) {
        Ok(Some(body)) => body,
        Ok(None) => {
            let pid = pid.unwrap_or_default();
            return text(
                StatusCode::NOT_FOUND,
                format!("pid {pid} is on no GPU now: see wattribute explain\n"),
            );
        }
        Err(error) => {
            tracing::error!(error, "the processes could not be listed");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the processes could not be listed\n");
        }
    };
    let mut answer = answer(StatusCode::OK, JSON, body);
    set(&mut answer, header::VARY, "Accept-Encoding");
    if compression == Compression::Gzip {
        set(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    answer
}

async fn reload(site: &Site, caller: Caller, headers: &HeaderMap) -> Answer {
    if !site.reloaders.includes(caller) {
        return text(
            StatusCode::FORBIDDEN,
            "reloading is not open to everybody: see --web.enable-lifecycle and --web.config.file\n",
        );
    }
    // A browser sends the password that it remembers for whatever page makes it ask.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return text(StatusCode::FORBIDDEN, "not reloaded: another site's page asked for it\n");
    }
    let (reload, outcome) = oneshot::channel();
    // Where nobody receives any more, the request is dropped, and its outcome says so.
    drop(site.reload.send(reload).await);
    match outcome.await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(why)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("not reloaded: {why}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not reloaded: the exporter is stopping\n"),
    }
}

async fn front_page<B>(site: &Site, caller: Caller, request: &Request<B>) -> Answer {
    let detail = if site.onlookers.includes(caller) { Detail::Processes } else { Detail::Teams };
    let overview = site.live.overview.load_full();
    let page = match overview.made(detail) {
        Some(made) => made,
        None => {
            let path = site.telemetry_path.clone();
            // Many teams take milliseconds, which are to hold up no other request.
            let making = tokio::task::spawn_blocking(move || overview.page(detail, &path));
            let Ok(page) = making.await else {
                return text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n");
            };
            page
        }
    };
    let takes_gzip =
        negotiate::compression(&joined(request.headers(), &header::ACCEPT_ENCODING)) == Compression::Gzip;
    let packed = page.gzip.filter(|_| takes_gzip);
    let is_packed = packed.is_some();
    let mut answer = answer(StatusCode::OK, "text/html; charset=utf-8", packed.unwrap_or(page.plain));
    set(&mut answer, header::CONTENT_SECURITY_POLICY, page::POLICY);
    set(&mut answer, header::REFERRER_POLICY, "no-referrer");
    set(&mut answer, header::VARY, "Accept-Encoding");
    if is_packed {
        set(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed: use {methods}\n"));
    set(&mut answer, header::ALLOW, methods);
    answer
}

/// An answer in plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, content_type);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// All headers of this name as one list; those that are not text are passed over.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}
