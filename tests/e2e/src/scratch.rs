//! Folders for what a test writes: one per test, below the target's `tmp`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, thread};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A folder of one test's own. It goes when the test passes and stays when the test fails.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder; the name is for the person who finds it.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let program = env::current_exe().expect("a test has a path");
        let target = program.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
        let tmp = target.map_or_else(env::temp_dir, |target| target.join("tmp"));
        Self::below(&tmp, name)
    }

    /// An empty folder somewhere else, for what other users must be able to enter.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn below(parent: &Path, name: &str) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self(folder)
    }

    /// A path inside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file inside; gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("left for inspection: {}", self.0.display());
        } else {
            // What cannot be removed is no reason to fail a test that has passed.
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
