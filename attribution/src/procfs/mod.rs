//! Facts out of a /proc file system: the one module of the library with IO.
//!
//! Of a process it reads `stat`, `status`, `exe`, `cmdline`, `cgroup` and, if a variable is wanted,
//! `environ`, and the same of its ancestors but `cgroup`. It keeps nothing but names of users and groups, and
//! notices no end of a process: that, and when to read again, is the caller's.
//! Callers: the exporter's identify stage, and its commands `explain` and `record`.

mod ancestors;
mod folder;
mod names;
mod parse;

pub use names::{Names, NoAnswer};

use crate::cgroup;
use crate::facts::{Facts, Field, ProcessKey};
use ancestors::{Ancestors, Fields};
use folder::Folder;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{fmt, iter};

/// How many ancestors are read unless a caller wants fewer.
const MAX_ANCESTORS: usize = 8;

/// Reads facts under one root.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    names: Names,
    ancestors: usize,
}

/// What was read of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The facts. What is there but could not be read is pending: a rule that reads it waits, and no later rule claims
    /// the process.
    pub facts: Facts,
    /// What exists but could not be read, of the process or an ancestor: mostly for want of privilege.
    pub unread: BTreeSet<Part>,
    /// Whether the process was ending. It has then given up its memory, so that `exe`, `cmdline` and
    /// `environ` are empty though they once were not: facts read earlier are the better ones.
    pub ending: bool,
}

/// A part of what is read of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Start time, name, parent. Without it nothing is known.
    Stat,
    /// User and group.
    Status,
    /// The program's file.
    Exe,
    /// The command line.
    Cmdline,
    /// The control groups.
    Cgroup,
    /// The environment.
    Environ,
    /// The names of user and group, which the name service did not give.
    Names,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Stat, Self::Status, Self::Exe, Self::Cmdline, Self::Cgroup, Self::Environ, Self::Names];

    /// Its name, as in the metric that counts failures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Status => "status",
            Self::Exe => "exe",
            Self::Cmdline => "cmdline",
            Self::Cgroup => "cgroup",
            Self::Environ => "environ",
            Self::Names => "names",
        }
    }

    /// The fields that nobody knows where this part cannot be read; of the environment the wanted variables.
    #[must_use]
    pub fn fields(self, wanted_env: &BTreeSet<String>) -> Vec<Field> {
        match self {
            Self::Stat => of_ancestors(wanted_env).collect(),
            Self::Status => {
                let own = [Field::Uid, Field::Gid, Field::User, Field::Group];
                own.into_iter().chain(of_ancestors(wanted_env)).collect()
            }
            Self::Exe => [Field::Exe, Field::AncestorExe].into(),
            Self::Cmdline => [Field::Cmdline, Field::AncestorCmdline].into(),
            Self::Cgroup => iter::once(Field::Cgroup).chain(cgroup::DERIVED).collect(),
            Self::Environ => {
                let own = wanted_env.iter().map(|name| Field::Env(name.as_str().into()));
                own.chain(ancestor_env(wanted_env)).collect()
            }
            Self::Names => [Field::User, Field::Group].into(),
        }
    }
}

fn ancestor_env(wanted_env: &BTreeSet<String>) -> impl Iterator<Item = Field> {
    wanted_env.iter().map(|name| Field::AncestorEnv(name.as_str().into()))
}

/// All that is read of ancestors.
fn of_ancestors(wanted_env: &BTreeSet<String>) -> impl Iterator<Item = Field> {
    let fixed = [Field::AncestorComm, Field::AncestorExe, Field::AncestorCmdline];
    fixed.into_iter().chain(ancestor_env(wanted_env))
}

impl Reading {
    /// Marks as pending what could not be read of the process itself, and by then noted of its ancestors: not absent,
    /// or a later rule would bill somebody else. Of ancestors one that cannot be read is enough: it might match.
    fn await_unread(&mut self, own: &BTreeSet<Part>, wanted_env: &BTreeSet<String>) {
        let fields = |parts: &BTreeSet<Part>| -> Vec<Field> {
            parts.iter().flat_map(|part| part.fields(wanted_env)).collect()
        };
        let is_walked = !own.contains(&Part::Status);
        let own = fields(own).into_iter().filter(|field| !(is_walked && field.is_of_ancestors()));
        let above = fields(&self.unread).into_iter().filter(Field::is_of_ancestors);
        own.chain(above).for_each(|field| self.facts.set_pending(field));
    }
}

/// Why nothing could be read of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It ended, another one has its pid, or /proc hides it (`hidepid=2`). Normal: forget the process.
    Vanished,
    /// The exporter may not read it (`hidepid=1`): more privilege is needed.
    Denied,
    /// Its `stat` could not be read or makes no sense: try again later.
    Unreadable,
}

impl ReadError {
    /// Its name, as in the metric that counts failures.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Denied => "denied",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vanished => "no such process",
            Self::Denied => "/proc denies access: run as root, or mount it without hidepid",
            Self::Unreadable => "stat: not in the kernel's format",
        })
    }
}

impl std::error::Error for ReadError {}

