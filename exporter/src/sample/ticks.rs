//! The rhythm of one sampling thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::{Card, Event, Sample};
use crate::clock;

/// What a thread asks at each tick.
pub trait Sampler {
    /// Asks the GPU now.
    fn sample(&mut self) -> Sample;
}

/// Ticks at a fixed interval until told to stop. Ticks missed while the driver hung are skipped, not made up.
pub struct Ticks<E> {
    pub interval: Duration,
    /// Where samples go.
    pub events: Sender<E>,
    /// Closed when the thread shall end.
    pub stop: Receiver<()>,
}

impl<E: From<Event>> Ticks<E> {
    /// Announces the GPU and samples it until the stop channel closes or nobody listens any more.
    pub fn drive(&self, card: Card, sampler: &mut dyn Sampler) {
        let uuid = card.uuid.clone();
        let send = |event: Event| self.events.send(event.into()).is_ok();
        if !send(Event::Opened(card)) {
            return;
        }
        let interval = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut due = clock::monotonic().0;
        loop {
            let sample = Box::new(sampler.sample());
            if !send(Event::Sampled { uuid: uuid.clone(), sample }) {
                return;
            }
            let now = clock::monotonic().0;
            due += interval * (1 + now.saturating_sub(due) / interval);
            if self.is_stopped_within(Duration::from_micros(due.saturating_sub(now))) {
                return;
            }
        }
    }

    /// Waits, and says whether the thread shall end.
    pub fn is_stopped_within(&self, time: Duration) -> bool {
        !matches!(self.stop.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// Sends something that is no sample.
    pub fn send(&self, event: Event) {
        // Nobody listens any more: the exporter is stopping.
        let _ = self.events.send(event.into());
    }
}
