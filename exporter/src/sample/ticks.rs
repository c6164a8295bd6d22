//! The rhythm of one sampling thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::{Call, Card, Event, Running, Sample};
use crate::clock;

/// What a thread asks at each tick.
pub trait Sampler {
    /// Asks the GPU now.
    fn sample(&mut self) -> Sample;

    /// Whether there is anything to look at between this sample and the next.
    fn is_lively(&self) -> bool {
        false
    }

    /// Looks, between two samples, at what the next would see less well. Gives who is new on the GPU: by the next sample
    /// it may have gone. Called only while it is lively.
    fn glance(&mut self) -> Vec<Running> {
        Vec::new()
    }
}

/// How often to look between two samples: about as often as drivers sample utilisation, every sixth of a second.
const GLANCE: Duration = Duration::from_millis(180);

/// Why a sampling thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to, or nobody listens any more.
    Stopped,
    /// The driver answers nothing but this error, which only opening it anew can mend.
    DriverGone(&'static str),
    /// The GPU has answered nothing for a while: its handle may be stale.
    Unanswered,
}

/// After so many samples in which every call failed a GPU is opened anew, if it can be.
const UNANSWERED: u32 = 30;

/// The driver is not loaded. When it is loaded again, counters begin at zero.
pub const NOT_LOADED: &str = "driver_not_loaded";

/// The driver is of another version than the library.
pub const OTHER_VERSION: &str = "lib_rm_version_mismatch";

/// Whether an error means that the whole driver must be opened anew.
pub fn is_gone(error: &str) -> bool {
    [NOT_LOADED, OTHER_VERSION, "uninitialized"].contains(&error)
}

/// Such an error, where the driver answered nothing else.
pub fn gone(calls: &[Call]) -> Option<&'static str> {
    let first = calls.first()?.error?;
    calls.iter().all(|call| call.error.is_some_and(is_gone)).then_some(first)
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
    /// Announces the GPU and samples it until the stop channel closes, nobody listens any more, or
    /// the driver has gone. What a call that hung says after it was told to stop is not sent.
    pub fn drive(&self, card: Card, sampler: &mut dyn Sampler) -> Ending {
        let uuid = card.uuid.clone();
        let send = |event: Event| self.events.send(event.into()).is_ok();
        if !send(Event::Opened(card)) {
            return Ending::Stopped;
        }
        let interval = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut due = clock::monotonic().0;
        let mut unanswered = 0;
        loop {
            let sample = Box::new(sampler.sample());
            let gone = gone(&sample.calls);
            let is_silent = !sample.calls.is_empty() && sample.calls.iter().all(|call| call.error.is_some());
            unanswered = if is_silent { unanswered + 1 } else { 0 };
            if self.is_stopped_within(Duration::ZERO) || !send(Event::Sampled { uuid: uuid.clone(), sample })
            {
                return Ending::Stopped;
            }
            if let Some(why) = gone {
                return Ending::DriverGone(why);
            }
            if unanswered >= UNANSWERED {
                return Ending::Unanswered;
            }
            let now = clock::monotonic().0;
            due += interval * (1 + now.saturating_sub(due) / interval);
            if self.is_stopped_before(due, &uuid, sampler) {
                return Ending::Stopped;
            }
        }
    }

    /// Waits until a sample is due, with glances on the way if there is cause for them; says whether the thread shall end.
    fn is_stopped_before(&self, due: u64, uuid: &Arc<str>, sampler: &mut dyn Sampler) -> bool {
        loop {
            let left = Duration::from_micros(due.saturating_sub(clock::monotonic().0));
            // The sample itself is the last look.
            if left < 2 * GLANCE || !sampler.is_lively() {
                return self.is_stopped_within(left);
            }
            if self.is_stopped_within(GLANCE) {
                return true;
            }
            let running = sampler.glance();
            // What a call that hung says after it was told to stop is not sent.
            if self.is_stopped_within(Duration::ZERO) {
                return true;
            }
            if !running.is_empty() {
                self.send(Event::Arrived { uuid: Arc::clone(uuid), running });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(errors: &[Option<&'static str>], want: Option<&'static str>) {
        let call = |error: &Option<&'static str>| Call { name: "X", took: Duration::ZERO, error: *error };
        assert_eq!(gone(&errors.iter().map(call).collect::<Vec<_>>()), want);
    }

    #[test]
    fn the_driver_has_gone_when_it_answers_nothing_else() {
        check(&[Some(NOT_LOADED), Some("uninitialized")], Some(NOT_LOADED));
        check(&[Some(NOT_LOADED), None], None);
        check(&[Some("uninitialized"), Some("not_supported")], None);
        check(&[Some("gpu_is_lost"), Some("gpu_is_lost")], None);
        check(&[], None);
    }

    /// Is told to stop while it glances; still from then on.
    struct Slow(Option<Sender<()>>);

    impl Sampler for Slow {
        fn sample(&mut self) -> Sample {
            panic!("nobody waits for a sample")
        }

        fn is_lively(&self) -> bool {
            self.0.is_some()
        }

        fn glance(&mut self) -> Vec<Running> {
            self.0 = None;
            vec![Running { pid: 7, instance: None, memory: None }]
        }
    }

    #[test]
    fn what_a_glance_says_after_the_stop_is_not_sent() {
        let (events, inbox) = std::sync::mpsc::channel::<Event>();
        let (stop, stopped) = std::sync::mpsc::channel();
        let ticks = Ticks { interval: Duration::from_secs(1), events, stop: stopped };
        let due = clock::monotonic().0 + 600_000_000;
        assert!(ticks.is_stopped_before(due, &"GPU-1".into(), &mut Slow(Some(stop))));
        assert_eq!(inbox.try_iter().count(), 0);
    }

    #[test]
    fn where_nothing_comes_or_goes_there_is_no_glance() {
        let (events, inbox) = std::sync::mpsc::channel::<Event>();
        let (_stop, stopped) = std::sync::mpsc::channel();
        let ticks = Ticks { interval: Duration::from_secs(1), events, stop: stopped };
        let due = clock::monotonic().0 + 600_000;
        assert!(!ticks.is_stopped_before(due, &"GPU-1".into(), &mut Slow(None)));
        assert!(clock::monotonic().0 >= due && inbox.try_iter().count() == 0);
    }
}
