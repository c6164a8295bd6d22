//! The process and workload series: which exist, what their labels are, and how many there may be.
//!
//! Admission is sticky. A newcomer beyond the limit is summed as `other`, one for each GPU, and stays there, so
//! that no counter falls. A series goes five minutes after the last process in it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wattribute::owner::Owner;
use wattribute::units::Microseconds;

/// The value of the identifying labels of the series that sums what is beyond the limit.
pub const OTHER: &str = "other";

/// Names a series in books; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId(pub u64);

/// What kind of thing a series counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Process { pid: String, comm: String, user: String, workload: String },
    Workload(String),
}

impl Subject {
    fn other(&self) -> Self {
        match self {
            Self::Process { .. } => Self::Process {
                pid: OTHER.into(),
                comm: String::new(),
                user: String::new(),
                workload: String::new(),
            },
            Self::Workload(_) => Self::Workload(OTHER.into()),
        }
    }

    fn is_other(&self) -> bool {
        matches!(self, Self::Process { pid: name, .. } | Self::Workload(name) if name == OTHER)
    }
}

/// The labels of a series, fixed at first sight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesLabels {
    pub uuid: Arc<str>,
    pub subject: Subject,
    /// `None` for `other`, which has many.
    pub owner: Option<Owner>,
}

/// A series: its labels, and whether anything in it still lives.
#[derive(Clone, Debug)]
struct Entry {
    labels: Arc<SeriesLabels>,
    living: usize,
    ended: Option<Microseconds>,
}

/// All series of one kind.
#[derive(Debug, Default)]
pub struct SeriesTable {
    limit: usize,
    /// How many are sums of what is beyond the limit; they take no room.
    others: usize,
    by_labels: BTreeMap<Arc<SeriesLabels>, SeriesId>,
    entries: BTreeMap<SeriesId, Entry>,
}

impl SeriesTable {
    /// A table of at most `limit` series and one `other` for each GPU; with 0 there are none at all.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The series for these labels, with one more living thing in it; `None` where series are switched off.
    pub fn enter(&mut self, labels: SeriesLabels, ids: &mut u64) -> Option<SeriesId> {
        if self.limit == 0 {
            return None;
        }
        let labels = if self.admits(&labels) {
            labels
        } else {
            SeriesLabels { subject: labels.subject.other(), owner: None, ..labels }
        };
        let labels = Arc::new(labels);
        let id = *self.by_labels.entry(Arc::clone(&labels)).or_insert_with(|| {
            *ids += 1;
            self.others += usize::from(labels.subject.is_other());
            SeriesId(*ids)
        });
        let entry = self.entries.entry(id).or_insert_with(|| Entry { labels, living: 0, ended: None });
        entry.living += 1;
        entry.ended = None;
        Some(id)
    }

    /// Whether these labels have a series of their own, or can have one.
    pub fn admits(&self, labels: &SeriesLabels) -> bool {
        let has_room = self.by_labels.len() - self.others < self.limit;
        self.by_labels.contains_key(labels) || has_room || (labels.subject.is_other() && self.limit > 0)
    }

    /// One thing in the series ended.
    pub fn leave(&mut self, id: SeriesId, at: Microseconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.living = entry.living.saturating_sub(1);
            if entry.living == 0 {
                entry.ended = Some(at);
            }
        }
    }

    /// Removes the series that ended before `horizon` and says which. `other` stays: it ends with its GPU.
    pub fn expire(&mut self, horizon: Microseconds) -> Vec<SeriesId> {
        let expired = |entry: &Entry| {
            !entry.labels.subject.is_other() && entry.ended.is_some_and(|ended| ended < horizon)
        };
        let gone: Vec<SeriesId> =
            self.entries.iter().filter(|(_, entry)| expired(entry)).map(|(id, _)| *id).collect();
        for id in &gone {
            if let Some(entry) = self.entries.remove(id) {
                self.by_labels.remove(&entry.labels);
            }
        }
        gone
    }

    /// The series, by age.
    pub fn iter(&self) -> impl Iterator<Item = (SeriesId, &Arc<SeriesLabels>)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.labels))
    }
}

/// The labels of all series. Snapshots share it until a series comes or goes.
pub type Labelled = Arc<BTreeMap<SeriesId, Arc<SeriesLabels>>>;

/// All series: those of processes, and those of workloads.
#[derive(Debug)]
pub struct Register {
    processes: SeriesTable,
    workloads: SeriesTable,
    last_id: u64,
    /// As of the last snapshot; `None` where a series has come or gone since.
    labelled: Option<Labelled>,
}

