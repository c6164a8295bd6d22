//! `/api/v1/processes`: who is on which GPU, billed to whom, by which rule, on what evidence; live, as JSON.
//!
//! Made of the latest snapshot, so that it asks nobody: no driver, no /proc, no scheduler. Never a command line, never a
//! value of an environment. The names are documented in `docs/api.md`; all keys are always there, `null` where a value
//! is not known. Called by [`super::routes`].

use super::overview;
use super::page::view;
use super::processes_query::Query;
use crate::account::occupant::{Occupant, Reason, Standing};
use crate::account::on_gpu;
use crate::account::snapshot::{GpuView, Snapshot};
use crate::explain::report::{Audience, Report};
use crate::explain::subject::{Origin, Subject};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use wattribute::facts::{Evidence, Field};
use wattribute::split::Role;

/// How many rows the page has.
const PAGE_ROWS: usize = 100;

/// The latest snapshot, and what is said beside it.
#[derive(Default)]
pub struct Listing {
    pub snapshot: Arc<Snapshot>,
    /// The machine's name.
    pub host: Arc<str>,
    /// As in the metric `source_info`.
    pub source: &'static str,
    pub rules: overview::Rules,
    /// When the snapshot was taken, Unix time in seconds.
    pub generated: f64,
}

/// The answer to a question for all processes.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    host: &'a str,
    generated: f64,
    source: &'a str,
    rules: Rules,
    /// How many processes the question is about.
    processes: usize,
    /// Whether some of them are left out by `limit` or `offset`.
    truncated: bool,
    gpus: Vec<Gpu<'a>>,
}

#[derive(Debug, Serialize)]
struct Rules {
    state: &'static str,
    count: usize,
}

#[derive(Debug, Serialize)]
struct Gpu<'a> {
    uuid: &'a str,
    index: u32,
    model: &'a str,
    up: bool,
    processes: Vec<Process<'a>>,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    pid: u32,
    start_time: Option<f64>,
    comm: Option<&'a str>,
    user: Option<&'a str>,
    workload: Option<String>,
    owner: Option<BTreeMap<&'a str, &'a str>>,
    rule: Option<&'a str>,
    evidence: Option<&'static str>,
    /// Why the owner is `unattributed`.
    refusal: Option<&'static str>,
    /// The fact that the verdict waits for; `facts` where it is all of them.
    waits_for: Option<String>,
    /// Whether `ignore:` names it, so that it holds no GPU.
    ignored: bool,
    memory_bytes: Option<u64>,
    sm_utilization: Option<f64>,
    energy_joules: Option<f64>,
}

/// The answer to a question for one process: a report for each GPU it is on.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    host: &'a str,
    generated: f64,
    explanations: Vec<Report>,
}

impl Listing {
    /// The answer to a question; `None` where it is for a process that is on no GPU.
    ///
    /// # Errors
    /// If it cannot be written, which would be a bug.
    pub fn answer(&self, query: &Query) -> serde_json::Result<Option<String>> {
        if let Some(pid) = query.pid {
            let explanations = self.explain(pid, query);
            let found = !explanations.is_empty();
            let explained = Explained { host: &self.host, generated: self.generated, explanations };
            return if found { crate::explain::json(&explained).map(Some) } else { Ok(None) };
        }
        serde_json::to_string(&self.list(query)).map(Some)
    }

    fn gpus(&self, query: &Query) -> impl Iterator<Item = &GpuView> {
        let mut gpus: Vec<&GpuView> = self.snapshot.gpus.iter().collect();
        gpus.sort_by_key(|gpu| gpu.card.index);
        let wanted = query.gpu.clone();
        gpus.into_iter().filter(move |gpu| wanted.as_ref().is_none_or(|wanted| wanted.names(gpu)))
    }

