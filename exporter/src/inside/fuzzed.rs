//! Every parser, as the fuzzers in `fuzz/` call them.

pub use crate::fuzz::{Outcome, Target, targets};
