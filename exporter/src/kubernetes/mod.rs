//! Kubernetes' word on processes and GPUs: namespace, pod, container and labels of processes in pods, and which
//! containers were given which GPUs. A stage between identify and account, behind the cargo feature `kubernetes`.
//!
//! Facts of a process in a pod are passed on at once, with these fields pending until the API server has told of the
//! pod, and again when they change. What the kubelet says becomes allocations. A kubelet or API server that is slow,
//! away or broken delays verdicts and changes none: events pass through on the thread of the stage before; only the
//! thread `kubernetes` ever waits for anybody.
//! Not done here: finding the pod of a process (its control group, in the library), and what follows for the books.
//! Callers: `source`, for processes of this machine; `doctor` asks the kubelet and the API server once.

pub mod api;
mod desk;
pub mod devices;
pub mod kubelet;
pub mod podresources;
pub mod pods;
mod protobuf;
#[cfg(test)]
mod tests;
pub mod watch;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use api::{Failure, Memory, Server};
use desk::{Access, Desk, FIELDS, Told};
use kubelet::Holding;
use tokio::sync::oneshot;
use watch::{Change, What};
use wattribute::facts::ProcessKey;
use wattribute::rules::RuleSet;

use crate::identify::{Event, Watch};
use crate::settings;
use crate::slurm::Ears;

/// How often the kubelet is asked.
const PACE: Duration = Duration::from_secs(3);
/// How long to wait after the first failure, and how long at most.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// How many failures in a row a version of the list is given: a server that was restored from a backup never comes to it.
const ENOUGH: u32 = 5;
/// For failures that no process has.
const NOBODY: ProcessKey = ProcessKey { pid: 0, start: 0 };

/// The stage, running. Dropping it stops the thread, without waiting for an answer.
pub struct Kubernetes<W> {
    /// The stage before.
    before: W,
    office: Arc<Office>,
    /// Why the API server cannot be asked, if it cannot.
    closed: Option<String>,
    /// Closed when the stage is to stop.
    _stop: oneshot::Sender<()>,
}

/// What the threads share.
struct Office {
    desk: Mutex<Desk>,
    ears: Ears,
}

/// Starts the stage behind the one that `begin` starts and gives what takes its events.
///
/// # Errors
/// Where `begin` fails, or the kernel gives no thread.
pub fn spawn<W>(
    settings: &settings::Kubernetes,
    procfs: &Path,
    ears: Ears,
    begin: impl FnOnce(Box<dyn Fn(Event) -> bool + Send + Sync>) -> io::Result<W>,
) -> io::Result<Kubernetes<W>> {
    let (server, closed) = match Server::find(settings) {
        Ok(Some(server)) => (Some(server), None),
        Ok(None) => (None, Some("this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set)".into())),
        Err(what) => (None, Some(what)),
    };
    let access = if server.is_some() { Access::Api } else { Access::None };
    let office = Arc::new(Office { desk: Mutex::new(Desk::new(access)), ears });
    let front = Arc::clone(&office);
    let before = begin(Box::new(move |event| front.pass(event)))?;
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let place = Place { socket: settings.pod_resources_socket.clone(), procfs: procfs.to_owned() };
    let own = Arc::clone(&office);
    let work = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                () = own.ask_kubelet(&place) => {}
                () = own.follow_pods(server) => {}
            }
        });
    };
    thread::Builder::new().name("kubernetes".into()).spawn(work)?;
    Ok(Kubernetes { before, office, closed, _stop: stop })
}

/// Where the kubelet listens, and where the driver tells of its GPUs.
struct Place {
    socket: PathBuf,
    procfs: PathBuf,
}

/// Whether these rules name a field that only the API server knows.
pub fn is_wanted(rules: &RuleSet) -> bool {
    FIELDS.iter().any(|field| rules.wants(field)) || rules.wanted_pod_labels().next().is_some()
}

impl<W: Watch> Watch for Kubernetes<W> {
    fn watch(&self, process: ProcessKey) {
        self.office.desk().watch(process);
        self.before.watch(process);
    }

    fn forget(&self, process: ProcessKey) {
        self.before.forget(process);
        self.office.desk().forget(process, Instant::now());
    }

    fn want(&self, rules: &RuleSet, generation: u64) {
        if let Some(why) = self.closed.as_ref().filter(|_| is_wanted(rules)) {
            tracing::warn!(
                why,
                "rules name namespaces, pods, containers or their labels, but Kubernetes cannot be asked: \
                 of processes they stay empty"
            );
        }
        self.office.decide(|desk| desk.want(rules, generation));
        self.before.want(rules, generation);
    }
}

impl Office {
    /// Nothing that is done under the lock blocks.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an event on. It is told under the lock, so that all are told in the order in which they were decided.
    fn pass(&self, event: Event) -> bool {
        let mut desk = self.desk();
        (self.ears.tell)(desk.hear(event, Instant::now()))
    }

    /// Tells what is decided. Where nobody listens any more the stage is about to be dropped.
    fn decide(&self, decide: impl FnOnce(&mut Desk) -> Vec<Told>) {
        let mut desk = self.desk();
        for told in decide(&mut desk) {
            match told {
                Told::Event(event) => (self.ears.tell)(event),
                Told::Allocations(allocations) => (self.ears.hold)(allocations),
            };
        }
    }

