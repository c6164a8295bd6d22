//! Runs the exporter: the one file that sees all five stages, and joins them.
//!
//! sample ▸ identify ▸ attribute ▸ account ▸ expose. The stages are threads that speak by channels; what may block
//! (the driver, /proc, the disk, a client) blocks its own thread only.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use listenfd::ListenFd;
use tokio::sync::Semaphore;
use wattribute::rules::{RuleSet, Source};

use crate::account::occupant::Detail;
use crate::account::{Accountant, Config, Event, Inheritance, Neighbours};
use crate::expose::http::Server;
use crate::expose::routes::{Audience, Live, Site};
use crate::publish::{self, Durable, Outbox};
use crate::reload::{Reloader, Signals, Standing};
use crate::settings::{Listen, Serve};
use crate::showcase::{Frame, Showcase};
use crate::source::Gpus;
use crate::state::format::{self, State};
use crate::state::{OpenError, StateDir};
use crate::web::door::Door;
use crate::{clock, demo, rules_file, state};

/// How long requests in progress may take when the exporter stops.
const GRACE: Duration = Duration::from_millis(500);
/// How long the last books may take to disk when the exporter stops.
const FINISH: Duration = Duration::from_secs(1);

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting; nothing is left half-started.
pub fn run(settings: &Serve) -> Result<(), String> {
    // Before there are other threads: it takes variables out of the environment.
    let sockets = ListenFd::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("no threads for HTTP: {error}"))?;
    let outcome = runtime.block_on(serve(settings, sockets));
    // A driver that hangs, or a disk, must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: &Serve, sockets: ListenFd) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| format!("signals cannot be received: {error}"))?;
    let mut problems = Problems::default();
    let rules = problems.without(load_rules(settings));
    let door = problems.without(Door::new(settings.web.config_file.clone()).map(Arc::new));
    let (source, machine) = (settings.source.clone(), settings.machine.clone());
    let opening = tokio::task::spawn_blocking(move || Gpus::open(&source, &machine));
    let gpus = tokio::select! {
        gpus = opening => {
            let gpus = gpus.map_err(|error| format!("the driver cannot be opened: {error}"));
            problems.without(gpus.and_then(|gpus| gpus))
        }
        // The driver may hang.
        () = signals.stop() => return Ok(()),
    };
    problems.without(Past::look(settings));
    let server = problems.without(listen(settings, sockets).await);
    let (Some(rules), Some(door), Some(gpus), Some(server), None) =
        (rules, door, gpus, server, problems.said())
    else {
        return Err(problems.said().unwrap_or_default());
    };
    let past = Past::open(settings)?;
    greet((&server, &door), &gpus, &rules);

    let (events, inbox) = mpsc::channel();
    let standing = Arc::new(Mutex::new(Standing::in_force(&rules)));
    let interval = gpus.interval(settings.sample_interval);
    let frame =
        Frame { source: gpus.name(), detail: detail(settings), interval, delay: delay(settings, interval) };
    let showcase = Showcase::new(frame, Arc::clone(&standing));
    let live = showcase.live();
    let beginning = Beginning { past, rules, showcase, events: events.clone(), inbox };
    let books = start(settings, &gpus, beginning);
    let books = books.map_err(|error| format!("the exporter cannot start its threads: {error}"))?;
    let sampling = gpus.sample(settings.sample_interval, &events);
    let sampling = sampling.map_err(|error| format!("the exporter cannot start its threads: {error}"))?;

    let (reload, requests) = tokio::sync::mpsc::channel(1);
    let turn = Arc::default();
    let reloader = Reloader { paths: settings.rules_files.clone(), standing, events: events.clone(), turn };
    let stop = signals.until_stop(requests, reloader, sampling.orders());
    server.serve(Arc::new(site(settings, (live, door), reload)), stop, GRACE).await;

    drop(sampling);
    let end = tokio::task::spawn_blocking(move || books.finish(&events));
    match tokio::time::timeout(FINISH, end).await {
        Ok(_) => tracing::info!("wattribute stopped"),
        Err(_) => tracing::error!("wattribute stopped before its last books were written"),
    }
    Ok(())
}

/// The sockets that requests come by.
async fn listen(settings: &Serve, sockets: ListenFd) -> Result<Server, String> {
    match &settings.web.listen {
        Listen::Addresses(addresses) => Server::bind(addresses).await.map_err(|error| error.to_string()),
        Listen::Systemd => Server::activated(sockets),
    }
}

/// Everything that keeps it from starting, so that all is said at once.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// What is there without a problem; else the problem is kept.
    fn without<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|problem| self.0.push(problem)).ok()
    }

    fn said(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("\n"))
    }
}

fn site(
    settings: &Serve,
    (live, door): (Arc<Live>, Arc<Door>),
    reload: tokio::sync::mpsc::Sender<crate::expose::routes::Reload>,
) -> Site {
    Site {
        live,
        telemetry_path: settings.web.telemetry_path.clone(),
        scrapes: settings.web.max_requests.map(|limit| Arc::new(Semaphore::new(limit))),
        reload,
        reloaders: settings.web.reloaders,
        onlookers: settings.web.onlookers,
        door,
    }
}

/// Whether single processes are kept for those who may see them.
fn detail(settings: &Serve) -> Detail {
    let everybody = settings.web.onlookers == Audience::Everybody;
    if everybody || settings.web.config_file.is_some() { Detail::Processes } else { Detail::Teams }
}

/// How far the counters are behind.
fn delay(settings: &Serve, interval: Duration) -> Duration {
    settings.exposition_delay.max(interval * 2)
}

