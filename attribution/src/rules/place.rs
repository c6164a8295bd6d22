//! Where something stands in the rules files: kept for warnings, which come after loading.

use std::sync::Arc;

use super::problem::{Fault, Problem};

/// A file and a line of it, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub file: Arc<str>,
    pub line: usize,
}

impl Place {
    /// The same file, another line.
    pub fn at(&self, line: usize) -> Self {
        Self { file: Arc::clone(&self.file), line }
    }

    /// What is doubtful here, inside of what is named.
    pub fn warn(&self, within: Option<String>, fault: Fault) -> Problem {
        let Fault { key, message, help } = fault;
        Problem { file: self.file.to_string(), line: self.line, within, key, message, help }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
