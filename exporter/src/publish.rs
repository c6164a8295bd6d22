//! Brings each snapshot to disk, and only then to where scrapes find it.
//!
//! Two threads: one saves, the other shows. While a disk is slow or hangs, what is shown is live readings over the last
//! books that are on disk; snapshots that came meanwhile are skipped but for the newest. Called by `serve`.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::account::snapshot::Snapshot;
use crate::state::{StateDir, format};

/// What the showing thread has been brought and has not taken yet.
#[derive(Default)]
struct Slot {
    snapshot: Option<Snapshot>,
    saved: Option<io::Result<()>>,
    closed: bool,
}

/// Where the account stage leaves its snapshots.
#[derive(Clone, Default)]
pub struct Outbox(Arc<(Mutex<Slot>, Condvar)>);

/// What comes next out of the box.
enum Next {
    Snapshot(Box<Snapshot>),
    Saved(io::Result<()>),
    End,
}

impl Outbox {
    /// Leaves a snapshot, in place of one that nobody has taken.
    pub fn put(&self, snapshot: Snapshot) {
        self.slot().snapshot = Some(snapshot);
        self.0.1.notify_one();
    }

    /// There will be no more.
    pub fn close(&self) {
        self.slot().closed = true;
        self.0.1.notify_one();
    }

