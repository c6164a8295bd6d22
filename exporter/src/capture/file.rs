//! The file of a capture: written line by line, so that what was recorded before a crash is there; read line by line,
//! and checked as a whole before anything is replayed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::format::{Entry, Header, VERSION, What};
use super::replay::Stage;

/// What the file is called in a capture's folder.
pub const FILE: &str = "capture.jsonl";
/// Bytes; a minute of eight busy GPUs has about a megabyte.
pub const LARGEST: u64 = 1 << 30;
/// Bytes; ten thousand processes on a GPU have about one.
const LONGEST_LINE: u64 = 16 << 20;
/// What is kept of the space for the last line.
const RESERVE: u64 = 256;

/// Writes a capture. Nobody but its owner may read it.
#[derive(Debug)]
pub struct Writer {
    file: File,
    written: u64,
}

/// Why a line was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The capture is as large as captures may be.
    Full,
    Io(io::Error),
}

impl Writer {
    /// Begins a capture in a new folder.
    ///
    /// # Errors
    /// Where the folder exists, or cannot be made.
    pub fn create(folder: &Path, header: &Header) -> Result<Self, String> {
        let say = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("--out {}: it exists: name a folder that does not", folder.display())
            }
            _ => format!("--out {}: {error}: name a folder that can be made", folder.display()),
        };
        DirBuilder::new().mode(0o700).create(folder).map_err(say)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(folder.join(FILE)).map_err(say)?;
        let mut writer = Self { file, written: 0 };
        writer.put(header, 0).map_err(|error| match error {
            WriteError::Full => format!("--out {}: the first line is too long", folder.display()),
            WriteError::Io(error) => say(error),
        })?;
        Ok(writer)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Where there is no more space for it, by our own measure or the disk's.
    pub fn write(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let reserve = if matches!(entry.what, What::End { .. }) { 0 } else { RESERVE };
        self.put(entry, reserve)
    }

    fn put(&mut self, line: &impl serde::Serialize, reserve: u64) -> Result<(), WriteError> {
        let mut line = serde_json::to_vec(line).map_err(|error| WriteError::Io(error.into()))?;
        line.push(b'\n');
        let after = self.written + line.len() as u64;
        if after + reserve > LARGEST {
            return Err(WriteError::Full);
        }
        self.written = after;
        self.file.write_all(&line).map_err(WriteError::Io)
    }
}

/// A capture that was read once from beginning to end, and is sound.
#[derive(Clone, Debug)]
pub struct Capture {
    path: PathBuf,
    pub header: Header,
    /// How many GPUs there are in it.
    pub gpus: u32,
    /// How long it takes.
    pub lasts: Duration,
    /// Whether it has its last line, or its recorder was killed.
    pub is_complete: bool,
}

#[derive(Deserialize)]
struct AnyVersion {
    capture_version: u32,
}

impl Capture {
    /// Reads and checks the capture in this folder, or this file.
    ///
    /// # Errors
    /// What is wrong with it: `file:line: what: way out`.
    pub fn open(path: &Path) -> Result<Self, String> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let header = read_header(&path)?;
        let mut capture = Self { path, header, gpus: 0, lasts: Duration::ZERO, is_complete: false };
        let mut stage = Stage::new(&capture.header);
        let mut lines = capture.lines()?;
        let mut last = 0;
        while let Some(entry) = lines.next().transpose()? {
            if entry.at_us < last {
                return Err(lines.say("it is earlier than the line before"));
            }
            last = entry.at_us;
            capture.is_complete = matches!(entry.what, What::End { .. });
            stage.hear(entry).map_err(|what| lines.say(&what))?;
        }
        capture.lasts = Duration::from_micros(last);
        capture.gpus = stage.gpus();
        if capture.gpus == 0 {
            return Err(format!("{}: there is no gpu in it: record it anew", capture.path.display()));
        }
        Ok(capture)
    }

    /// What was heard, in order.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn lines(&self) -> Result<Lines, String> {
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        let mut lines =
            Lines { name: self.path.display().to_string(), file: BufReader::new(file), number: 0 };
        lines.line().transpose()?;
        Ok(lines)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}: --source takes nvml, demo, or the folder of a capture", path.display())
}

fn read_header(path: &Path) -> Result<Header, String> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut lines = Lines { name: path.display().to_string(), file: BufReader::new(file), number: 0 };
    let Some(line) = lines.line().transpose()? else {
        return Err(format!("{}: it is empty: record it anew", path.display()));
    };
    let no_capture =
        |error: serde_json::Error| lines.say(&format!("this is no capture of wattribute ({error})"));
    let AnyVersion { capture_version: version } = serde_json::from_slice(&line).map_err(no_capture)?;
    if version != VERSION {
        return Err(format!(
            "{}:1: version {version} of the format is unknown to this wattribute, which reads {VERSION}: \
             use the release that recorded it",
            lines.name
        ));
    }
    let header: Header = serde_json::from_slice(&line).map_err(no_capture)?;
    let is_sound = header.ticks_per_second > 0 && (1..=60_000_000).contains(&header.interval_us);
    if is_sound { Ok(header) } else { Err(lines.say("the first line makes no sense")) }
}

/// The lines of a capture after the first.
#[derive(Debug)]
pub struct Lines {
    name: String,
    file: BufReader<File>,
    number: u64,
}

impl Lines {
    /// The next line without its end. A last line that has none was being written when the recorder died: it is left
    /// out.
    fn line(&mut self) -> Option<Result<Vec<u8>, String>> {
        let mut line = Vec::new();
        self.number += 1;
        match self.file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Err(error) => Some(Err(self.say(&error.to_string()))),
            Ok(_) if line.pop() == Some(b'\n') => Some(Ok(line)),
            Ok(read) if read as u64 == LONGEST_LINE => {
                Some(Err(self.say(&format!("it is longer than {LONGEST_LINE} bytes"))))
            }
            Ok(_) => None,
        }
    }

    /// Where the reader is, and what is wrong there.
    pub fn say(&self, what: &str) -> String {
        format!("{}:{}: {what}: the capture is damaged, record it anew", self.name, self.number)
    }
}

impl Iterator for Lines {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.line()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let entry = serde_json::from_slice::<Entry>(&line);
        Some(entry.map_err(|error| self.say(&error.to_string())))
    }
}
