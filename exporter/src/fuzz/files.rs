//! Files that we wrote ourselves, and that somebody may have had in hand since: state and captures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, process};

use super::{Outcome, Target, said, text};
use crate::capture::Capture;
use crate::state::format;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "state", feed: state, seeds: STATES, rounds: 2000 },
    Target { name: "capture", feed: capture, seeds: CAPTURES, rounds: 300 },
];

const STATES: &[&[u8]] = &[br#"{"version":1,"boot_id":"b","gpus":{"GPU-0":{"counter":5000,"at":7,"idle_power":70000}},
    "visible":{"gpus":{"GPU-0":{"energy":30,"resets":1,"disbelieved":2,"owners":[[{"team":"a"},[10,20,3,4,5]]]}},
    "rules":[["r","declared",30]],"series":[[1,10,4]]},
    "hidden":{"gpus":{"GPU-0":{"energy":0,"resets":0,"disbelieved":0,"owners":[]}},"rules":[],"series":[]},
    "series":[{"number":1,"uuid":"GPU-0","subject":{"process":{"pid":"7","comm":"c","user":"u","workload":""}},"owner":{"team":"a"}},
    {"number":2,"uuid":"GPU-0","subject":{"workload":"slurm:7"},"owner":null}]}"#];
const CAPTURES: &[&[u8]] = &[include_bytes!("../../tests/fuzz/capture.jsonl")];

/// A path of this call's own, below the folder for temporary files.
pub(super) fn scratch() -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("wattribute-fuzz-{}-{number}", process::id()))
}

/// What is read and written again reads the same, and can be inherited.
fn state(bytes: &[u8]) -> Outcome {
    let again = |text: &str| format::read(text).and_then(|state| state.text());
    let once = match again(&text(bytes)) {
        Ok(once) => once,
        Err(error) => return Outcome::Refused(error),
    };
    if again(&once).as_ref() != Ok(&once) {
        return Outcome::Broken("a state that was written reads as another");
    }
    if let Ok(state) = format::read(&once) {
        drop(state.inherit(("b", wattribute::units::Microseconds(9)), |_| None));
    }
    Outcome::Read
}

fn capture(bytes: &[u8]) -> Outcome {
    let file = scratch();
    let opened =
        fs::write(&file, bytes).map_err(|error| error.to_string()).and_then(|()| Capture::open(&file));
    // What is left of it is in the folder for temporary files.
    let _ = fs::remove_file(&file);
    said(opened)
}
