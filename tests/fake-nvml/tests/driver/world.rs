//! A process of its own for each test, with the library loaded by path as a program would load it: the library reads
//! its environment once. Used by the tests beside this file.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use fake_nvml::{Code, Entry, Fault, Gpu, Journal, Load, Scenario, monotonic_us};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// A scenario that has been running for a minute, so that buffers are full.
pub(crate) fn running(gpus: Vec<Gpu>, loads: Vec<Load>, faults: Vec<Fault>) -> Scenario {
    let epoch_us = monotonic_us() - 60_000_000;
    Scenario { epoch_us, loads, faults, ..Scenario::starting_now(gpus) }
}

pub(crate) fn library() -> PathBuf {
    fake_nvml::library().expect("built with this test")
}

/// What a body finds in its process.
pub(crate) struct World {
    pub(crate) nvml: Nvml,
    pub(crate) path: PathBuf,
    pub(crate) journal: PathBuf,
}

impl World {
    pub(crate) fn gpu(&self, index: u32) -> Device<'_> {
        self.nvml.device_by_index(index).expect("a handle")
    }

    pub(crate) fn scenario(&self) -> Scenario {
        Scenario::load(&self.path).expect("the scenario")
    }

    pub(crate) fn entries(&self, call: &str) -> Vec<Entry> {
        let mut entries = Journal::read(&self.journal).expect("the journal");
        entries.retain(|entry| entry.call == call);
        entries
    }
}

/// Runs `body` in a child process, with the library under `scenario`. `test` is the test's own name.
#[track_caller]
pub(crate) fn world(test: &str, scenario: &Scenario, body: impl FnOnce(&World)) {
    if let Some(path) = env::var_os("FAKE_NVML_SCENARIO") {
        let journal = env::var_os("FAKE_NVML_JOURNAL").expect("set with the scenario").into();
        let nvml = Nvml::builder().lib_path(library().as_os_str()).init().expect("the library loads");
        return body(&World { nvml, path: path.into(), journal });
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("scenario.yaml");
    scenario.save(&path).expect("a sound scenario");
    let mut child = Command::new(env::current_exe().expect("a test has a path"));
    child
        .args(["--nocapture", "--exact", &format!("raw::{test}"), &format!("wrapped::{test}")])
        .env("FAKE_NVML_SCENARIO", &path);
    let done = child.env("FAKE_NVML_JOURNAL", folder.join("journal.jsonl")).output().expect("a child");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && text.contains("1 passed"),
        "{}{}",
        text,
        String::from_utf8_lossy(&done.stderr)
    );
    fs::remove_dir_all(&folder).expect("removed");
}

#[track_caller]
pub(crate) fn is<T: PartialEq<W> + Debug, W: Debug>(got: Result<T, NvmlError>, want: W) {
    assert_eq!(got.expect("an answer"), want);
}

#[track_caller]
pub(crate) fn fails<T>(got: Result<T, NvmlError>, want: Code) {
    assert_eq!(got.err().map(|error| Code(error.into())), Some(want));
}

pub(crate) fn two_gpus() -> Vec<Gpu> {
    vec![Gpu::numbered(0), Gpu::numbered(1)]
}
