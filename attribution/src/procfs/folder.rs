//! The folder `/proc/<pid>` of one process, held open: all that is read through it is of that process, even
//! if another one gets the pid meanwhile.

use super::parse::{self, MAX_CMDLINE, Stat};
use super::{Part, ReadError};
use crate::facts::{Facts, Field};
use procfs::process::Process;
use procfs::{ProcError, ProcResult};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

/// How much of a small file is read, in bytes: enough for what is needed of it, however long the rest.
const MAX_FILE: u64 = 64 * 1024;

/// What most files fit in, in bytes: each read more is a call of the kernel.
const USUAL_FILE: usize = 4096;

/// How much of an environment is read, in bytes; the kernel starts no program with more than 6 MiB.
const MAX_ENVIRON: u64 = 8 * 1024 * 1024;

/// What a process says of itself.
pub(super) struct Declared {
    comm: String,
    exe: String,
    cmdline: String,
    environ: BTreeMap<String, String>,
}

impl Declared {
    /// As facts of the process itself.
    pub(super) fn set(self, facts: &mut Facts) {
        facts.set(Field::Comm, self.comm);
        facts.set(Field::Exe, self.exe);
        facts.set(Field::Cmdline, self.cmdline);
        for (name, value) in self.environ {
            facts.set(Field::Env(name.into()), value);
        }
    }

    /// As the fields of an ancestor.
    pub(super) fn into_ancestor(self) -> BTreeMap<Field, String> {
        let environ = self.environ.into_iter().map(|(name, value)| (Field::AncestorEnv(name.into()), value));
        let fields = [
            (Field::AncestorComm, self.comm),
            (Field::AncestorExe, self.exe),
            (Field::AncestorCmdline, self.cmdline),
        ];
        fields.into_iter().chain(environ).collect()
    }
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    process: Process,
    /// What is there but could not be read.
    pub(super) unread: BTreeSet<Part>,
}

impl Folder {
    pub(super) fn open(path: PathBuf) -> Result<Self, ReadError> {
        let process = Process::new_with_root(path).map_err(|error| refusal(&error))?;
        Ok(Self { process, unread: BTreeSet::new() })
    }

    pub(super) fn stat(&self) -> Result<Stat, ReadError> {
        let bytes = self.read("stat", MAX_FILE).map_err(|error| refusal(&error))?;
        parse::stat(&bytes).ok_or(ReadError::Unreadable)
    }

    /// The stat of the process that started then, and of no other.
    pub(super) fn stat_of(&self, start: u64) -> Result<Stat, ReadError> {
        self.stat().and_then(|stat| if stat.start == start { Ok(stat) } else { Err(ReadError::Vanished) })
    }

    /// The real uid and gid.
    pub(super) fn ids(&mut self) -> Option<(u32, u32)> {
        let ids = parse::ids(&self.bytes(Part::Status, MAX_FILE));
        if ids.is_none() {
            self.unread.insert(Part::Status);
        }
        ids
    }

    /// A whole file as text.
    pub(super) fn text(&mut self, part: Part) -> String {
        String::from_utf8_lossy(&self.bytes(part, MAX_FILE)).into_owned()
    }

    /// What the process says of itself, of its environment the wanted variables only.
    pub(super) fn declared(&mut self, stat: &Stat, wanted_env: &BTreeSet<String>) -> Declared {
        let exe = self.process.exe().map(|path| parse::exe(&path.to_string_lossy()).to_owned());
        let exe = self.or_absent(Part::Exe, exe);
        let cmdline = parse::cmdline(&self.bytes(Part::Cmdline, MAX_CMDLINE as u64));
        let environ = if wanted_env.is_empty() { Ok(BTreeMap::new()) } else { self.environ(wanted_env) };
        let environ = self.or_absent(Part::Environ, environ);
        Declared { comm: stat.comm.clone(), exe, cmdline, environ }
    }

    fn environ(&self, wanted: &BTreeSet<String>) -> ProcResult<BTreeMap<String, String>> {
        let file = self.process.open_relative("environ")?;
        Ok(parse::environ(BufReader::new(file.take(MAX_ENVIRON)), wanted)?)
    }

    fn bytes(&mut self, part: Part, limit: u64) -> Vec<u8> {
        let bytes = self.read(part.name(), limit);
        self.or_absent(part, bytes)
    }

    fn read(&self, file: &str, limit: u64) -> ProcResult<Vec<u8>> {
        Ok(read_up_to(self.process.open_relative(file)?, limit)?)
    }

    /// A part that is not there is absent; one that cannot be read is noted.
    fn or_absent<T: Default>(&mut self, part: Part, result: ProcResult<T>) -> T {
        result.unwrap_or_else(|error| {
            if refusal(&error) != ReadError::Vanished {
                self.unread.insert(part);
            }
            T::default()
        })
    }
}

fn read_up_to(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_FILE);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refusal(error: &ProcError) -> ReadError {
    match error {
        ProcError::NotFound(_) => ReadError::Vanished,
        ProcError::PermissionDenied(_) => ReadError::Denied,
        // A process that ended while its file was open.
        ProcError::Io(error, _) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => {
            ReadError::Vanished
        }
        _ => ReadError::Unreadable,
    }
}