    fn saved(&self, outcome: io::Result<()>) {
        self.slot().saved = Some(outcome);
        self.0.1.notify_one();
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes next; the end only when nothing is being saved any more.
    fn next(&self, saving: &Saving) -> Next {
        let mut slot = self.slot();
        loop {
            if let Some(outcome) = slot.saved.take() {
                return Next::Saved(outcome);
            }
            if let Some(snapshot) = slot.snapshot.take() {
                return Next::Snapshot(Box::new(snapshot));
            }
            if slot.closed && matches!(saving, Saving::Nothing) {
                return Next::End;
            }
            slot = self.0.1.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What is on its way to disk, and what shall go next.
enum Saving {
    Nothing,
    One { now: Arc<Snapshot>, then: Option<Arc<Snapshot>> },
}

/// Where the state goes, and which boot it speaks of.
pub struct Durable {
    pub folder: StateDir,
    pub boot_id: String,
}

impl Durable {
    fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        self.folder.write(|file| Ok(format::write(snapshot, &self.boot_id, file)?))
    }
}

/// Starts the threads. `show` is given each snapshot after it is on disk, with whether that failed; without a state
/// directory that is `None`.
///
/// # Errors
/// If a thread cannot be started.
pub fn spawn(
    outbox: Outbox,
    durable: Option<Durable>,
    show: impl FnMut(Arc<Snapshot>, Option<bool>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let saver = match durable {
        Some(durable) => Some(spawn_saver(outbox.clone(), move |snapshot| durable.save(snapshot))?),
        None => None,
    };
    spawn_shower(outbox, saver, show)
}

/// The thread that saves what it is sent, and says in the box how that went.
fn spawn_saver(
    outbox: Outbox,
    save: impl Fn(&Snapshot) -> io::Result<()> + Send + 'static,
) -> io::Result<Sender<Arc<Snapshot>>> {
    let (sender, snapshots) = mpsc::channel::<Arc<Snapshot>>();
    let run = move || snapshots.iter().for_each(|snapshot| outbox.saved(save(&snapshot)));
    thread::Builder::new().name("save".into()).spawn(run)?;
    Ok(sender)
}

fn spawn_shower(
    outbox: Outbox,
    saver: Option<Sender<Arc<Snapshot>>>,
    show: impl FnMut(Arc<Snapshot>, Option<bool>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut shower = Shower { saver, show, saving: Saving::Nothing, durable: None, failing: false };
    let run = move || loop {
        match outbox.next(&shower.saving) {
            Next::Snapshot(snapshot) => shower.take(*snapshot),
            Next::Saved(outcome) => shower.saved(&outcome),
            Next::End => return,
        }
    };
    thread::Builder::new().name("publish".into()).spawn(run)
}

/// Decides what is shown when.
struct Shower<S> {
    saver: Option<Sender<Arc<Snapshot>>>,
    show: S,
    saving: Saving,
    /// The last snapshot whose books may be seen, if there is one yet.
    durable: Option<Arc<Snapshot>>,
    failing: bool,
}

impl<S: FnMut(Arc<Snapshot>, Option<bool>)> Shower<S> {
    fn take(&mut self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let Some(saver) = &self.saver else { return (self.show)(snapshot, None) };
        match &mut self.saving {
            Saving::Nothing => {
                // It listens as long as this thread holds the sender.
                let _ = saver.send(Arc::clone(&snapshot));
                self.saving = Saving::One { now: snapshot, then: None };
            }
            Saving::One { then, .. } => {
                let live = self.durable.as_ref().map(|durable| snapshot.with_books_of(durable));
                *then = Some(snapshot);
                live.into_iter().for_each(|live| (self.show)(Arc::new(live), Some(self.failing)));
            }
        }
    }

    fn saved(&mut self, outcome: &io::Result<()>) {
        self.report(outcome);
        if let Saving::One { now, then } = std::mem::replace(&mut self.saving, Saving::Nothing) {
            self.durable = Some(Arc::clone(&now));
            (self.show)(now, Some(self.failing));
            if let (Some(next), Some(saver)) = (then, &self.saver) {
                let _ = saver.send(Arc::clone(&next));
                self.saving = Saving::One { now: next, then: None };
            }
        }
    }

    /// Says it once when writing begins to fail, and once when it works again.
    fn report(&mut self, outcome: &io::Result<()>) {
        match outcome {
            Err(error) if !self.failing => tracing::error!(
                %error,
                "the state cannot be written: accounting goes on, but a restart would begin at zero; make room, or let \
                 this user write there"
            ),
            Ok(()) if self.failing => tracing::info!("the state is written again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;
    use std::time::Duration;

    use super::*;

    /// A snapshot with so much in its book, and as many failures in its live part.
    fn snapshot(energy: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.visible.ledger.gpu(&"GPU-0".into()).energy.0 = energy;
        snapshot.failures.insert("live", energy);
        snapshot
    }

    /// What is shown: the book, the live part, and whether saving fails.
    type Shown = (u64, u64, Option<bool>);

    fn start(
        save: Option<impl Fn(&Snapshot) -> io::Result<()> + Send + 'static>,
    ) -> (Outbox, Receiver<Shown>) {
        let outbox = Outbox::default();
        let (sender, shown) = mpsc::channel();
        let saver = save.map(|save| spawn_saver(outbox.clone(), save).expect("a thread"));
        let show = move |snapshot: Arc<Snapshot>, failed| {
            let book = snapshot.visible.ledger.gpus().map(|(_, account)| account.energy.0).sum();
            sender.send((book, snapshot.failures["live"], failed)).expect("somebody looks");
        };
        spawn_shower(outbox.clone(), saver, show).expect("a thread");
        (outbox, shown)
    }

    fn next(shown: &Receiver<Shown>) -> Shown {
        shown.recv_timeout(Duration::from_secs(60)).expect("something is shown")
    }

    #[test]
    fn without_a_state_directory_it_is_shown_at_once() {
        let (outbox, shown) = start(None::<fn(&Snapshot) -> io::Result<()>>);
        outbox.put(snapshot(7));
        assert_eq!(next(&shown), (7, 7, None));
    }

    #[test]
    fn while_the_disk_hangs_readings_are_live_and_books_those_on_disk() {
        let (release, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (outbox, shown) =
            start(Some(move |_: &Snapshot| wait.lock().expect("a lock").recv().map_err(io::Error::other)));
        release.send(()).expect("it waits");
        outbox.put(snapshot(1));
        assert_eq!(next(&shown), (1, 1, Some(false)));
        outbox.put(snapshot(2));
        assert!(shown.recv_timeout(Duration::from_millis(50)).is_err(), "shown before it was on disk");
        outbox.put(snapshot(3));
        assert_eq!(next(&shown), (1, 3, Some(false)));
        release.send(()).expect("it waits");
        assert_eq!(next(&shown), (2, 2, Some(false)));
        release.send(()).expect("it waits");
        assert_eq!(next(&shown), (3, 3, Some(false)));
    }

    #[test]
    fn a_disk_that_fails_is_said_and_holds_up_nothing() {
        let (outbox, shown) = start(Some(|_: &Snapshot| Err(io::Error::other("full"))));
        outbox.put(snapshot(1));
        assert_eq!(next(&shown), (1, 1, Some(true)));
    }

    #[test]
    fn what_was_put_before_the_end_is_saved_and_shown() {
        let (outbox, shown) = start(Some(|_: &Snapshot| Ok(())));
        outbox.put(snapshot(9));
        outbox.close();
        assert_eq!(next(&shown), (9, 9, Some(false)));
        assert!(shown.recv_timeout(Duration::from_secs(5)).is_err(), "the thread ends");
    }
}
