//! The harness itself, with Prometheus in the part of the exporter: it has the same paths and flag for its address.

#[cfg(test)]
mod programs;
