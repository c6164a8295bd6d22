//! What the library answered and when: one line of JSON per answer. Written by the driver, read by tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Scenario time of the answer in µs; its values are those of exactly this moment.
    pub t_us: u64,
    /// The process that asked.
    pub pid_of_caller: u32,
    /// The C function; for a field of `nvmlDeviceGetFieldValues` with `/` and its id; `scenario` for a bad edit.
    pub call: String,
    /// Position of the GPU in the scenario, for a MIG instance its parent; `None`: the call names no GPU.
    pub gpu: Option<usize>,
    /// What was returned.
    pub code: u32,
    /// The number in the answer, if it is one: mJ, mW, °C, MHz, a count of entries.
    pub value: Option<u64>,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    pub(crate) fn append_to(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Adds a line, in one write so that lines of several processes do not mix.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }

    /// All entries of a journal; a last line without its end is left out.
    ///
    /// # Errors
    /// Where the file cannot be read or holds something else.
    pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
        let text = fs::read_to_string(path)?;
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }
}
