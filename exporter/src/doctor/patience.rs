//! Work that may hang, in a thread of its own. One that does not come back is left behind and ends with the process.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// What a thread will give.
pub struct Awaited<T>(Receiver<T>);

/// Begins the work.
pub fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Awaited<T> {
    let (give, take) = mpsc::channel();
    // Without a thread the channel is closed, and nothing will come.
    let _ = thread::Builder::new().spawn(move || {
        // Nobody waits any more where it took too long.
        let _ = give.send(work());
    });
    Awaited(take)
}

/// What the work gives, if it does within the time.
pub fn within<T: Send + 'static>(time: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    begin(work).until(Instant::now() + time)
}

impl<T> Awaited<T> {
    /// What was given until then.
    pub fn until(self, then: Instant) -> Option<T> {
        self.0.recv_timeout(then.saturating_duration_since(Instant::now())).ok()
    }
}
