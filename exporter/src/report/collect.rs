//! Reads a period from a server, hour by hour, and sums it: what [`super::server`] reads goes through
//! [`super::counter`] into a [`Tally`]. What is remembered from one hour to the next is a number for each series.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::answer::Series;
use super::counter::{Birth, Counter, Gain};
use super::gaps::{Gap, Pulse};
use super::period::Period;
use super::quantity::{Key, Names, Quantity, Target};
use super::rates::Rater;
use super::recorded::Recording;
use super::server::{Server, Window};
use super::tally::{Cell, Rates, Sums, Tally};
use super::traces::Traces;

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// What to read, and how.
pub struct Plan {
    /// The time.
    pub period: Period,
    /// How much later than it was counted a value is shown, in milliseconds.
    pub delay_ms: i64,
    /// How far back the last sample before the period is looked for, in milliseconds.
    pub lookback_ms: i64,
    /// Only this GPU, where one is named.
    pub only: Option<String>,
    /// Of this team every hour is kept.
    pub team: Option<String>,
}

/// What was found of a GPU.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its model; empty where it is not known.
    pub model: String,
    /// Where it was, at last.
    pub target: Arc<Target>,
    /// What its counter gained, in millijoules.
    pub energy_mj: u64,
    /// How often its counter fell: the exporter began anew.
    pub resets: u64,
    /// What its counter held at its first sample, of which nobody knows when it was counted, in millijoules.
    pub unbilled_mj: u64,
    /// How many samples there are.
    pub samples: u64,
    /// The usual time between two samples, in milliseconds; `None` where there are too few.
    pub spacing_ms: Option<i64>,
    /// When nobody scraped it.
    pub gaps: Vec<Gap>,
    /// Whether its own counter was seen, not only what was booked of it.
    pub is_counted: bool,
}

/// A series in an hour, for the extract.
pub struct Row<'a> {
    /// The first second of the hour.
    pub hour: i64,
    /// What is counted.
    pub key: &'a Key,
    /// Where it was scraped.
    pub target: &'a Target,
    /// What it gained.
    pub gain: Gain,
    /// The prices of the hour.
    pub rates: Rates,
    /// What that comes to.
    pub sums: Sums,
}

/// All that was read.
#[derive(Default)]
pub struct Collection {
    /// The sums.
    pub tally: Tally,
    /// The GPUs by UUID.
    pub devices: BTreeMap<Arc<str>, Device>,
    /// How many samples there were.
    pub samples: u64,
    /// What the recording rules say of the same hours.
    pub recording: Recording,
    /// Which labels are the targets'.
    pub names: Names,
    /// What a team's hours consist of, where that was asked for.
    pub traces: Traces,
}

/// Takes rows as they are read, hour by hour, in the same order for the same data.
pub trait Listener {
    /// A series in an hour.
    ///
    /// # Errors
    /// Where it cannot be kept.
    fn row(&mut self, row: &Row<'_>) -> Result<(), String>;
    /// So many hours of all are done.
    fn progress(&mut self, done: usize, all: usize);
}

struct Collector<'a> {
    plan: &'a Plan,
    rater: &'a Rater,
    names: Names,
    counters: HashMap<Key, Counter>,
    /// When something of a GPU was first seen, in milliseconds.
    seen: HashMap<Arc<str>, i64>,
    pulses: HashMap<Arc<str>, Pulse>,
    found: Collection,
}

/// Reads and sums a period.
///
/// # Errors
/// Whatever could make a number wrong: an answer that is not whole, a GPU that is exported twice, a period without data.
pub async fn collect(
    server: &mut Server,
    plan: &Plan,
    rater: &Rater,
    listener: &mut dyn Listener,
) -> Result<Collection, String> {
    let all = Window {
        after: plan.period.from * 1000 + plan.delay_ms - plan.lookback_ms,
        until: plan.period.to * 1000 + plan.delay_ms,
    };
    let sets = server.label_sets(Quantity::Device.metric(), all).await?;
    let mut uuids: BTreeSet<String> = sets.iter().filter_map(|set| set.get("uuid").cloned()).collect();
    uuids.extend(server.uuids(Quantity::Energy.metric(), all).await?);
    uuids.retain(|uuid| plan.only.as_ref().is_none_or(|only| only == uuid));
    let models = models(server, all).await?;
    let mut collector = Collector {
        plan,
        rater,
        names: Names::of_devices(&sets),
        counters: HashMap::new(),
        seen: HashMap::new(),
        pulses: HashMap::new(),
        found: Collection::default(),
    };
    let uuids: Vec<String> = uuids.into_iter().collect();
    for uuid in &uuids {
        let model = models.get(uuid).cloned().unwrap_or_default();
        collector.found.devices.insert(uuid.as_str().into(), Device { model, ..Device::default() });
    }
    collector.look_back(server, &uuids).await?;
    collector.read(server, &uuids, listener).await?;
    collector.finish()
}

