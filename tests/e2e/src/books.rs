//! What must hold of the accounts in every scrape, whatever happens: Σ teams is the device, no counter falls, every
//! series begins at 0. And what the fake driver's counter said, to compare them with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_nvml::{Entry, Journal};

use crate::exporter::Exporter;
use crate::text::{Sample, Scrape};
use crate::wait::PATIENCE;

/// Counters that are not accounts: they count what this run of the exporter did, and begin with it.
const OF_THE_RUN: &[&str] =
    &["wattribute_nvml_", "wattribute_identify_failures_total", "process_", "wattribute_build_info"];

/// Accounts that go some minutes after whoever they are of.
const ENDING: &[&str] = &["wattribute_process_", "wattribute_workload_"];

/// The energy of each GPU, as exposed.
const DEVICE: &str = "wattribute_gpu_energy_joules_total";
/// The energy of each owner on each GPU.
const TEAM: &str = "wattribute_team_energy_joules_total";
/// The time that the accounts cover, by GPU and owner.
const HELD: &str = "wattribute_team_gpu_held_seconds_total";

/// How long [`Auditor::until`] waits between two scrapes.
const PAUSE: Duration = Duration::from_millis(200);

type Series = (String, BTreeMap<String, String>);

/// Looks at one scrape after the other, over restarts too.
#[derive(Debug, Default)]
pub struct Auditor {
    last: BTreeMap<Series, f64>,
    /// Up to when each GPU's accounts went in the last scrape: the time they covered, in s.
    covered: BTreeMap<String, f64>,
    /// How long the exporter shows a new account at 0.
    zero_lasts: Duration,
    /// How many scrapes it has seen.
    pub scrapes: usize,
}

impl Auditor {
    /// Scrapes and looks.
    ///
    /// # Panics
    /// As [`Auditor::see`]; or when there is no scrape.
    #[track_caller]
    pub fn scrape(&mut self, exporter: &Exporter) -> Scrape {
        let scrape = exporter.scrape();
        self.zero_lasts = exporter.zero_lasts();
        self.see(&scrape);
        scrape
    }

    /// Scrapes and looks until a claim holds; gives the scrape of which it does.
    ///
    /// # Panics
    /// As [`Auditor::scrape`]; or when the claim does not hold within a minute.
    #[track_caller]
    pub fn until(&mut self, exporter: &Exporter, what: &str, claim: impl Fn(&Scrape) -> bool) -> Scrape {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_last = Instant::now() >= deadline;
            let scrape = self.scrape(exporter);
            if claim(&scrape) {
                return scrape;
            }
            assert!(!is_last, "{what}: not within {PATIENCE:?}\n{}{}", accounts(&scrape), exporter.stderr());
            sleep(PAUSE);
        }
    }

    /// Scrapes and looks for so long; gives the last scrape.
    ///
    /// # Panics
    /// As [`Auditor::scrape`].
    #[track_caller]
    pub fn watch(&mut self, exporter: &Exporter, time: Duration) -> Scrape {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.scrape(exporter);
            sleep(PAUSE);
        }
        self.scrape(exporter)
    }

    /// Looks at the next scrape.
    ///
    /// # Panics
    /// When a GPU's teams do not add up to it, a residual is not 0, the rules do not add up to all GPUs, an account
    /// fell, or began above 0.
    #[track_caller]
    pub fn see(&mut self, scrape: &Scrape) {
        check_conservation(scrape);
        let is_close = self.is_close(scrape);
        for sample in scrape.samples.iter().filter(|sample| is_account(sample)) {
            let series = (sample.name.clone(), sample.labels.clone());
            let value = sample.number();
            let before = self.last.get(&series).copied().unwrap_or(0.0);
            assert!(value >= before, "{series:?} fell from {before} to {value}");
            let is_born = !self.last.contains_key(&series);
            let is_late = is_born && is_close && value > 0.0;
            assert!(!is_late, "{series:?} began at {value} in scrape {}", self.scrapes);
            self.last.insert(series, value);
        }
        self.scrapes += 1;
    }

    /// Forgets processes and workloads that this scrape no longer has: theirs are the only accounts that may go, and
    /// a pid may come again. For a run so long that they do.
    pub fn forget_ended(&mut self, scrape: &Scrape) {
        let here: BTreeSet<Series> =
            scrape.samples.iter().map(|sample| (sample.name.clone(), sample.labels.clone())).collect();
        let may_go = |name: &str| ENDING.iter().any(|prefix| name.starts_with(prefix));
        self.last.retain(|series, _| !may_go(&series.0) || here.contains(series));
    }

    /// Whether the accounts have moved on so little since the last scrape that what is new must still be at 0. Where
    /// this test or the exporter had to wait for the machine, its time at 0 may be over.
    fn is_close(&mut self, scrape: &Scrape) -> bool {
        let now = covered(scrape);
        let before = |uuid: &String| self.covered.get(uuid).copied().unwrap_or(0.0);
        let most = now.iter().map(|(uuid, seconds)| seconds - before(uuid)).fold(0.0, f64::max);
        self.covered = now;
        // Accounts move on by whole intervals, and these are never exact.
        most <= self.zero_lasts.as_secs_f64() * 1.1
    }
}

