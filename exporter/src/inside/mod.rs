//! Ways into the exporter for benches and fuzzers, which the feature `inside` opens. Nothing else may use them.

pub mod fuzzed;
pub mod measured;
