//! What stands in the state file: JSON, version 1. Energies are millijoules, times microseconds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wattribute::facts::Evidence;
use wattribute::ledger::Ledger;
use wattribute::meter::{Counter, Reading};
use wattribute::owner::Owner;
use wattribute::split::Amounts;
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

use crate::account::book::{Book, RuleKey, SeriesAmounts};
use crate::account::series::{SeriesId, SeriesLabels, Subject};
use crate::account::snapshot::Snapshot;
use crate::account::{Inheritance, Progress};
use crate::explain::visible;

const VERSION: u32 = 1;

/// What is written borrows from the snapshot, for it is written every second.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    /// Which boot the monotonic times count from.
    boot_id: Cow<'a, str>,
    gpus: BTreeMap<Arc<str>, Gpu>,
    /// What had been exposed.
    visible: Sheet<'a>,
    /// What had been accounted and was still to be exposed.
    hidden: Sheet<'a>,
    series: Vec<Series<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gpu {
    /// The hardware counter at its last reading; absent where there is none.
    counter: Option<u64>,
    /// When that was.
    at: u64,
    /// Learnt, in milliwatts.
    idle_power: Option<u64>,
}

/// An owner's labels.
type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// A book.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet<'a> {
    gpus: BTreeMap<Arc<str>, Account<'a>>,
    /// Rule, evidence, energy.
    rules: Vec<(Arc<str>, Cow<'a, str>, u64)>,
    /// Series number, energy, time held.
    series: Vec<(u64, u64, u64)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account<'a> {
    energy: u64,
    resets: u64,
    disbelieved: u64,
    /// Active, idle, estimated, held, busy.
    owners: Vec<(Labels<'a>, [u64; 5])>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series<'a> {
    number: u64,
    uuid: Arc<str>,
    subject: SubjectLabels<'a>,
    owner: Option<Labels<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SubjectLabels<'a> {
    Process { pid: Cow<'a, str>, comm: Cow<'a, str>, user: Cow<'a, str>, workload: Cow<'a, str> },
    Workload(Cow<'a, str>),
}

/// Writes a snapshot as state.
///
/// # Errors
/// If `out` does not take it.
pub fn write(snapshot: &Snapshot, boot_id: &str, out: impl io::Write) -> Result<(), serde_json::Error> {
    let gpu = |progress: &Progress| {
        let counter = progress.last.and_then(|last| match last.counter {
            Counter::Value(value) => Some(value.0),
            Counter::Unsupported | Counter::Failed => None,
        });
        let at = progress.last.map_or(0, |last| last.at.0);
        Gpu { counter, at, idle_power: progress.idle_power.map(|power| power.0) }
    };
    let file = File {
        version: VERSION,
        boot_id: boot_id.into(),
        gpus: snapshot.progress.iter().map(|(uuid, progress)| (Arc::clone(uuid), gpu(progress))).collect(),
        visible: Sheet::from(&snapshot.visible),
        hidden: Sheet::from(&snapshot.hidden),
        series: snapshot.series.iter().map(Series::from).collect(),
    };
    serde_json::to_writer(out, &file)
}

impl<'a> From<(&SeriesId, &'a Arc<SeriesLabels>)> for Series<'a> {
    fn from((id, labels): (&SeriesId, &'a Arc<SeriesLabels>)) -> Self {
        let subject = match &labels.subject {
            Subject::Process { pid, comm, user, workload } => SubjectLabels::Process {
                pid: pid.into(),
                comm: comm.into(),
                user: user.into(),
                workload: workload.into(),
            },
            Subject::Workload(name) => SubjectLabels::Workload(name.into()),
        };
        Self {
            number: id.0,
            uuid: Arc::clone(&labels.uuid),
            subject,
            owner: labels.owner.as_ref().map(pairs),
        }
    }
}

/// A state that was read and found to be sound.
#[derive(Debug)]
pub struct State(File<'static>);

/// Reads a state.
///
/// # Errors
/// What is wrong with the text.
pub fn read(text: &str) -> Result<State, String> {
    let file: File<'static> = serde_json::from_str(text).map_err(|error| visible(&error.to_string()))?;
    if file.version != VERSION {
        return Err(format!("version {} is not {VERSION}", file.version));
    }
    for (uuid, account) in file.visible.gpus.iter().chain(&file.hidden.gpus) {
        let owned: u128 = account
            .owners
            .iter()
            .map(|(_, [active, idle, ..])| u128::from(*active) + u128::from(*idle))
            .sum();
        if owned != u128::from(account.energy) {
            return Err(format!("gpu {uuid}: the energy of its owners is not its own"));
        }
    }
    Ok(State(file))
}

impl State {
    /// The same as text.
    #[cfg(any(test, feature = "inside"))]
    pub fn text(&self) -> Result<String, String> {
        serde_json::to_string(&self.0).map_err(|error| error.to_string())
    }

    /// What the state leaves to this run. Series get new numbers from `enter`, which may have no room for them.
    ///
    /// The times in it count from the same moment as `now` only if it was written in this boot. Where either does not
    /// know its boot, nobody knows what the counters have gained since: there is no gap.
    pub fn inherit(
        self,
        (boot_id, now): (&str, Microseconds),
        enter: impl FnMut(SeriesLabels) -> Option<SeriesId>,
    ) -> Inheritance {
        let Self(file) = self;
        let numbers = file.series.iter().map(|series| series.number);
        let ids: Vec<u64> = numbers.collect();
        let entered = file.series.into_iter().map(SeriesLabels::from).map(enter);
        let numbers: BTreeMap<u64, SeriesId> =
            ids.into_iter().zip(entered).filter_map(|(number, id)| Some((number, id?))).collect();
        let since = match (boot_id, &*file.boot_id) {
            ("", _) | (_, "") => {
                tracing::warn!("the boot is not known: what was drawn since the last run is not accounted");
                Since::Unknown
            }
            (now_in, then_in) if now_in == then_in => Since::SameBoot(now),
            _ => Since::OtherBoot,
        };
        Inheritance {
            visible: file.visible.into_book(&numbers),
            hidden: file.hidden.into_book(&numbers),
            gpus: file.gpus.into_iter().map(|(uuid, gpu)| (uuid, gpu.into_progress(since))).collect(),
        }
    }
}

/// What lies between a state and this run.
#[derive(Clone, Copy)]
enum Since {
    /// The boot is the same, and it is now that time.
    SameBoot(Microseconds),
    OtherBoot,
    Unknown,
}

impl Gpu {
    /// Since another boot the counter has counted from zero, and the monotonic clock too.
    fn into_progress(self, since: Since) -> Progress {
        let read = |(at, counter)| Reading {
            at: Microseconds(at),
            counter: Counter::Value(Millijoules(counter)),
            power: None,
        };
        let last = self.counter.and_then(|counter| match since {
            Since::SameBoot(now) if self.at <= now.0 => Some((self.at, counter)),
            Since::SameBoot(_) | Since::OtherBoot => Some((0, 0)),
            Since::Unknown => None,
        });
        Progress { last: last.map(read), idle_power: self.idle_power.map(Milliwatts) }
    }
}

impl<'a> From<&'a Book> for Sheet<'a> {
    fn from(book: &'a Book) -> Self {
        let owner = |(owner, one): (&'a Owner, &Amounts)| {
            (pairs(owner), [one.active.0, one.idle.0, one.estimated.0, one.held.0, one.busy.0])
        };
        let gpus = book.ledger.gpus().map(|(uuid, account)| {
            let owners = account.owners.iter().map(owner).collect();
            let (energy, disbelieved) = (account.energy.0, account.disbelieved.0);
            (Arc::clone(uuid), Account { energy, resets: account.resets, disbelieved, owners })
        });
        let evidence = |key: &RuleKey| Cow::Borrowed(key.evidence.map_or("", Evidence::name));
        Self {
            gpus: gpus.collect(),
            rules: book
                .rules
                .iter()
                .map(|(key, sum)| (Arc::clone(&key.rule), evidence(key), sum.0))
                .collect(),
            series: book.series.iter().map(|(id, sums)| (id.0, sums.energy.0, sums.held.0)).collect(),
        }
    }
}

impl Sheet<'_> {
    fn into_book(self, numbers: &BTreeMap<u64, SeriesId>) -> Book {
        let mut ledger = Ledger::default();
        for (uuid, sums) in self.gpus {
            let account = ledger.gpu(&uuid);
            account.energy = Millijoules(sums.energy);
            account.resets = sums.resets;
            account.disbelieved = Millijoules(sums.disbelieved);
            for (labels, amounts) in sums.owners {
                *account.owners.entry(Owner::new(labels)).or_default() += to_amounts(amounts);
            }
        }
        let rule = |(rule, evidence, energy): (Arc<str>, Cow<'_, str>, u64)| {
            (RuleKey { rule, evidence: Evidence::parse(&evidence) }, Millijoules(energy))
        };
        let mut series: BTreeMap<SeriesId, SeriesAmounts> = BTreeMap::new();
        for (number, energy, held) in self.series {
            if let Some(id) = numbers.get(&number) {
                let amounts = SeriesAmounts { energy: Millijoules(energy), held: Microseconds(held) };
                *series.entry(*id).or_default() += amounts;
            }
        }
        Book { ledger, rules: self.rules.into_iter().map(rule).collect(), series }
    }
}

impl From<Series<'_>> for SeriesLabels {
    fn from(series: Series<'_>) -> Self {
        let subject = match series.subject {
            SubjectLabels::Process { pid, comm, user, workload } => Subject::Process {
                pid: pid.into_owned(),
                comm: comm.into_owned(),
                user: user.into_owned(),
                workload: workload.into_owned(),
            },
            SubjectLabels::Workload(name) => Subject::Workload(name.into_owned()),
        };
        Self { uuid: series.uuid, subject, owner: series.owner.map(Owner::new) }
    }
}

fn pairs(owner: &Owner) -> Labels<'_> {
    owner.labels().map(|(label, value)| (label.into(), value.into())).collect()
}

fn to_amounts([active, idle, estimated, held, busy]: [u64; 5]) -> Amounts {
    Amounts {
        active: Millijoules(active),
        idle: Millijoules(idle),
        estimated: Millijoules(estimated),
        held: Microseconds(held),
        busy: Microseconds(busy),
    }
}
