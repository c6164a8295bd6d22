//! What goes wrong during a soak, one thing after the other, and what the exporter may therefore miss. GPU 0 is spared.

use std::time::Duration;

use fake_nvml::{Code, Effect, Fault};

/// After a trouble a GPU may take this long to be back: a lost one is looked for again and again.
const RECOVERY: Duration = Duration::from_secs(8);

/// A time in which samples of a GPU, or of all, may be missing. Scenario time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Excuse {
    /// `None`: all of them.
    pub gpu: Option<usize>,
    /// When it begins.
    pub from: Duration,
    /// When all must be well again.
    pub until: Duration,
}

impl Excuse {
    /// For any GPU, from a moment until everything has recovered after another.
    #[must_use]
    pub fn all(from: Duration, until: Duration) -> Self {
        Self { gpu: None, from, until: until + RECOVERY }
    }

    /// Whether it covers a gap of a GPU, even in part.
    #[must_use]
    pub fn covers(&self, gpu: usize, from: Duration, until: Duration) -> bool {
        self.gpu.is_none_or(|own| own == gpu) && from < self.until && self.from < until
    }
}

/// The trouble of a round, from a scenario time on: its fault, and how long samples may be missing, if at all.
#[must_use]
pub fn trouble(round: usize, gpus: usize, from_s: f64) -> (Fault, Option<Duration>) {
    let gpu = 1 + round % (gpus - 1).max(1);
    let fault = |effect| Fault::new(gpu, from_s, effect);
    let lasting = |effect, seconds: u32| {
        let fault = fault(effect).until(from_s + f64::from(seconds));
        (fault, Some(Duration::from_secs(seconds.into())))
    };
    match round % 5 {
        0 => lasting(Effect::Error { calls: vec![], code: Code::GPU_IS_LOST }, 5),
        1 => lasting(Effect::Hang { calls: vec![] }, 4),
        2 => (fault(Effect::CounterReset), None),
        // A slow driver, but not so slow that a tick could not be kept.
        3 => {
            let effect = Effect::Latency { seconds: 0.02.into(), calls: vec![] };
            (Fault { gpu: None, ..fault(effect).until(from_s + 6.0) }, None)
        }
        _ => lasting(Effect::Absent, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gpu_is_spared_but_for_a_slow_driver() {
        let faults = (0..100).map(|round| trouble(round, 8, 1.0).0);
        let strikes = |fault: &Fault| fault.gpu == Some(0) || fault.gpu >= Some(8);
        assert_eq!(faults.filter(strikes).count(), 0);
    }

    #[test]
    fn an_excuse_is_for_its_gpu_and_its_time() {
        let seconds = Duration::from_secs;
        let excuse = Excuse { gpu: Some(1), from: seconds(10), until: seconds(20) };
        assert!(excuse.covers(1, seconds(5), seconds(11)) && excuse.covers(1, seconds(19), seconds(30)));
        assert!(!excuse.covers(1, seconds(5), seconds(10)) && !excuse.covers(1, seconds(20), seconds(30)));
        assert!(!excuse.covers(2, seconds(12), seconds(13)));
        assert!(Excuse::all(seconds(1), seconds(2)).covers(0, seconds(9), seconds(12)));
    }
}
