//! The state on disk: what a restart must not lose. Written atomically, and before anything in it is shown.
//!
//! Knows files and their faults; [`format`] knows what stands in them. The publisher writes, `serve` reads once,
//! `doctor` looks.

pub mod format;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, access, flock};

use crate::clock;

const NAME: &str = "state.json";
const LOCK: &str = "lock";
/// Bytes that are brought to the file at a time.
const BUFFER: usize = 32 * 1024;

/// A state directory, held by this process alone.
#[derive(Debug)]
pub struct StateDir {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another exporter has it.
    Taken,
    /// It cannot be made or written to.
    Io(io::Error),
}

/// How a folder stands that a state could be kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be made.
    Missing,
    Free,
    /// Another exporter has it.
    Taken,
}

/// Looks whether a folder could be opened, and leaves nothing behind.
///
/// # Errors
/// Why it could not.
pub fn look(folder: &Path) -> io::Result<Standing> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK)?;
    if existing != folder {
        return Ok(Standing::Missing);
    }
    match OpenOptions::new().write(true).open(folder.join(LOCK)) {
        Err(error) => not_there(error).map(|()| Standing::Free),
        Ok(lock) => match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Standing::Free),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Standing::Taken),
            Err(error) => Err(error.into()),
        },
    }
}

/// The state in a folder, if there is one.
///
/// # Errors
/// If there is one and it cannot be read.
pub fn read(folder: &Path) -> io::Result<Option<String>> {
    match fs::read(folder.join(NAME)) {
        // What is not UTF-8 is no state either, and is found out by who parses it.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => not_there(error).map(|()| None),
    }
}

impl StateDir {
    /// Opens the directory, made if need be, for this process alone.
    ///
    /// # Errors
    /// If another process holds it, or it cannot be written to.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(folder).map_err(OpenError::Io)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(OpenError::Io)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => OpenError::Taken,
            error => OpenError::Io(error.into()),
        })?;
        Ok(Self { folder: folder.into(), _lock: lock })
    }

    /// The state that an earlier run left, if it left one.
    ///
    /// # Errors
    /// If there is one and it cannot be read.
    pub fn read(&self) -> io::Result<Option<String>> {
        read(&self.folder)
    }

    /// Moves a state that cannot be used out of the way, and says where it is now.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.folder.join(format!("{NAME}.unusable-{}", clock::unix().0 / 1_000_000));
        fs::rename(self.file(), &aside)?;
        Ok(aside)
    }

    /// Writes the state, as `fill` says it, so that a crash at any moment leaves the old one or this one, whole and on disk.
    ///
    /// # Errors
    /// If it cannot be written; then the old one is removed, so that the next run begins at zero and not in the past.
    pub fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.replace(fill).inspect_err(|_| {
            let removed = fs::remove_file(self.file()).and_then(|()| File::open(&self.folder)?.sync_data());
            if let Err(error) = removed.or_else(not_there) {
                tracing::error!(%error, file = %self.file().display(), "the old state could not be removed either");
            }
        })
    }

    fn replace(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let temporary = self.folder.join(format!("{NAME}.tmp"));
        // It names users and programs.
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        let mut text = BufWriter::with_capacity(BUFFER, file);
        fill(&mut text)?;
        text.into_inner()?.sync_data()?;
        fs::rename(&temporary, self.file())?;
        File::open(&self.folder)?.sync_data()
    }

    fn file(&self) -> PathBuf {
        self.folder.join(NAME)
    }
}

fn not_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wattribute-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_was_written_is_read() {
        let path = folder("round-trip");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.read().unwrap(), None);
        state.write(|file| file.write_all(b"one")).unwrap();
        state.write(|file| file.write_all(b"two")).unwrap();
        assert_eq!(state.read().unwrap().as_deref(), Some("two"));
        let mode = fs::metadata(state.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "others have no business in it");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_look_leaves_nothing_behind_and_sees_who_has_it() {
        let path = folder("look");
        assert_eq!(look(&path).unwrap(), Standing::Missing);
        assert!(!path.exists());
        let held = StateDir::open(&path).unwrap();
        assert_eq!(look(&path).unwrap(), Standing::Taken);
        drop(held);
        assert_eq!(look(&path).unwrap(), Standing::Free);
        assert_eq!(look(&path.join("lock/below")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_state_directory_has_one_master() {
        let path = folder("lock");
        let held = StateDir::open(&path).unwrap();
        assert!(matches!(StateDir::open(&path), Err(OpenError::Taken)));
        drop(held);
        StateDir::open(&path).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_state_that_cannot_be_written_is_removed() {
        let path = folder("remove");
        let state = StateDir::open(&path).unwrap();
        state.write(|file| file.write_all(b"old")).unwrap();
        fs::create_dir(path.join("state.json.tmp")).unwrap();
        assert!(state.write(|file| file.write_all(b"new")).is_err());
        assert_eq!(state.read().unwrap(), None);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn an_unusable_state_is_set_aside() {
        let path = folder("aside");
        let state = StateDir::open(&path).unwrap();
        state.write(|file| file.write_all(b"{")).unwrap();
        let aside = state.set_aside().unwrap();
        assert_eq!(state.read().unwrap(), None);
        assert_eq!(fs::read_to_string(aside).unwrap(), "{");
        fs::remove_dir_all(path).unwrap();
    }
}
