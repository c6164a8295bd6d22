//! What benches and fuzzers reach, with the feature `inside`; nobody else, and it may change at any time.

pub mod fuzzed;
