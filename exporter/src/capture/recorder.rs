//! The recorder: writes down what the sampling threads and the identify stage say, as they say it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use wattribute::facts::ProcessKey;

use super::file::{WriteError, Writer};
use super::format::{CallLine, Ending, Entry, GpuLine, Key, SampleLine, What};
use super::hide::Names;
use super::mig::MigLine;
use crate::account::Event;
use crate::clock::{self, Now};
use crate::identify::{self, Watch};
use crate::sample::{self, Sample};

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
                self.sight(&sample, now)?;
                self.samples += 1;
                let uuid = self.names.uuid(&uuid);
                let mig = sample.mig.as_ref().map(|mig| MigLine::of(mig, |uuid| self.names.uuid(uuid)));
                What::Sample(Box::new(SampleLine {
                    mig,
                    ..SampleLine::of(&sample, uuid, self.began.monotonic)
                }))
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
            _ => return Ok(()),
        };
        self.put(now, what)
    }

    /// Which processes the driver lists for the first time.
    fn sight(&mut self, sample: &Sample, now: Now) -> Result<(), WriteError> {
        let listed = sample.processes.iter().flat_map(|processes| processes.running.iter().flatten());
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