    fn miss(&self, part: &'static str) {
        (self.ears.tell)(Event::Missing { process: NOBODY, part });
    }

    /// Asks the kubelet again and again. While it does not answer, what it said last stands: a kubelet that is
    /// restarted stops no pod.
    async fn ask_kubelet(&self, place: &Place) {
        let (mut failures, mut was_there, mut known) = (0, false, Vec::new());
        loop {
            let answer = kubelet::ask(&place.socket, &place.procfs).await;
            let pause = match answer {
                Ok(holdings) => {
                    if failures > 0 || !was_there {
                        tracing::info!(socket = %place.socket.display(), "the kubelet answers");
                    }
                    (failures, was_there) = (0, true);
                    self.name_unsure(&holdings, &mut known);
                    self.decide(|desk| desk.hold(holdings, Instant::now()));
                    PACE
                }
                // To look for a socket costs nothing, and a kubelet may start any moment.
                Err(kubelet::Failure::Absent) if !was_there => PACE,
                Err(failure) => {
                    was_there = true;
                    if failures == 0 {
                        tracing::warn!(socket = %place.socket.display(), %failure, "the kubelet does not answer: what it said last of GPUs stands");
                    }
                    self.miss(failure.reason().unwrap_or("kubelet_unreachable"));
                    failures += 1;
                    back_off(failures)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Counts and logs the devices that cannot be mapped, each once while it is held.
    fn name_unsure(&self, holdings: &[Holding], known: &mut Vec<String>) {
        let mut now = Vec::new();
        for holding in holdings {
            let Holding { namespace, pod, container, .. } = holding;
            let names = holding.unsure.iter().map(|device| format!("{namespace}/{pod}/{container} {device}"));
            now.extend(names);
        }
        for name in now.iter().filter(|name| !known.contains(name)) {
            tracing::warn!(
                name,
                "a device of a pod is not named by its UUID, and nobody can be sure which GPU it is: see \
                 deviceIDStrategy of the device plugin"
            );
            self.miss("kubelet_unknown_device");
        }
        *known = now;
    }

    /// Follows the pods of this node for ever: a list, then what changes, over as many streams as it takes.
    async fn follow_pods(&self, server: Option<Server>) {
        let Some(server) = server else { return std::future::pending().await };
        let mut standing = Standing { from: Memory::Server, version: None, failures: 0 };
        loop {
            let begin = Instant::now();
            match self.list_and_follow(&server, &mut standing).await {
                // A stream ends by itself after minutes; one that ends at once is not asked for at once.
                Ok(()) => tokio::time::sleep(back_off(1).saturating_sub(begin.elapsed())).await,
                Err(failure) => {
                    self.note(&failure, standing.failures);
                    standing.fail(&failure);
                    tokio::time::sleep(back_off(standing.failures)).await;
                }
            }
        }
    }

    fn note(&self, failure: &Failure, failures: u32) {
        let Some(reason) = failure.reason() else { return };
        if failures == 0 {
            tracing::warn!(%failure, "the Kubernetes API server does not tell of pods: verdicts that need them wait");
        }
        self.miss(reason);
    }

    /// Lists the pods where no version is known, then follows one stream of what changes to its end.
    async fn list_and_follow(&self, server: &Server, standing: &mut Standing) -> Result<(), Failure> {
        if standing.version.is_none() {
            let list = server.list(standing.from).await?;
            tracing::info!(pods = list.items.len(), "the Kubernetes API server tells of pods");
            let pods = list.items.into_iter().map(pods::Pod::from).collect();
            self.decide(|desk| desk.list(pods, Instant::now()));
            standing.version = Some(list.metadata.resource_version);
        }
        let mut changes = server.watch(standing.version.as_deref().unwrap_or_default()).await?;
        standing.failures = 0;
        while let Some(Change { version, what }) = changes.next().await? {
            standing.version = Some(version);
            match what {
                What::Put(pod) => self.decide(|desk| desk.put(pod, Instant::now())),
                What::Deleted(pod) => self.decide(|desk| desk.delete(&pod.uid, Instant::now())),
                What::Nothing => {}
            }
        }
        Ok(())
    }
}

/// How far we are with the API server.
struct Standing {
    from: Memory,
    /// Of the pods that are known; `None`: none are, or they must be listed again.
    version: Option<String>,
    /// In a row.
    failures: u32,
}

impl Standing {
    /// One more failure. Where the version is gone, or seems never to be served, the pods are listed anew.
    fn fail(&mut self, failure: &Failure) {
        self.failures = self.failures.saturating_add(1);
        let is_lost = matches!(failure, Failure::Gone | Failure::Malformed(_));
        if is_lost || self.failures.is_multiple_of(ENOUGH) {
            (self.from, self.version) = (Memory::Store, None);
        }
    }
}

/// The wait after this many failures in a row: doubled with each, and less a part by chance, so that the nodes of a
/// cluster do not come all at once.
fn back_off(failures: u32) -> Duration {
    let [first, longest] = BACK_OFF;
    let whole = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let chance = u32::try_from(RandomState::new().hash_one(0) % 512).unwrap_or_default();
    whole - whole / 1024 * chance
}