/// The model of each GPU.
async fn models(server: &mut Server, all: Window) -> Result<BTreeMap<String, String>, String> {
    let mut models = BTreeMap::new();
    for set in server.label_sets("wattribute_gpu_info", all).await? {
        if let (Some(uuid), Some(model)) = (set.get("uuid"), set.get("model"))
            && let Some(other) = models.insert(uuid.clone(), model.clone())
            && other != *model
        {
            return Err(format!(
                "GPU {uuid} is a {other} and a {model}: there are two of this UUID: choose one by --match"
            ));
        }
    }
    Ok(models)
}

impl Collector<'_> {
    /// What every counter was before the period: from the hour before it, and for what was not scraped then, from as
    /// far back as is looked.
    async fn look_back(&mut self, server: &mut Server, uuids: &[String]) -> Result<(), String> {
        let begin = self.plan.period.from * 1000 + self.plan.delay_ms;
        let window = Window { after: begin - HOUR_MS, until: begin };
        let mut rest = uuids;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(server.gpus_at_once().min(rest.len()).max(1));
            let series = server.samples(&Quantity::ALL.map(Quantity::metric), piece, window).await?;
            for (key, (time, value)) in self.last_samples(series)? {
                if key.quantity == Quantity::Device {
                    self.pulses.insert(Arc::clone(&key.uuid), Pulse::after(Some((time, value))));
                }
                self.remember(key, value);
            }
            rest = later;
        }
        let before = Window { after: begin - self.plan.lookback_ms, until: begin };
        for quantity in Quantity::ALL {
            let mut values: BTreeMap<Key, Vec<u64>> = BTreeMap::new();
            for mut series in server.last_values(quantity, uuids, before).await? {
                series.labels.insert("__name__".into(), quantity.metric().into());
                let (key, _) = self.names.split(&series.labels)?;
                let all = values.entry(key.clone()).or_default();
                for (_, value) in series.samples {
                    all.push(whole(&key, value)?);
                }
            }
            values.retain(|key, _| !self.counters.contains_key(key));
            for (key, values) in values {
                let last = match values.as_slice() {
                    [value] => *value,
                    _ => self.latest(server, &key, begin - HOUR_MS).await?,
                };
                self.remember(key, last);
            }
        }
        Ok(())
    }

    fn remember(&mut self, key: Key, value: u64) {
        self.seen.insert(Arc::clone(&key.uuid), i64::MIN);
        self.counters.insert(key, Counter { last: Some(value) });
    }

    /// The last sample of each counter, wherever it was scraped.
    fn last_samples(&self, series: Vec<Series>) -> Result<BTreeMap<Key, (i64, u64)>, String> {
        let mut last: BTreeMap<Key, (i64, u64)> = BTreeMap::new();
        for series in series {
            let (key, _) = self.names.split(&series.labels)?;
            let Some(&(time, value)) = series.samples.last() else { continue };
            let value = whole(&key, value)?;
            let newest = last.entry(key).or_insert((time, value));
            *newest = (*newest).max((time, value));
        }
        Ok(last)
    }

    /// A counter that was scraped at several places before the period: its last value is that of the last sample.
    async fn latest(&self, server: &mut Server, key: &Key, until: i64) -> Result<u64, String> {
        let mut window = Window { after: until - HOUR_MS, until };
        while window.until > until - self.plan.lookback_ms {
            let found = server.samples(&[key.quantity.metric()], &[key.uuid.to_string()], window).await?;
            if let Some((_, value)) = self.last_samples(found)?.remove(key) {
                return Ok(value);
            }
            window = Window { after: window.after - HOUR_MS, until: window.after };
        }
        Err(format!("GPU {}: its last sample before the period cannot be told: see --lookback", key.uuid))
    }

    async fn read(
        &mut self,
        server: &mut Server,
        uuids: &[String],
        listener: &mut dyn Listener,
    ) -> Result<(), String> {
        let hours = self.rater.with_zone(|zone| self.plan.period.hours(zone));
        let all = hours.len();
        let metrics = Quantity::ALL.map(Quantity::metric);
        for (done, hour) in hours.into_iter().enumerate() {
            let window = Window {
                after: hour.from * 1000 + self.plan.delay_ms,
                until: hour.to * 1000 + self.plan.delay_ms,
            };
            let mut rest = uuids;
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(server.gpus_at_once().min(rest.len()).max(1));
                let series = server.samples(&metrics, piece, window).await?;
                self.take(hour, series, listener)?;
                rest = later;
            }
            listener.progress(done + 1, all);
        }
        Ok(())
    }

    /// The samples of an hour and some GPUs, whole.
    fn take(&mut self, hour: Period, series: Vec<Series>, listener: &mut dyn Listener) -> Result<(), String> {
        let mut runs: BTreeMap<Key, Vec<Run>> = BTreeMap::new();
        for series in series {
            let (key, target) = self.names.split(&series.labels)?;
            let values = series.samples.iter().map(|&(time, value)| Ok((time, whole(&key, value)?)));
            let values: Vec<(i64, u64)> = values.collect::<Result<_, String>>()?;
            self.found.samples += u64::try_from(values.len()).unwrap_or(u64::MAX);
            runs.entry(key).or_default().push(Run { target: Arc::new(target), values });
        }
        let day = self.rater.date(hour.from);
        // Devices come first among the keys of a GPU: when it was seen is known before its owners are looked at.
        for (key, runs) in runs {
            let runs = order(&key, runs)?;
            for run in runs {
                if let Some((gain, rates, sums)) = self.book((hour, &day), &key, &run) {
                    listener.row(&Row {
                        hour: hour.from,
                        key: &key,
                        target: &run.target,
                        gain,
                        rates,
                        sums,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Books what a counter gained; `None` where there is no sample.
    fn book(&mut self, (hour, day): (Period, &str), key: &Key, run: &Run) -> Option<(Gain, Rates, Sums)> {
        let &(first, _) = run.values.first()?;
        let seen = *self.seen.entry(Arc::clone(&key.uuid)).or_insert(first);
        let birth = if seen < first { Birth::Seen } else { Birth::Unseen };
        if !self.counters.contains_key(key) {
            self.counters.insert(key.clone(), Counter::default());
        }
        let counter = self.counters.get_mut(key)?;
        let gain = counter.advance(run.values.iter().map(|(_, value)| *value), birth)?;
        let device = self.found.devices.entry(Arc::clone(&key.uuid)).or_default();
        let rates = self.rater.rates(run.target.get("site"), &device.model, hour.from);
        let sums = Sums::of(key.quantity, key.kind, gain.gain, rates);
        if let Some(owner) = &key.owner {
            let cell = Cell {
                owner: Arc::clone(owner),
                uuid: Arc::clone(&key.uuid),
                target: Arc::clone(&run.target),
            };
            if self.plan.team.as_ref().is_some_and(|team| team == owner.team()) {
                let hour = (hour.from, Arc::clone(&key.uuid), Arc::clone(owner));
                *self.found.tally.hours.entry(hour).or_default() += sums;
            }
            self.found.tally.add(cell, day, sums);
        } else {
            let begin = self.plan.period.from * 1000 + self.plan.delay_ms;
            let pulse = self.pulses.entry(Arc::clone(&key.uuid)).or_default();
            device.gaps.extend(pulse.advance(&run.values, begin));
            device.is_counted = true;
            device.target = Arc::clone(&run.target);
            device.energy_mj += gain.gain;
            device.resets += gain.resets;
            device.unbilled_mj += gain.unbilled;
            device.samples += gain.samples;
        }
        Some((gain, rates, sums))
    }

    fn finish(mut self) -> Result<Collection, String> {
        let begin = self.plan.period.from * 1000 + self.plan.delay_ms;
        let end = self.plan.period.to * 1000 + self.plan.delay_ms;
        for (uuid, device) in &mut self.found.devices {
            let pulse = self.pulses.get(uuid).copied().unwrap_or_default();
            device.spacing_ms = pulse.usual();
            device.gaps.extend(pulse.finish(begin, end));
        }
        if self.found.samples == 0 {
            return Err(format!(
                "no sample of {} in the period: nothing to bill: see --prometheus, --match and the retention",
                Quantity::Device.metric()
            ));
        }
        self.found.names = self.names;
        Ok(self.found)
    }
}

/// The samples of a counter at one place.
struct Run {
    target: Arc<Target>,
    values: Vec<(i64, u64)>,
}

/// Puts what was scraped at one place after what was scraped at another before, and the pieces of one place together.
fn order(key: &Key, mut runs: Vec<Run>) -> Result<Vec<Run>, String> {
    runs.sort_by_key(|run| run.values.first().map(|(time, _)| *time));
    let mut ordered: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        match ordered.last_mut() {
            Some(last)
                if last.values.last().map(|(time, _)| *time) >= run.values.first().map(|(time, _)| *time) =>
            {
                return Err(format!(
                    "GPU {} is exported twice, by {{{}}} and {{{}}}: choose one by --match",
                    key.uuid,
                    named(&last.target),
                    named(&run.target)
                ));
            }
            Some(last) if last.target == run.target => last.values.extend(run.values),
            _ => ordered.push(run),
        }
    }
    Ok(ordered)
}

fn named(target: &Target) -> String {
    target.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
}

fn whole(key: &Key, value: f64) -> Result<u64, String> {
    key.quantity.whole(value).ok_or_else(|| {
        format!("GPU {}: {} has the value {value}, which no counter has", key.uuid, key.quantity.metric())
    })
}
