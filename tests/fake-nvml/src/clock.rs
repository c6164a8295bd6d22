//! The two clocks the library reads. Called by the driver and by tests that choose an epoch.

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in µs, the base of `epoch_us`.
#[must_use]
pub fn monotonic_us() -> u64 {
    read(ClockId::Monotonic)
}

/// Microseconds since 1970.
pub(crate) fn unix_us() -> u64 {
    read(ClockId::Realtime)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1000
}
