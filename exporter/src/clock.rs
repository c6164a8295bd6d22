//! The machine's clocks, as microseconds. The only file that reads them.

use rustix::time::{ClockId, clock_gettime};
use wattribute::facts::ProcessKey;
use wattribute::units::Microseconds;

/// One moment, on each of the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock that all accounting uses: it stands still in suspend and nobody can set it.
    pub monotonic: Microseconds,
    /// Time since boot with suspend, which process start times count in.
    pub boot: Microseconds,
    /// Unix time, for timestamps in metrics and for comparison with the driver's samples.
    pub unix: Microseconds,
}

/// Now.
pub fn now() -> Now {
    Now { monotonic: monotonic(), boot: boot(), unix: unix() }
}

/// [`Now::monotonic`] alone.
pub fn monotonic() -> Microseconds {
    read(ClockId::Monotonic)
}

/// [`Now::unix`] alone.
pub fn unix() -> Microseconds {
    read(ClockId::Realtime)
}

/// [`Now::boot`] alone.
pub fn boot() -> Microseconds {
    read(ClockId::Boottime)
}

/// When a process started, on the clock [`Now::boot`].
pub fn started(process: ProcessKey) -> Microseconds {
    Microseconds(process.start * 1_000_000 / rustix::param::clock_ticks_per_second())
}

fn read(clock: ClockId) -> Microseconds {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    Microseconds(seconds * 1_000_000 + nanoseconds / 1000)
}