    fn list(&self, query: &Query) -> Answer<'_> {
        let processes = self.gpus(query).map(|gpu| gpu.occupants.len()).sum();
        let (mut skip, mut room) = (query.offset, query.limit);
        let gpus = self.gpus(query).map(|gpu| {
            let shown: Vec<Process<'_>> =
                gpu.occupants.iter().skip(skip).take(room).map(|one| self.process(one)).collect();
            skip = skip.saturating_sub(gpu.occupants.len());
            room -= shown.len();
            let card = &gpu.card;
            Gpu { uuid: &card.uuid, index: card.index, model: &card.model, up: gpu.up, processes: shown }
        });
        let gpus: Vec<Gpu<'_>> = gpus.collect();
        let shown: usize = gpus.iter().map(|gpu| gpu.processes.len()).sum();
        let state = match self.rules {
            overview::Rules::None => "none",
            overview::Rules::InForce { .. } => "in_force",
            overview::Rules::Refused { .. } => "refused",
        };
        Answer {
            host: &self.host,
            generated: self.generated,
            source: self.source,
            rules: Rules { state, count: self.snapshot.rules.rule_count() },
            processes,
            truncated: shown < processes,
            gpus,
        }
    }

    fn process<'a>(&self, one: &'a Occupant) -> Process<'a> {
        let text = |field| one.facts.as_ref().map(|facts| facts.text(&field)).filter(|text| !text.is_empty());
        let mut process = Process {
            pid: one.process.pid,
            start_time: one.started,
            comm: text(Field::Comm),
            user: text(Field::User),
            workload: one.facts.as_ref().and_then(|facts| facts.workload()),
            owner: None,
            rule: None,
            evidence: None,
            refusal: None,
            waits_for: None,
            ignored: false,
            memory_bytes: one.memory,
            sm_utilization: one.utilization,
            energy_joules: self.energy(one),
        };
        match &one.standing {
            Standing::Waiting(field) => {
                process.waits_for = Some(field.as_ref().map_or("facts".into(), ToString::to_string));
            }
            Standing::Billed { owner, rule, evidence, reason, role } => {
                process.owner = Some(owner.labels().collect());
                process.rule = Some(&**rule).filter(|rule| !rule.is_empty());
                process.evidence = evidence.map(Evidence::name);
                process.refusal = reason.map(Reason::name);
                process.ignored = *role == Role::Ignored;
            }
        }
        process
    }

    /// What a process has been accounted so far, seen or not yet; `None` where it has no series of its own.
    fn energy(&self, one: &Occupant) -> Option<f64> {
        let id = one.series?;
        // The series that sums many has no owner.
        self.snapshot.series.get(&id)?.owner.as_ref()?;
        let books = [&self.snapshot.visible, &self.snapshot.hidden];
        let energy = books.iter().filter_map(|book| book.series.get(&id)).map(|amounts| amounts.energy);
        Some(energy.sum::<wattribute::units::Millijoules>().as_joules())
    }

    fn explain(&self, pid: u32, query: &Query) -> Vec<Report> {
        let mut reports = Vec::new();
        for gpu in self.gpus(query) {
            for one in gpu.occupants.iter().filter(|one| one.process.pid == pid) {
                let facts = one.facts.as_deref().cloned().unwrap_or_default();
                let notes = match (&one.facts, &one.standing) {
                    (Some(_), _) => Vec::new(),
                    (None, Standing::Waiting(_)) => vec!["its facts are still being read".into()],
                    (None, Standing::Billed { .. }) => vec!["its facts could not be read".into()],
                };
                let subject = Subject {
                    facts: on_gpu(&facts, &gpu.card, one.mig_uuid.as_deref(), &self.host),
                    origin: Origin::Process { pid, procfs: "/proc".into() },
                    start_time: one.started,
                    notes,
                };
                reports.push(Report::new(subject, &self.snapshot.rules, Audience::Web));
            }
        }
        reports
    }

    /// The rows of the page, the busiest first.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    pub fn table(&self) -> view::Processes {
        let gpus = self.snapshot.gpus.iter();
        let mut all: Vec<(&GpuView, &Occupant)> =
            gpus.flat_map(|gpu| gpu.occupants.iter().map(move |one| (gpu, one))).collect();
        let count = all.len();
        let busy = |one: &Occupant| one.utilization.unwrap_or_default();
        all.sort_by(|(_, a), (_, b)| busy(b).total_cmp(&busy(a)));
        all.truncate(PAGE_ROWS);
        let row = |(gpu, one): &(&GpuView, &Occupant)| {
            let process = self.process(one);
            let waits = process.waits_for.map(|field| format!("waits for {field}"));
            let owner = match &one.standing {
                Standing::Billed { owner, .. } => Some(owner.clone()),
                Standing::Waiting(_) => None,
            };
            view::Process {
                gpu: gpu.card.index,
                pid: process.pid,
                comm: process.comm.unwrap_or_default().into(),
                user: process.user.unwrap_or_default().into(),
                workload: process.workload.unwrap_or_default(),
                owner,
                rule: waits
                    .or(process.rule.map(str::to_owned))
                    .or(process.refusal.map(str::to_owned))
                    .unwrap_or_default(),
                evidence: process.evidence.unwrap_or_default().into(),
                memory_bytes: process.memory_bytes.map(|bytes| bytes as f64),
                utilization_ratio: process.sm_utilization,
            }
        };
        view::Processes { rows: all.iter().map(row).collect(), all: count }
    }
}
