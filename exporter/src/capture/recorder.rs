//! The recorder: writes down what the sampling threads and the identify stage say, as they say it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use wattribute::facts::ProcessKey;

use super::file::{WriteError, Writer};
use super::format::{CallLine, Ending, Entry, GpuLine, Key, RunningLine, SampleLine, What};
use super::hide::Names;
use super::mig::MigLine;
use crate::account::Event;
use crate::clock::{self, Now};
use crate::identify::{self, Watch};
use crate::sample::{self, Running};

/// Whom the recorder asks.
pub struct Neighbours {
    /// Reads facts and notices ends.
    pub identify: Box<dyn Watch>,
    /// The start time of a process that comes into sight.
    pub key_of: Box<dyn Fn(u32) -> Option<ProcessKey> + Send>,
}

/// Writes a capture.
pub struct Recorder {
    writer: Writer,
    names: Names,
    began: Now,
    neighbours: Neighbours,
    living: BTreeMap<u32, ProcessKey>,
    /// The driver may list a process for a while after its end.
    ended: BTreeSet<ProcessKey>,
    samples: u64,
}

impl Recorder {
    /// Of a capture that began then.
    pub fn new(writer: Writer, names: Names, began: Now, neighbours: Neighbours) -> Self {
        let (living, ended) = (BTreeMap::new(), BTreeSet::new());
        Self { writer, names, began, neighbours, living, ended, samples: 0 }
    }

