//! Captures: what NVML and /proc said, written down by `record`, and replayed by `serve --source PATH`.
//!
//! A capture is a folder with one file, `capture.jsonl`: a line of JSON for its beginning, then one for each thing that was
//! heard, in that order; `docs/captures.md` has the format. Users, paths and other names are pseudonyms unless the
//! recorder was told to keep them; command lines and environments are never in it.
//! Callers: `source`, which replays, and `main`, which records.

mod command;
mod file;
mod format;
mod gauges;
mod hide;
mod mig;
mod recorder;
mod replay;
mod settings;
mod words;

pub use command::record;
pub use file::Capture;
#[cfg(test)]
pub use replay::Stage;
pub use replay::{Replay, Witness};
pub use settings::Record;
