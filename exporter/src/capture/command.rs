//! The command `record`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wattribute::rules::RuleSet;

use super::file::{Capture, Writer};
use super::format::{Ending, Header, VERSION};
use super::hide::Names;
use super::recorder::{Neighbours, Recorder};
use super::settings::Record;
use crate::account::Event;
use crate::clock;
use crate::reload::Signals;
use crate::settings::Machine;
use crate::source::Gpus;

/// How long the last lines may take to disk.
const FINISH: Duration = Duration::from_secs(5);

/// Records for the time asked for, or until told to stop.
pub fn record(settings: &Record) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads to record with: {error}")),
    };
    let outcome = runtime.block_on(run(settings));
    // A driver that hangs must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(text) => {
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::FAILURE
}

async fn run(settings: &Record) -> Result<String, String> {
    let mut signals = Signals::new().map_err(|error| format!("signals cannot be received: {error}"))?;
    let source = settings.source.clone();
    let machine = Machine { procfs: settings.procfs.clone(), schedulers: None };
    let opening = tokio::task::spawn_blocking(move || Gpus::open(&source, &machine));
    let gpus = tokio::select! {
        gpus = opening => gpus.map_err(|error| format!("the driver cannot be opened: {error}"))??,
        () = signals.stop() => return Err("stopped before anything was recorded".into()),
    };
    let (events, inbox) = mpsc::channel();
    let (because, ending) = mpsc::channel();
    let recorder = recorder(settings, &gpus, &events)?;
    let no_threads = |error| format!("the recorder cannot start its threads: {error}");
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let write = move || {
        // The receiver has gone when the command gave up waiting.
        let _ = ended.send(recorder.run(&inbox, &ending));
    };
    thread::Builder::new().name("record".into()).spawn(write).map_err(no_threads)?;
    let sampling = gpus.sample(settings.interval, &events).map_err(no_threads)?;
    let told = tokio::select! {
        outcome = &mut end => return finished(settings, outcome.map_err(|error| error.to_string())?),
        () = tokio::time::sleep(settings.duration) => Ending::Duration,
        () = signals.stop() => Ending::Signal,
    };
    drop(sampling);
    // The recorder has gone only after an error, which it has sent.
    let _ = because.send(told);
    let _ = events.send(Event::Stop);
    let outcome = tokio::time::timeout(FINISH, end).await;
    let outcome = outcome.map_err(|_| "the last lines could not be written: the disk hangs".to_owned())?;
    finished(settings, outcome.map_err(|error| error.to_string())?)
}

/// The recorder, and the beginning of its capture on disk.
fn recorder(settings: &Record, gpus: &Gpus, events: &mpsc::Sender<Event>) -> Result<Recorder, String> {
    let mut names = if settings.keep_names { Names::Real } else { Names::hidden() };
    let began = clock::now();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let header = Header {
        capture_version: VERSION,
        recorded_by: env!("CARGO_PKG_VERSION").into(),
        source: gpus.name().into(),
        names: names.are(),
        host: names.host(&host),
        interval_us: u64::try_from(settings.interval.as_micros()).unwrap_or(u64::MAX),
        unix_us: began.unix.0,
        boot_us: began.boot.0,
        ticks_per_second: rustix::param::clock_ticks_per_second(),
    };
    let writer = Writer::create(&settings.out, &header)?;
    let identify = gpus.identify(events.clone()).map_err(|error| format!("/proc cannot be read: {error}"))?;
    identify.want(&RuleSet::default(), 0);
    let neighbours = Neighbours { identify, key_of: gpus.keys() };
    Ok(Recorder::new(writer, names, began, neighbours))
}

/// What there is to say in the end.
fn finished(settings: &Record, outcome: Result<(Ending, u64), String>) -> Result<String, String> {
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}", settings.out.display());
    let (ending, samples) = outcome.map_err(|error| say(&format!("{error}: make room on the disk")))?;
    let capture = Capture::open(&settings.out)?;
    let why = match ending {
        Ending::Duration => "",
        Ending::Signal => ", stopped by a signal",
        Ending::Size => ", stopped at the largest size of a capture",
    };
    let names =
        if settings.keep_names { "real names: mind whom you give it" } else { "names are pseudonyms" };
    let (gpus, seconds) = (capture.gpus, capture.lasts.as_secs_f64());
    Ok(say(&format!(
        "{samples} samples of {gpus} gpus in {seconds:.1} s{why}; {names}; replay it with --source {}",
        Path::new(&settings.out).display()
    )))
}
