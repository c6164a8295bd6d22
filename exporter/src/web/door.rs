//! Keeps in force what the web configuration file says, and lets requests in by it.
//!
//! The file, and the certificates that it names, are read again when they change. What cannot be used is refused, as is what
//! would open a door that was closed; the last good file then stays in force. Called by [`crate::expose::http`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use wattribute::rules::Problems;
use wattribute::yaml::Report;

use super::config::{self, Config};
use super::passwords::{Checker, Finding, Users};
use super::rate::Bucket;
use super::tls::{self, Speech};
use crate::expose::routes::{self, Answer, Caller};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Open to those who only want to know whether the exporter lives: a kubelet has no password.
const HEALTH: &[&str] = &["/-/healthy", "/-/ready"];

/// What is in force.
#[derive(Debug, Default)]
pub struct Policy {
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Speech>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Users,
    bucket: Option<Mutex<Bucket>>,
}

impl Policy {
    /// Adds the headers of the file to an answer that has none of that name: the page's own policy is stricter.
    pub fn dress(&self, answer: &mut Answer) {
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        for (name, value) in &self.headers {
            answer.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }

    /// What somebody could do who cannot do it under the policy before.
    fn opens(&self, before: &Self) -> Option<&'static str> {
        let strictness = |policy: &Self| {
            let tls = policy.tls.as_ref()?;
            Some([tls.client_auth.verifies(), tls.client_auth.requires(), tls.restricts_names])
        };
        if before.tls.is_some() && self.tls.is_none() {
            return Some("TLS would end");
        }
        if !before.users.is_empty() && self.users.is_empty() {
            return Some("no password would be asked for");
        }
        let (was, is) = strictness(before).zip(strictness(self))?;
        if was.iter().zip(is).any(|(was, is)| *was && !is) {
            return Some("certificates of clients would matter less");
        }
        None
    }
}

/// Lets requests in.
pub struct Door {
    file: Option<PathBuf>,
    policy: ArcSwap<Policy>,
    checker: Checker,
    seen: Mutex<Vec<Stamp>>,
}

/// A file, and what changes when it does.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: PathBuf,
    /// Inode, size, and when content and inode changed; `None` where it cannot be found.
    state: Option<(u64, u64, [i64; 4])>,
}

impl Stamp {
    fn of(file: PathBuf) -> Self {
        let state = fs::metadata(&file).ok().map(|found| {
            let changed = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
            (found.ino(), found.size(), changed)
        });
        Self { file, state }
    }
}

impl Door {
    /// By this file; without one everybody may come in.
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each.
    pub fn new(file: Option<PathBuf>) -> Result<Self, String> {
        let (policy, seen) = match &file {
            Some(file) => load(file).map_err(|(errors, _)| errors)?,
            None => Default::default(),
        };
        Ok(Self {
            file,
            policy: ArcSwap::from_pointee(policy),
            checker: Checker::new()?,
            seen: Mutex::new(seen),
        })
    }

    /// What is in force now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Looks for changes, until it is dropped.
    pub async fn watch(self: Arc<Self>) {
        while self.file.is_some() {
            tokio::time::sleep(LOOK).await;
            let this = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                tracing::error!("the web configuration file could not be looked at");
            }
        }
    }

    /// Takes what has changed.
    pub fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.iter().all(|stamp| Stamp::of(stamp.file.clone()) == *stamp) {
            return;
        }
        match load(file) {
            Ok((policy, stamps)) => {
                *seen = stamps;
                match policy.opens(&self.policy.load()) {
                    None => {
                        self.policy.store(Arc::new(policy));
                        tracing::info!(file = %file.display(), "the web configuration was loaded again");
                    }
                    Some(what) => tracing::error!(
                        what, file = %file.display(),
                        "the web configuration was refused: the last good one stays in force; restart if this is meant"
                    ),
                }
            }
            Err((errors, stamps)) => {
                *seen = stamps;
                tracing::error!(
                    errors,
                    "the web configuration was refused: the last good one stays in force"
                );
            }
        }
    }

    /// Who asks, or the answer to one who may not.
    ///
    /// # Errors
    /// That answer.
    pub async fn admit<B>(
        &self,
        policy: &Policy,
        caller: Caller,
        request: &Request<B>,
    ) -> Result<Caller, Answer> {
        if HEALTH.contains(&request.uri().path()) {
            return Ok(caller);
        }
        if let Some(bucket) = &policy.bucket
            && !bucket.lock().unwrap_or_else(PoisonError::into_inner).admits(Instant::now())
        {
            return Err(routes::text(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n"));
        }
        if policy.users.is_empty() {
            return Ok(caller);
        }
        let Some((user, password)) = credentials(request.headers()) else { return Err(unauthorized()) };
        match self.checker.check(&policy.users, &user, &password).await {
            Finding::Right => Ok(Caller::Authenticated),
            Finding::Wrong => Err(unauthorized()),
            Finding::Busy => {
                let mut answer =
                    routes::text(StatusCode::SERVICE_UNAVAILABLE, "too many passwords at once\n");
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Err(answer)
            }
        }
    }
}

fn unauthorized() -> Answer {
    let mut answer = routes::text(StatusCode::UNAUTHORIZED, "Unauthorized\n");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    answer
}

/// The user and the password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, word) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let pair = STANDARD.decode(word).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(pair[..colon].to_vec()).ok()?, pair[colon + 1..].to_vec()))
}

/// What a file says and which files it depends on; of these a failure tells as well.
fn load(file: &Path) -> Result<(Policy, Vec<Stamp>), (String, Vec<Stamp>)> {
    let name = file.display().to_string();
    // Before reading, so that a change meanwhile is seen next time.
    let stamp = Stamp::of(file.into());
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Err((format!("{name}: {error}: see --web.config.file"), vec![stamp])),
    };
    let config = match config::read(&name, &text) {
        Ok(config) => config,
        Err(problems) => return Err((problems.to_string(), vec![stamp])),
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    let named = config.tls.as_ref().map(|tls| tls::files(tls, folder)).unwrap_or_default();
    let stamps: Vec<Stamp> = std::iter::once(stamp).chain(named.into_iter().map(Stamp::of)).collect();
    match policy(config, &name, folder) {
        Ok(policy) => Ok((policy, stamps)),
        Err(problems) => Err((problems.to_string(), stamps)),
    }
}

fn policy(config: Config, name: &str, folder: &Path) -> Result<Policy, Problems> {
    let mut problems = Vec::new();
    let mut report = Report::new(name, &mut problems);
    let Config { tls, http2, headers, users, rate } = config;
    let tls = tls.and_then(|tls| tls::speech(tls, http2, folder, &mut report));
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(Policy { tls, headers, users, bucket: rate.map(|rate| Mutex::new(Bucket::new(rate))) })
}
