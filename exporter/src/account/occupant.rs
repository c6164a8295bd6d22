//! A process on a GPU as it stands in a snapshot: for the processes API and the page, only if they are enabled.
//!
//! Cheap to make and to clone: texts are shared with what the account stage holds anyway. It carries the process's facts,
//! secret ones too; what is shown of them is decided in `explain::report` and `expose::processes`.

use std::sync::Arc;

use wattribute::facts::{Evidence, Facts, Field, ProcessKey};
use wattribute::owner::Owner;
use wattribute::rules::Refusal;
use wattribute::split::Role;
use wattribute::units::Microseconds;

use super::claims::{Billing, Claims};
use super::gpu::Gpu;
use super::series::SeriesId;
use crate::clock::{self, Now};

/// Whether snapshots hold single processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Teams, and processes that have series.
    #[default]
    Teams,
    /// All processes too.
    Processes,
}

/// A process on a GPU.
#[derive(Clone, Debug)]
pub struct Occupant {
    pub process: ProcessKey,
    /// What the driver calls its MIG instance; `None` without MIG.
    pub mig_uuid: Option<Arc<str>>,
    /// Unix time in seconds; `None` where this machine does not know the process.
    pub started: Option<f64>,
    /// GPU memory in bytes.
    pub memory: Option<u64>,
    /// Share of the last interval in which it was busy.
    pub utilization: Option<f64>,
    /// Without those of the GPU; `None` where they have not come, or cannot be had.
    pub facts: Option<Arc<Facts>>,
    pub standing: Standing,
    /// The series that its energy is in, which may be the one of many processes.
    pub series: Option<SeriesId>,
}

/// What is decided of a process.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Who pays for it now.
    Billed {
        owner: Owner,
        /// Empty where no rule decided.
        rule: Arc<str>,
        evidence: Option<Evidence>,
        /// Why the owner is `unattributed`.
        reason: Option<Reason>,
        role: Role,
    },
    /// Nothing yet: it waits for this field, or for all facts.
    Waiting(Option<Field>),
}

/// Why a process is `unattributed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The rules say so.
    Refused(Refusal),
    /// Nothing could be read of it.
    Unreadable,
}

impl Reason {
    /// In snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.name(),
            Self::Unreadable => "facts_unreadable",
        }
    }
}

/// What the judge last said of a process on a GPU beside the billing.
#[derive(Clone, Debug, Default)]
pub struct Remark {
    pub refusal: Option<Refusal>,
    pub waits_for: Option<Field>,
}

/// The processes on a GPU.
pub fn list(gpu: &Gpu, now: Now, claims: &Claims) -> Vec<Occupant> {
    let boot = now.unix.saturating_sub(now.boot);
    let real = gpu.occupancy().filter(|((process, _), ..)| process.pid != 0);
    real.map(|((process, instance), memory, utilization)| {
        let spot = (Arc::clone(&gpu.card.uuid), instance);
        let billing = claims.billing(process, &spot);
        let (facts, remark) = claims.known(process, &spot);
        Occupant {
            process,
            mig_uuid: gpu.mig_uuid(instance),
            started: started(process, boot),
            memory,
            utilization,
            standing: standing(billing, remark.unwrap_or_default(), facts.is_some()),
            facts,
            series: billing.and_then(|billing| billing.series[0]),
        }
    })
    .collect()
}

fn started(process: ProcessKey, boot: Microseconds) -> Option<f64> {
    (process.start > 0).then(|| (boot + clock::started(process)).as_seconds())
}

fn standing(billing: Option<&Billing>, remark: Remark, has_facts: bool) -> Standing {
    let Some(billing) = billing else { return Standing::Waiting(remark.waits_for) };
    let refused = remark.refusal.filter(|_| has_facts).map(Reason::Refused);
    let unreadable = (!has_facts).then_some(Reason::Unreadable);
    Standing::Billed {
        owner: billing.owner.clone(),
        rule: Arc::clone(&billing.rule.rule),
        evidence: billing.rule.evidence,
        reason: refused.or(unreadable),
        role: billing.role,
    }
}