impl Register {
    /// None yet, and room for so many of processes and of workloads.
    pub fn new([processes, workloads]: [usize; 2]) -> Self {
        let (processes, workloads) = (SeriesTable::new(processes), SeriesTable::new(workloads));
        Self { processes, workloads, last_id: 0, labelled: None }
    }

    /// The series for these labels, with one more living thing in it; `None` where such series are switched off.
    pub fn enter(&mut self, labels: SeriesLabels) -> Option<SeriesId> {
        let table = match labels.subject {
            Subject::Process { .. } => &mut self.processes,
            Subject::Workload(_) => &mut self.workloads,
        };
        let last = self.last_id;
        let id = table.enter(labels, &mut self.last_id);
        if self.last_id != last {
            self.labelled = None;
        }
        id
    }

    /// One thing in each of these series ended.
    pub fn leave(&mut self, ids: [Option<SeriesId>; 2], at: Microseconds) {
        for id in ids.into_iter().flatten() {
            self.processes.leave(id, at);
            self.workloads.leave(id, at);
        }
    }

    /// Removes series that ended before `horizon` and says which.
    pub fn expire(&mut self, horizon: Microseconds) -> BTreeSet<SeriesId> {
        let workloads = self.workloads.expire(horizon);
        let gone: BTreeSet<SeriesId> = self.processes.expire(horizon).into_iter().chain(workloads).collect();
        if !gone.is_empty() {
            self.labelled = None;
        }
        gone
    }

    /// Takes over a series of an earlier run, whose members may have ended meanwhile.
    pub fn restore(&mut self, labels: SeriesLabels, at: Microseconds) -> Option<SeriesId> {
        let table = match labels.subject {
            Subject::Process { .. } => &self.processes,
            Subject::Workload(_) => &self.workloads,
        };
        // What is beyond a limit that was lowered is dropped: in `other` it would be shown a second time.
        if !table.admits(&labels) {
            return None;
        }
        let id = self.enter(labels)?;
        self.leave([Some(id), None], at);
        Some(id)
    }

    /// The labels of all of them.
    pub fn labelled(&mut self) -> Labelled {
        let Self { processes, workloads, labelled, .. } = self;
        let all = || processes.iter().chain(workloads.iter()).map(|(id, labels)| (id, Arc::clone(labels)));
        Arc::clone(labelled.get_or_insert_with(|| Arc::new(all().collect())))
    }

    /// All of them.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (SeriesId, &Arc<SeriesLabels>)> {
        self.processes.iter().chain(self.workloads.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pid: u32) -> SeriesLabels {
        let (comm, user, workload) = ("python".into(), "alice".into(), String::new());
        let subject = Subject::Process { pid: pid.to_string(), comm, user, workload };
        SeriesLabels { uuid: "GPU-0".into(), subject, owner: Some(Owner::new([("team", "a")])) }
    }

    fn names(table: &SeriesTable) -> Vec<String> {
        table
            .iter()
            .map(|(_, labels)| match &labels.subject {
                Subject::Process { pid, .. } => pid.clone(),
                Subject::Workload(name) => name.clone(),
            })
            .collect()
    }

    #[test]
    fn newcomers_beyond_the_limit_share_one_series() {
        let (mut table, mut ids) = (SeriesTable::new(2), 0);
        let entered: Vec<_> = (1..=4).map(|pid| table.enter(labels(pid), &mut ids)).collect();
        assert_eq!(names(&table), ["1", "2", "other"]);
        assert_eq!(entered[2], entered[3]);
    }

    #[test]
    fn a_series_goes_after_its_last_process() {
        let (mut table, mut ids) = (SeriesTable::new(9), 0);
        let id = table.enter(labels(1), &mut ids).unwrap();
        assert_eq!(table.enter(labels(1), &mut ids), Some(id));
        table.leave(id, Microseconds(5));
        assert_eq!(table.expire(Microseconds(100)), []);
        table.leave(id, Microseconds(7));
        assert_eq!(table.expire(Microseconds(7)), []);
        assert_eq!(table.expire(Microseconds(8)), [id]);
        assert_eq!(names(&table), [""; 0]);
    }

    #[test]
    fn snapshots_share_the_labels_until_a_series_comes_or_goes() {
        let mut register = Register::new([9, 9]);
        let id = register.enter(labels(1));
        let first = register.labelled();
        assert!(register.enter(labels(1)) == id && Arc::ptr_eq(&first, &register.labelled()));
        register.enter(labels(2));
        assert_eq!(register.labelled().len(), 2);
        register.leave([id, None], Microseconds(5));
        register.leave([id, None], Microseconds(5));
        register.expire(Microseconds(6));
        assert_eq!(register.labelled().len(), 1);
    }

    #[test]
    fn a_limit_of_zero_means_none() {
        assert_eq!(SeriesTable::new(0).enter(labels(1), &mut 0), None);
    }
}
