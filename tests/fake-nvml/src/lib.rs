//! A stand-in for `libnvidia-ml.so.1` whose true energies are known exactly.
//!
//! The library built from this crate (`libfake_nvml.so`) has NVML's C interface. It answers out of a scenario file
//! and a clock, both shared by every process that loads it, so the simulated driver goes on while a program under
//! test restarts. The Rust side of the crate ([`Scenario`], [`Journal`]) lets a test write the scenario, ask for the
//! truth, and read what was answered.
//!
//! | variable | meaning |
//! |---|---|
//! | `FAKE_NVML_SCENARIO` | path of the scenario; without it `nvmlInit_v2` answers DRIVER_NOT_LOADED |
//! | `FAKE_NVML_JOURNAL` | path of the journal, optional: one line of JSON per answer, appended |
//!
//! # Time
//!
//! Scenario time is CLOCK_MONOTONIC less `epoch_us`; all times below are seconds of it, kept as whole microseconds.
//! The file is read again when it changes (looked at no more than every 20 ms). **An edit may only change the
//! future**: add loads and faults that begin after the edit, or end something after it (50 ms and more, because of
//! those 20); never reorder the GPUs. The
//! truth is a function of the whole file, so an edit of the past would contradict what was already answered. A file
//! that does not load leaves the last good one in force and puts a line `scenario` with code 999 into the journal.
//!
//! # A scenario, with everything in it
//!
//! ```yaml
#![doc = include_str!("../example.yaml")]
//! ```
//!
//! # What is simulated
//!
//! - Power of a GPU is idle + Σ sm % × (max − idle); the loads on a GPU never add up to more than 100 %. A process's
//!   true active energy is the integral of its own term. Everything is whole nanojoules: no rounding anywhere.
//! - The energy counter is that integral up to the last refresh, in whole millijoules, on top of an offset.
//! - Utilisation: per sample period the driver keeps the rounded mean of each process. A call answers, per process,
//!   the mean over all periods that ended after `lastSeen` (and within the buffer), stamped with the end of its
//!   newest period above zero; a process without such a period has no sample; no sample at all is NOT_FOUND.
//! - Lists are asked for twice: a call without room answers INSUFFICIENT_SIZE and how much room it takes.
//! - MIG: a GPU with instances has MIG on, for as long as the scenario says; instances come and go, and with them their
//!   handles. Utilisation is NOT_SUPPORTED on the GPU, energy and power on its instances. GPM, where the GPU has it,
//!   answers the use of a GPU instance's own SMs between two samples that are 100 ms apart; else NO_DATA.
//!
//! Not simulated: GPM without MIG, NVLink, ECC, events, accounting, the version of a symbol. A symbol that is not here is missing
//! from the library too. Nothing here was measured on a real driver.

mod abi;
mod answer;
mod check;
mod clock;
mod code;
mod driver;
mod fault;
mod journal;
mod mig;
mod scenario;
mod truth;
mod utilization;

use std::path::PathBuf;
use std::{env, io};

pub use check::Invalid;
pub use clock::monotonic_us;
pub use code::Code;
pub use fault::{Effect, Fault};
pub use journal::{Entry, Journal};
pub use scenario::{Crowd, Gpu, Kind, Load, MigInstance, Scenario, Seconds, Use, Wave};
pub use truth::Truth;
pub use utilization::Sample;

/// The built library, beside the running program or in the folder above it.
///
/// # Errors
/// Where it was not built: `cargo build -p fake-nvml` builds it, and so does building a test that uses this crate.
pub fn library() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let folders = program.ancestors().skip(1).take(2);
    let mut places = folders.flat_map(|folder| [folder.to_path_buf(), folder.join("deps")]);
    let found = places.find_map(|folder| Some(folder.join("libfake_nvml.so")).filter(|path| path.is_file()));
    found.ok_or_else(|| io::Error::other("no libfake_nvml.so beside the program: cargo build -p fake-nvml"))
}