/// The time that the accounts of each GPU cover, as exposed, in s: how far they had come, whatever the machine did.
#[must_use]
pub fn covered(scrape: &Scrape) -> BTreeMap<String, f64> {
    let mut covered = BTreeMap::new();
    for sample in scrape.find(HELD, &[]) {
        *covered.entry(sample.labels["uuid"].clone()).or_default() += sample.number();
    }
    covered
}

/// What a person needs to see of a scrape in which something is amiss.
fn accounts(scrape: &Scrape) -> String {
    let all = scrape.samples.iter().filter(|sample| is_account(sample) && sample.number() > 0.0);
    all.map(|sample| format!("{} {:?} {}\n", sample.name, sample.labels, sample.number())).collect()
}

fn is_account(sample: &Sample) -> bool {
    sample.name.ends_with("_total") && !OF_THE_RUN.iter().any(|prefix| sample.name.starts_with(prefix))
}

/// The uuids of the GPUs that have an account.
#[must_use]
pub fn accounted_gpus(scrape: &Scrape) -> BTreeSet<String> {
    scrape.find(DEVICE, &[]).iter().filter_map(|sample| sample.labels.get("uuid").cloned()).collect()
}

/// The energy of a GPU, as exposed, in mJ.
///
/// # Panics
/// When it has no account.
#[must_use]
#[track_caller]
pub fn device_mj(scrape: &Scrape, uuid: &str) -> u64 {
    let energy = scrape.millijoules(DEVICE, &[("uuid", uuid)]);
    energy.unwrap_or_else(|| panic!("{uuid} has no account"))
}

/// The energy of a team, active and idle, on a GPU (on all of them if the uuid is empty), in mJ.
#[must_use]
#[track_caller]
pub fn team_mj(scrape: &Scrape, team: &str, uuid: &str) -> u64 {
    let labels = [("team", team), ("uuid", uuid)];
    let labels = if uuid.is_empty() { &labels[..1] } else { &labels[..] };
    scrape.millijoules(TEAM, labels).unwrap_or(0)
}

#[track_caller]
fn check_conservation(scrape: &Scrape) {
    let mut all = 0;
    for uuid in accounted_gpus(scrape) {
        let (device, labels) = (device_mj(scrape, &uuid), [("uuid", uuid.as_str())]);
        let teams = scrape.millijoules(TEAM, &labels).unwrap_or(0);
        assert_eq!(teams, device, "{uuid}: the teams' mJ are not the device's");
        let residual = scrape.value("wattribute_attribution_residual_joules", &labels);
        assert_eq!(residual.map(str::parse), Some(Ok(0.0)), "{uuid}");
        all += device;
    }
    let rules = scrape.millijoules("wattribute_rule_energy_joules_total", &[]).unwrap_or(0);
    assert_eq!(rules, all, "the rules' mJ are not the devices'");
}

/// A reading of a GPU's energy counter, as the fake driver answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Scenario time in µs.
    pub t_us: u64,
    /// The counter.
    pub mj: u64,
}

