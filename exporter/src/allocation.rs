//! Allocations: who holds which GPU, as a scheduler says. What the schedulers' stages tell the account stage.
//!
//! Data only. Not done here: asking (`slurm`, `kubernetes`), and what follows for the books (`account`).

use std::collections::BTreeMap;
use std::sync::Arc;

use wattribute::facts::Facts;

/// The GPU, or the MIG instance of one, that a scheduler speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// `GPU-…` or `MIG-…`, as NVML writes it.
    #[cfg_attr(
        not(feature = "kubernetes"),
        allow(dead_code, reason = "only the kubelet speaks of UUIDs so far")
    )]
    Uuid(Arc<str>),
    /// The GPU's index, as NVML counts.
    Index(u32),
}

/// A part of a GPU that a job or pod holds, whether or not it has a process there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// What is held.
    pub device: Device,
    /// Replicas of a shared GPU, at least one; 1 where it is held whole.
    pub replicas: u64,
    /// What is known of the holder: `scheduler`, `job_id`, `namespace`, …; some may still be pending.
    pub facts: Arc<Facts>,
}

/// Everything that one scheduler has allocated on this machine, by a name that stays the holder's own while it holds
/// (`slurm:211`, `pod:ns/name/container`). It replaces what that scheduler said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocations {
    /// Which scheduler: `slurm`, `prolog` or `kubernetes`.
    pub source: &'static str,
    /// The rules' generation that the facts are read for; 0 at first. What is said for another than the one in force
    /// tells who holds and not who pays, and intervals wait: so it must be said again for every new one, changed or not.
    pub generation: u64,
    /// By the holder's name.
    pub held: BTreeMap<Arc<str>, Vec<Allocation>>,
}