/// The rules files that were given; else, for the demo, its own.
fn load_rules(settings: &Serve) -> Result<Arc<RuleSet>, String> {
    let is_demo = settings.source == crate::settings::Source::Demo;
    if !is_demo || !settings.rules_files.is_empty() {
        return rules_file::load(&settings.rules_files).map(Arc::new);
    }
    let source = Source { name: "demo.yaml".into(), text: demo::RULES.into() };
    let no_tables = &mut |_: &str, _: &str| Err("the demo's rules have no files".into());
    RuleSet::load(&[source], no_tables).map(Arc::new).map_err(|problems| problems.to_string())
}

fn greet((server, door): (&Server, &Door), gpus: &Gpus, rules: &RuleSet) {
    let scheme = if door.policy().tls.is_some() { "https" } else { "http" };
    let addresses: Vec<String> =
        server.addresses().iter().map(|address| format!("{scheme}://{address}")).collect();
    let (source, version) = (gpus.name(), env!("CARGO_PKG_VERSION"));
    let (gpus, rules, addresses) = (gpus.count(), rules.rule_count(), addresses.join(" "));
    tracing::info!(addresses, source, gpus, rules, version, "wattribute serves");
    match source {
        "nvml" => {}
        "demo" => tracing::warn!("the data are simulated: this energy is nobody's"),
        _ => tracing::warn!("the data are replayed: this energy was accounted when it was drawn, if ever"),
    }
}

/// The state directory, and what an earlier run left in it.
struct Past {
    durable: Option<Durable>,
    state: Option<State>,
    boot_id: String,
}

impl Past {
    /// Whether the directory can be opened. Nothing is made yet: the start may still fail.
    fn look(settings: &Serve) -> Result<(), String> {
        let Some(folder) = &settings.state_dir else { return Ok(()) };
        let looked = match state::look(folder) {
            Ok(state::Standing::Taken) => Err(OpenError::Taken),
            Ok(_) => Ok(()),
            Err(error) => Err(OpenError::Io(error)),
        };
        looked.map_err(|error| no_state(folder, &error))
    }

    fn open(settings: &Serve) -> Result<Self, String> {
        let Some(folder) = &settings.state_dir else {
            return Ok(Self { durable: None, state: None, boot_id: String::new() });
        };
        let say = |what: &dyn std::fmt::Display| format!("--state.dir {}: {what}", folder.display());
        let folder = StateDir::open(folder).map_err(|error| no_state(folder, &error))?;
        let boot_id = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(boot_id).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %boot_id.display(), "the boot is not known");
            String::new()
        });
        let text = folder.read().map_err(|error| say(&format!("the state in it cannot be read: {error}")))?;
        let state = match text.as_deref().map(format::read) {
            None => None,
            Some(Ok(state)) => Some(state),
            Some(Err(what)) => {
                let aside =
                    folder.set_aside().map_err(|error| say(&format!("{what}; {error}: remove it")))?;
                tracing::error!(what, aside = %aside.display(), "the state cannot be used: accounting begins at zero");
                None
            }
        };
        let durable = Some(Durable { folder, boot_id: boot_id.clone() });
        Ok(Self { durable, state, boot_id })
    }
}

fn no_state(folder: &Path, error: &OpenError) -> String {
    let what = match error {
        OpenError::Taken => "another wattribute uses it: give each its own".into(),
        OpenError::Io(error) => format!("{error}: choose a folder that wattribute may write to"),
    };
    format!("--state.dir {}: {what}", folder.display())
}

/// The stages behind the samples, running.
struct Books {
    accountant: JoinHandle<()>,
    publisher: JoinHandle<()>,
    outbox: Outbox,
}

impl Books {
    /// Lets the accountant write its last books, and the publisher bring them to disk.
    fn finish(self, events: &Sender<Event>) {
        // Each has gone already if the channel is closed or the thread has ended.
        let _ = events.send(Event::Stop);
        let _ = self.accountant.join();
        self.outbox.close();
        let _ = self.publisher.join();
    }
}

/// What the stages behind the samples begin with.
struct Beginning {
    past: Past,
    rules: Arc<RuleSet>,
    showcase: Showcase,
    events: Sender<Event>,
    inbox: Receiver<Event>,
}

/// Starts the stages behind the samples.
fn start(settings: &Serve, gpus: &Gpus, beginning: Beginning) -> io::Result<Books> {
    let Beginning { past, rules, mut showcase, events, inbox } = beginning;
    let outbox = Outbox::default();
    let show = move |snapshot, failed| showcase.show(snapshot, failed);
    let publisher = publish::spawn(outbox.clone(), past.durable, show)?;
    let put = outbox.clone();
    let neighbours = Neighbours {
        identify: gpus.identify(events)?,
        key_of: gpus.keys(),
        publish: Box::new(move |snapshot| put.put(snapshot)),
    };
    let interval = gpus.interval(settings.sample_interval);
    let config = Config {
        begins: clock::monotonic(),
        interval,
        delay: delay(settings, interval),
        host: gpus.host(),
        schedulers: gpus.schedulers(),
        process_series: settings.processes_max_series,
        workload_series: settings.workloads_max_series,
        detail: detail(settings),
    };
    let (state, boot_id) = (past.state, past.boot_id);
    let run = move || {
        let accountant = Accountant::new(config, neighbours, rules, |enter| {
            state.map_or_else(Inheritance::default, |state| {
                state.inherit((&boot_id, clock::monotonic()), enter)
            })
        });
        accountant.run(&inbox);
    };
    let accountant = thread::Builder::new().name("account".into()).spawn(run)?;
    Ok(Books { accountant, publisher, outbox })
}