/// Every answer with a number that the fake driver gave to the question for a GPU's energy counter, as a field or alone.
///
/// # Panics
/// When there is no journal.
#[must_use]
#[track_caller]
pub fn readings(journal: &Path, gpu: usize) -> Vec<Reading> {
    let entries = Journal::read(journal).unwrap_or_else(|error| panic!("{}: {error}", journal.display()));
    let here = entries.iter().filter(|entry| entry.gpu == Some(gpu) && asks_for_energy(entry));
    here.filter_map(|entry| Some(Reading { t_us: entry.t_us, mj: entry.value? })).collect()
}

/// Whether the question was for a GPU's energy counter.
pub(crate) fn asks_for_energy(entry: &Entry) -> bool {
    ["nvmlDeviceGetFieldValues/83", "nvmlDeviceGetTotalEnergyConsumption"].contains(&&*entry.call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Format;

    /// A GPU with 3 J, of which team a has `active` and `idle`; rules have `rules`.
    fn scrape(active: &str, idle: &str, rules: &str) -> Scrape {
        let text = format!(
            "# TYPE {DEVICE} counter\n{DEVICE}{{uuid=\"G\"}} 3\n# TYPE {TEAM} counter\n\
             {TEAM}{{uuid=\"G\",team=\"a\",kind=\"active\"}} {active}\n\
             {TEAM}{{uuid=\"G\",team=\"a\",kind=\"idle\"}} {idle}\n\
             # TYPE wattribute_attribution_residual_joules gauge\n\
             wattribute_attribution_residual_joules{{uuid=\"G\"}} 0\n\
             # TYPE wattribute_rule_energy_joules_total counter\n\
             wattribute_rule_energy_joules_total{{rule=\"r\"}} {rules}\n"
        );
        Scrape::parse(&text, Format::Classic).expect("well formed")
    }

    #[test]
    fn what_adds_up_is_conserved() {
        check_conservation(&scrape("2.5", "0.5", "3"));
    }

    #[test]
    #[should_panic(expected = "the teams' mJ are not the device's")]
    fn a_lost_millijoule_is_found() {
        check_conservation(&scrape("2.5", "0.499", "3"));
    }

    #[test]
    #[should_panic(expected = "the rules' mJ are not the devices'")]
    fn a_rule_too_many_is_found() {
        check_conservation(&scrape("2.5", "0.5", "3.001"));
    }

    #[test]
    #[should_panic(expected = "began at")]
    fn a_series_that_begins_above_zero_is_found() {
        Auditor::default().see(&scrape("2.5", "0.5", "3"));
    }

    /// A new series above 0, after the accounts have moved on by so many seconds, where zeros last two.
    fn see_after(seconds: u32) {
        let mut auditor = Auditor { zero_lasts: Duration::from_secs(2), ..Auditor::default() };
        let mut later = scrape("2.5", "0.5", "3");
        let text = format!("# TYPE {HELD} counter\n{HELD}{{uuid=\"G\",team=\"a\"}} {seconds}\n");
        let held = Scrape::parse(&text, Format::Classic).expect("well formed");
        auditor.last.insert((HELD.into(), held.samples[0].labels.clone()), 0.0);
        later.samples.extend(held.samples);
        auditor.see(&later);
    }

    #[test]
    #[should_panic(expected = "began at")]
    fn a_zero_that_was_to_be_seen_is_missed() {
        see_after(2);
    }

    #[test]
    fn a_zero_that_nobody_can_have_seen_is_not_missed() {
        see_after(3);
    }

    #[test]
    #[should_panic(expected = "fell from 2.6")]
    fn a_counter_that_falls_is_found() {
        let mut auditor = Auditor::default();
        let later = scrape("2.5", "0.5", "3");
        let series = |sample: &Sample| (sample.name.clone(), sample.labels.clone());
        auditor.last = later.samples.iter().map(|sample| (series(sample), 0.0)).collect();
        auditor.see(&scrape("2.6", "0.4", "3"));
        auditor.see(&later);
    }
}
