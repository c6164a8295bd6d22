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
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot};

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
    pub scrapes: Option<Semaphore>,
    /// Who reloads the rules; `None` where reloading over HTTP is off.
    pub reload: Option<mpsc::Sender<Reload>>,
    /// Whether single processes are shown to whoever asks.
    pub detail: Detail,
}

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROCESSES: &str = "/api/v1/processes";

/// Answers one request.
pub async fn respond<B>(site: &Site, request: &Request<B>) -> Answer {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let writes = matches!(*request.method(), Method::POST | Method::PUT);
    match request.uri().path() {
        path if path == site.telemetry_path && reads => scrape(site, request.headers()).await,
        "/" if reads => front_page(site, request).await,
        "/-/healthy" if reads => text(StatusCode::OK, "wattribute is healthy\n"),
        "/-/ready" if reads => ready(site),
        PROCESSES if reads => processes(site, request).await,
        "/-/reload" if writes => reload(site).await,
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
    let Ok(_permit) = site.scrapes.as_ref().map(Semaphore::try_acquire).transpose() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once: see --web.max-requests\n");
    };
    let offer = negotiate::format(&joined(headers, &header::ACCEPT));
    let compression = negotiate::compression(&joined(headers, &header::ACCEPT_ENCODING));
    let encoding = Encoding { format: offer.format, compression };
    let body = match body(site.live.published.load_full(), encoding).await {
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

/// The bytes if they are there; else they are made where the making holds up no other request.
async fn body(published: Arc<Published>, encoding: Encoding) -> Result<Bytes, EncodeError> {
    if let Some(made) = published.made(encoding) {
        return made;
    }
    let making = tokio::task::spawn_blocking(move || published.body(encoding));
    making.await.unwrap_or(Err(EncodeError))
}

/// Whether a request may see single processes: everybody if the flag says so. Who has shown a password or a certificate
/// may too, once there are such.
fn may_see_processes<B>(site: &Site, _request: &Request<B>) -> bool {
    site.detail == Detail::Processes
}

async fn processes<B>(site: &Site, request: &Request<B>) -> Answer {
    if !may_see_processes(site, request) {
        return text(StatusCode::FORBIDDEN, "the processes API is not enabled: see --web.enable-processes\n");
    }
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let Ok(_permit) = site.scrapes.as_ref().map(Semaphore::try_acquire).transpose() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once: see --web.max-requests\n");
    };
    let compression = negotiate::compression(&joined(request.headers(), &header::ACCEPT_ENCODING));
    let (listing, pid) = (site.live.listing.load_full(), query.pid);
    // Many processes take milliseconds, which are to hold up no other request.
    let making = tokio::task::spawn_blocking(move || {
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

async fn reload(site: &Site) -> Answer {
    let Some(reloader) = &site.reload else {
        return text(StatusCode::FORBIDDEN, "reloading over HTTP is off: see --web.enable-lifecycle\n");
    };
    let (reload, outcome) = oneshot::channel();
    // Where nobody receives any more, the request is dropped, and its outcome says so.
    drop(reloader.send(reload).await);
    match outcome.await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(why)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("not reloaded: {why}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not reloaded: the exporter is stopping\n"),
    }
}

async fn front_page<B>(site: &Site, request: &Request<B>) -> Answer {
    let detail = if may_see_processes(site, request) { Detail::Processes } else { Detail::Teams };
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

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
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