    /// Writes until told to stop; says why it ended, and how many samples there are.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn run(
        mut self,
        events: &Receiver<Event>,
        because: &Receiver<Ending>,
    ) -> Result<(Ending, u64), String> {
        let mut ending = Ending::Signal;
        while let Ok(event) = events.recv() {
            if matches!(event, Event::Stop) {
                ending = because.try_recv().unwrap_or(Ending::Signal);
                break;
            }
            match self.hear(event, clock::now()) {
                Ok(()) => {}
                Err(WriteError::Full) => {
                    ending = Ending::Size;
                    break;
                }
                Err(WriteError::Io(error)) => return Err(error.to_string()),
            }
        }
        match self.put(clock::now(), What::End { because: ending }) {
            Ok(()) | Err(WriteError::Full) => Ok((ending, self.samples)),
            Err(WriteError::Io(error)) => Err(error.to_string()),
        }
    }

    /// Writes down one event.
    pub(super) fn hear(&mut self, event: Event, now: Now) -> Result<(), WriteError> {
        let what = match event {
            Event::Source(sample::Event::Opened(card)) => {
                What::Gpu(GpuLine::of(&card, self.names.uuid(&card.uuid)))
            }
            Event::Source(sample::Event::DriverRestarted) => What::DriverRestarted {},
            Event::Source(sample::Event::Called(calls)) => {
                What::Calls(calls.iter().map(CallLine::from).collect())
            }
            Event::Source(sample::Event::Sampled { uuid, sample }) => {
                let listed = sample.processes.iter().flat_map(|all| all.running.iter().flatten());
                self.sight(listed, now)?;
                self.samples += 1;
                let uuid = self.names.uuid(&uuid);
                let mig = sample.mig.as_ref().map(|mig| MigLine::of(mig, |uuid| self.names.uuid(uuid)));
                What::Sample(Box::new(SampleLine {
                    mig,
                    ..SampleLine::of(&sample, uuid, self.began.monotonic)
                }))
            }
            Event::Source(sample::Event::Arrived { uuid, running }) => {
                self.sight(&running, now)?;
                let uuid = self.names.uuid(&uuid);
                What::Arrived { uuid, running: running.iter().map(RunningLine::from).collect() }
            }
            Event::Identity(identify::Event::Facts { process, facts, .. }) => {
                What::Facts(self.names.facts(process.into(), &facts))
            }
            Event::Identity(identify::Event::Failed { process, reason }) => {
                What::Unreadable { pid: process.pid, start: process.start, reason: reason.into() }
            }
            Event::Identity(identify::Event::Missing { process, part }) => {
                What::Missing { pid: process.pid, start: process.start, part: part.into() }
            }
            Event::Identity(identify::Event::Ended { process }) => {
                self.living.retain(|_, key| *key != process);
                self.ended.insert(process);
                What::Ended(process.into())
            }
            // Rules and schedulers belong to those who replay.
            Event::Allocations(_) | Event::Rules(_) | Event::Stop => return Ok(()),
        };
        self.put(now, what)
    }

    /// Which processes the driver lists for the first time.
    fn sight<'a>(
        &mut self,
        listed: impl IntoIterator<Item = &'a Running>,
        now: Now,
    ) -> Result<(), WriteError> {
        for running in listed {
            if self.living.contains_key(&running.pid) {
                continue;
            }
            let found = (self.neighbours.key_of)(running.pid).filter(|key| !self.ended.contains(key));
            if let Some(key) = found {
                self.living.insert(key.pid, key);
                self.neighbours.identify.watch(key);
                self.put(now, What::Process(Key::from(key)))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, now: Now, what: What) -> Result<(), WriteError> {
        let at_us = now.monotonic.saturating_sub(self.began.monotonic).0;
        self.writer.write(&Entry { at_us, what })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use wattribute::rules::RuleSet;
    use wattribute::units::Microseconds;

    use super::super::format::{Header, NamesAre, VERSION};
    use super::super::{Capture, Stage};
    use super::*;
    use crate::sample::Card;

    /// Whom it was told to watch.
    struct Seen(Arc<Mutex<Vec<ProcessKey>>>);

    impl Watch for Seen {
        fn watch(&self, process: ProcessKey) {
            self.0.lock().expect("a lock").push(process);
        }

        fn forget(&self, _: ProcessKey) {}

        fn want(&self, _: &RuleSet, _: u64) {}
    }

    fn header() -> Header {
        Header {
            capture_version: VERSION,
            recorded_by: "0".into(),
            source: "nvml".into(),
            names: NamesAre::Pseudonyms,
            host: "host-1".into(),
            interval_us: 1_000_000,
            unix_us: 0,
            boot_us: 0,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
        }
    }

    fn card() -> Card {
        Card {
            uuid: "GPU-secret".into(),
            index: 0,
            model: "NVIDIA H100".into(),
            pci_bus_id: "00000000:18:00.0".into(),
            driver_version: "550".into(),
            max_power: None,
        }
    }

    #[test]
    fn who_comes_between_two_samples_is_watched_and_told_again() {
        let folder = std::env::temp_dir().join(format!("wattribute-recorder-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let key = ProcessKey { pid: 7, start: 70 };
        let neighbours = Neighbours {
            identify: Box::new(Seen(Arc::clone(&seen))),
            key_of: Box::new(move |pid| (pid == key.pid).then_some(key)),
        };
        let [monotonic, boot, unix] = [Microseconds(0); 3];
        let now = Now { monotonic, boot, unix };
        let writer = Writer::create(&folder, &header()).expect("a capture");
        let mut recorder = Recorder::new(writer, Names::hidden(), now, neighbours);
        let running = vec![Running { pid: key.pid, instance: None, memory: Some(5) }];
        let came = sample::Event::Arrived { uuid: "GPU-secret".into(), running: running.clone() };
        for event in [sample::Event::Opened(card()), came] {
            recorder.hear(event.into(), now).expect("it is written");
        }
        assert_eq!(*seen.lock().expect("a lock"), [key]);

        let capture = Capture::open(&folder).expect("it is sound");
        let mut stage = Stage::new(&capture.header);
        let entries = capture.lines().expect("lines").map(|entry| entry.expect("a line"));
        let told: Vec<Event> =
            entries.filter_map(|entry| stage.hear(entry).expect("it makes sense")).collect();
        assert_eq!(stage.key(key.pid), Some(key));
        let [Event::Source(sample::Event::Opened(card)), Event::Source(again)] = &told[..] else {
            panic!("{} events", told.len())
        };
        assert_ne!(&*card.uuid, "GPU-secret");
        assert_eq!(*again, sample::Event::Arrived { uuid: Arc::clone(&card.uuid), running });
        std::fs::remove_dir_all(&folder).expect("it is removed");
    }
}
