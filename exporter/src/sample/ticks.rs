//! The rhythm of one sampling thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::{Card, Event, Sample};
use crate::clock;

/// What a thread asks at each tick.
pub trait Sampler {
    /// Asks the GPU now.
    fn sample(&mut self) -> Sample;

    /// Looks, between two samples, at what the next would see less well.
    fn glance(&mut self) {}
}

/// How often to look between two samples: about as often as drivers sample utilisation, every sixth of a second.
const GLANCE: Duration = Duration::from_millis(180);

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
            if self.is_stopped_before(due, sampler) {
                return;
            }
        }
    }

    /// Waits until a sample is due, with glances on the way; says whether the thread shall end.
    fn is_stopped_before(&self, due: u64, sampler: &mut dyn Sampler) -> bool {
        loop {
            let left = Duration::from_micros(due.saturating_sub(clock::monotonic().0));
            // The sample itself is the last look.
            if left < 2 * GLANCE {
                return self.is_stopped_within(left);
            }
            if self.is_stopped_within(GLANCE) {
                return true;
            }
            sampler.glance();
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