impl Reader {
    /// A reader of the /proc file system at `root`, with the names of users and groups that this system
    /// knows.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_names(root, Names::system())
    }

    /// A reader with other names.
    #[must_use]
    pub fn with_names(root: impl Into<PathBuf>, names: Names) -> Self {
        Self { root: root.into(), names, ancestors: MAX_ANCESTORS }
    }

    /// Whether ancestors are read; they are, unless this says no.
    pub fn read_ancestors(&mut self, wanted: bool) {
        self.ancestors = if wanted { MAX_ANCESTORS } else { 0 };
    }

    /// The names of users and groups that it uses.
    pub fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    /// The process that has this pid now.
    ///
    /// # Errors
    /// Where there is none, or its start time cannot be read.
    pub fn key(&self, pid: u32) -> Result<ProcessKey, ReadError> {
        Ok(ProcessKey { pid, start: self.open(pid)?.stat()?.start })
    }

    /// The facts of a process; of its environment the variables in `wanted_env` only, by exact name.
    ///
    /// # Errors
    /// See [`Round::facts`].
    pub fn facts(&mut self, key: ProcessKey, wanted_env: &BTreeSet<String>) -> Result<Reading, ReadError> {
        self.round(wanted_env).facts(key)
    }

    /// To read several processes at once: ancestors that they share are read once.
    pub fn round<'a>(&'a mut self, wanted_env: &'a BTreeSet<String>) -> Round<'a> {
        Round { reader: self, wanted_env, ancestors: Ancestors::default() }
    }

    fn open(&self, pid: u32) -> Result<Folder, ReadError> {
        Folder::open(self.root.join(pid.to_string()))
    }

    fn set_ids(&mut self, uid: u32, gid: u32, reading: &mut Reading) {
        for (field, name) in [(Field::User, self.names.user(uid)), (Field::Group, self.names.group(gid))] {
            match name {
                Ok(name) => reading.facts.set(field, name.unwrap_or_default()),
                // Not absent: a rule that reads it must wait, or a later rule would bill somebody else.
                Err(NoAnswer) => {
                    reading.unread.insert(Part::Names);
                    reading.facts.set_pending(field);
                }
            }
        }
        reading.facts.set(Field::Uid, uid.to_string());
        reading.facts.set(Field::Gid, gid.to_string());
    }
}

/// Reads of processes at one time. What it has read of an ancestor holds for all of them, for as long as that lives.
#[derive(Debug)]
pub struct Round<'a> {
    reader: &'a mut Reader,
    wanted_env: &'a BTreeSet<String>,
    ancestors: Ancestors,
}

impl Round<'_> {
    /// The facts of a process.
    ///
    /// `uid` and `gid` are the real ones: who started the process pays, also where the program is setuid, and
    /// no process can take another user's real uid without privilege. The start time is compared before and
    /// after, so that facts of two processes with one pid are never mixed.
    ///
    /// # Errors
    /// Where the process is gone or nothing can be read of it; a part that cannot be read is no error.
    pub fn facts(&mut self, key: ProcessKey) -> Result<Reading, ReadError> {
        let mut folder = self.reader.open(key.pid)?;
        let before = folder.stat_of(key.start)?;
        let ids = folder.ids();
        let mut reading = Reading::default();
        cgroup::derive(&folder.text(Part::Cgroup), &mut reading.facts);
        folder.declared(&before, self.wanted_env).set(&mut reading.facts);
        if let Some((uid, gid)) = ids {
            self.reader.set_ids(uid, gid, &mut reading);
            self.add_ancestors(Walk { uid, child: key, parent: before.parent }, &mut reading);
        }
        reading.ending = folder.stat_of(key.start)?.ending;
        reading.await_unread(&folder.unread, self.wanted_env);
        reading.unread.append(&mut folder.unread);
        Ok(reading)
    }

    fn add_ancestors(&mut self, mut walk: Walk, reading: &mut Reading) {
        for _ in 0..self.reader.ancestors {
            match self.ancestor(&mut walk, &mut reading.unread) {
                Ok(Some(fields)) => reading.facts.push_ancestor(fields),
                Ok(None) | Err(ReadError::Vanished) => return,
                Err(ReadError::Denied | ReadError::Unreadable) => {
                    reading.unread.insert(Part::Stat);
                    return;
                }
            }
        }
    }

    /// Takes one step. A parent is never younger than its child: one that is has only got the parent's pid.
    fn ancestor(
        &mut self,
        walk: &mut Walk,
        unread: &mut BTreeSet<Part>,
    ) -> Result<Option<Fields>, ReadError> {
        if walk.parent <= 1 || walk.parent == walk.child.pid {
            return Ok(None);
        }
        let open = |pid| self.reader.open(pid);
        let ancestor = self.ancestors.meet(walk.child, walk.parent, open)?;
        let start = ancestor.stat.start;
        if start > walk.child.start || ancestor.uid != Some(walk.uid) {
            return Ok(None);
        }
        let fields = ancestor.fields(self.wanted_env)?.clone();
        unread.extend(&ancestor.folder.unread);
        walk.child = ProcessKey { pid: walk.parent, start };
        walk.parent = ancestor.stat.parent;
        Ok(Some(fields))
    }
}

/// Where a walk over the ancestors stands: the process reached last, and the pid of its parent.
struct Walk {
    uid: u32,
    child: ProcessKey,
    parent: u32,
}
