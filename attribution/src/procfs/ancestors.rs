//! The ancestors that processes share, read once in a round. Their folders stay open: what is read through one is of the
//! process it was opened for, also if another one gets the pid.

use super::ReadError;
use super::folder::Folder;
use super::parse::Stat;
use crate::facts::{Field, ProcessKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How many folders are held open.
const MOST_HELD: usize = 256;

/// What an ancestor says of itself.
pub(super) type Fields = BTreeMap<Field, String>;

/// The ancestors met in a round.
#[derive(Debug, Default)]
pub(super) struct Ancestors {
    by_pid: HashMap<u32, Ancestor>,
    /// Processes, and the parents they were seen with.
    seen: HashSet<(ProcessKey, u32)>,
}

/// A process that others come from.
#[derive(Debug)]
pub(super) struct Ancestor {
    pub(super) folder: Folder,
    pub(super) stat: Stat,
    /// The real one.
    pub(super) uid: Option<u32>,
    /// Read when first asked for.
    fields: Option<Fields>,
}

impl Ancestors {
    /// The parent of a process. One that it was seen with is not looked at again: no process gets another parent with
    /// the same pid.
    pub(super) fn meet(
        &mut self,
        child: ProcessKey,
        pid: u32,
        open: impl FnOnce(u32) -> Result<Folder, ReadError>,
    ) -> Result<&mut Ancestor, ReadError> {
        let was_seen = !self.seen.insert((child, pid));
        let is_known = self.by_pid.get_mut(&pid).is_some_and(|ancestor| was_seen || ancestor.lives());
        if !is_known {
            let ancestor = Ancestor::new(open(pid)?)?;
            if self.by_pid.len() >= MOST_HELD {
                self.by_pid.clear();
            }
            self.by_pid.insert(pid, ancestor);
        }
        self.by_pid.get_mut(&pid).ok_or(ReadError::Vanished)
    }
}

impl Ancestor {
    fn new(mut folder: Folder) -> Result<Self, ReadError> {
        let stat = folder.stat()?;
        let uid = folder.ids().map(|(uid, _)| uid);
        Ok(Self { folder, stat, uid, fields: None })
    }

    /// Whether it has not ended since. Under another name it runs another program, and says other things.
    fn lives(&mut self) -> bool {
        let Ok(stat) = self.folder.stat_of(self.stat.start) else { return false };
        if stat.comm != self.stat.comm {
            self.fields = None;
        }
        self.stat = stat;
        true
    }

    /// What it says of itself, of its environment the wanted variables only.
    pub(super) fn fields(&mut self, wanted_env: &BTreeSet<String>) -> Result<&Fields, ReadError> {
        let fields = match self.fields.take() {
            Some(fields) => fields,
            None => {
                let declared = self.folder.declared(&self.stat, wanted_env);
                self.folder.stat_of(self.stat.start)?;
                declared.into_ancestor()
            }
        };
        Ok(self.fields.insert(fields))
    }
}
