//! What a team's hours consist of, for who doubts them: the workloads and processes that had series of their own, and the
//! rules at work on the node. Not every process has a series, so that these sums are at most the team's; the rest is
//! said. Called by `command` after the sums are known, for the hours and GPUs of the team alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::answer::{Labels, Series};
use super::collect::{Collection, Plan};
use super::counter::{Birth, Counter};
use super::quantity::{Owner, Quantity};
use super::rates::Rater;
use super::server::{MOST_GPUS, Server, Window};
use super::tally::Sums;
use crate::cli::Access;

const WORKLOAD_ENERGY: &str = "wattribute_workload_energy_joules_total";
const WORKLOAD_HELD: &str = "wattribute_workload_gpu_held_seconds_total";
const PROCESS_ENERGY: &str = "wattribute_process_energy_joules_total";
const PARTS: [&str; 3] = [WORKLOAD_ENERGY, WORKLOAD_HELD, PROCESS_ENERGY];
const RULE_ENERGY: &str = "wattribute_rule_energy_joules_total";
/// Labels that say what a series is of, and not whose.
const OWN: [&str; 4] = ["comm", "pid", "user", "workload"];
/// How many workloads and processes of an hour are kept by name, the largest first.
const NAMED: usize = 20;
const HOUR_MS: i64 = 3_600_000;

/// Everything that was found of a team.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// By hour, GPU and owner.
    pub hours: BTreeMap<Place, Trace>,
    /// By hour and node: rules with their evidence, and what each assigned there, whoever it was, in millijoules.
    pub rules: BTreeMap<i64, BTreeMap<String, Vec<(String, u64)>>>,
}

/// The first second of an hour, a GPU and an owner.
pub type Place = (i64, Arc<str>, Arc<Owner>);

/// What an owner's hour on a GPU consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Jobs, pods, containers, units.
    pub workloads: Parts,
    /// Processes.
    pub processes: Parts,
}

/// Parts of an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The largest, by name: millijoules, microseconds held.
    pub named: Vec<(String, u64, u64)>,
    /// How many others there are.
    pub others: usize,
    /// Energy of all, in millijoules.
    pub energy_mj: u64,
    /// Time held of all, in microseconds; of processes 0, for those have none.
    pub held_us: u64,
}

impl Parts {
    fn of(parts: BTreeMap<String, (u64, u64)>) -> Self {
        let mut named: Vec<(String, u64, u64)> =
            parts.into_iter().map(|(name, (energy, held))| (name, energy, held)).collect();
        named.retain(|(_, energy, held)| *energy + *held > 0);
        named.sort_by_key(|(name, energy, held)| (std::cmp::Reverse((*energy, *held)), name.clone()));
        let (energy_mj, held_us) =
            (named.iter().map(|part| part.1).sum(), named.iter().map(|part| part.2).sum());
        let others = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        Self { named, others, energy_mj, held_us }
    }
}

/// The same access, for series of this team alone.
pub fn of_team(access: &Access, team: &str) -> Access {
    let quoted = team.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let comma = if access.matchers.trim().is_empty() { "" } else { "," };
    let matchers = access.matchers.trim().trim_start_matches('{').trim_end_matches('}').trim_end_matches(',');
    Access { matchers: format!("{matchers}{comma}team=\"{quoted}\""), ..access.clone() }
}

/// Whom to ask.
pub struct Servers<'a> {
    /// Answers for series of the team alone.
    pub of_team: Server,
    /// Answers for rules, which have no team.
    pub all: &'a mut Server,
}

/// Asks for the hours that the team has something of.
///
/// # Errors
/// Why there is no whole answer.
pub async fn traces(
    mut servers: Servers<'_>,
    plan: &Plan,
    rater: &Rater,
    found: &Collection,
) -> Result<Traces, String> {
    let mut gpus: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    let something = found.tally.hours.iter().filter(|(_, sums)| **sums != Sums::default());
    for ((hour, uuid, _), _) in something {
        gpus.entry(*hour).or_default().insert(uuid.to_string());
    }
    let begin = plan.period.from * 1000 + plan.delay_ms;
    let before = Window { after: begin - HOUR_MS, until: begin };
    let everywhere: BTreeSet<String> = gpus.values().flatten().cloned().collect();
    let mut counters = [Counters::default(), Counters::default()];
    servers.gains(&mut counters, &everywhere, before).await?;
    let mut traces = Traces::default();
    for hour in rater.with_zone(|zone| plan.period.hours(zone)) {
        let Some(uuids) = gpus.get(&hour.from) else { continue };
        let window =
            Window { after: hour.from * 1000 + plan.delay_ms, until: hour.to * 1000 + plan.delay_ms };
        let [parts, rules] = servers.gains(&mut counters, uuids, window).await?;
        traces.hours.extend(by_place(hour.from, parts, found));
        traces.rules.insert(hour.from, by_node(rules, uuids, found));
    }
    Ok(traces)
}

/// Series and what they gained.
type Gains = Vec<(Labels, u64)>;

impl Servers<'_> {
    /// What workloads and processes gained on these GPUs, and what rules did.
    async fn gains(
        &mut self,
        [parts, rules]: &mut [Counters; 2],
        uuids: &BTreeSet<String>,
        window: Window,
    ) -> Result<[Gains; 2], String> {
        let mut gains = vec![];
        let uuids: Vec<String> = uuids.iter().cloned().collect();
        for piece in uuids.chunks(MOST_GPUS) {
            let series = self.of_team.samples(&PARTS, piece, window).await?;
            gains.extend(parts.advance(series)?);
        }
        let of_rules = rules.advance(self.all.samples(&[RULE_ENERGY], &[], window).await?)?;
        Ok([gains, of_rules])
    }
}

/// Counters by all their labels.
#[derive(Default)]
struct Counters(HashMap<Labels, Counter>);

impl Counters {
    /// What each series gained; one that was not there before began at zero, as exporters show it.
    fn advance(&mut self, series: Vec<Series>) -> Result<Gains, String> {
        let mut gains = vec![];
        // An answer in pieces has the same series in each, in the order of time.
        for Series { labels, samples } in series {
            let name = labels.get("__name__").map_or("", String::as_str);
            let unit = if name == WORKLOAD_HELD { Quantity::Held } else { Quantity::Energy };
            let whole = |value| unit.whole(value).ok_or_else(|| format!("{name} has the value {value}"));
            let values: Vec<u64> =
                samples.iter().map(|(_, value)| whole(*value)).collect::<Result<_, _>>()?;
            let counter = self.0.entry(labels.clone()).or_default();
            gains.extend(counter.advance(values, Birth::Seen).map(|gain| (labels, gain.gain)));
        }
        Ok(gains)
    }
}

fn by_place(hour: i64, gains: Gains, found: &Collection) -> BTreeMap<Place, Trace> {
    type Sorted = [BTreeMap<String, (u64, u64)>; 2];
    let mut sorted: BTreeMap<Place, Sorted> = BTreeMap::new();
    for (labels, gain) in gains {
        let (owner, _) = found.names.owner_and_target(&labels, &OWN);
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        let [workloads, processes] = sorted.entry((hour, label("uuid").into(), Arc::new(owner))).or_default();
        match label("__name__") {
            WORKLOAD_ENERGY => workloads.entry(label("workload").to_owned()).or_default().0 += gain,
            WORKLOAD_HELD => workloads.entry(label("workload").to_owned()).or_default().1 += gain,
            _ => {
                let [pid, comm, user, workload] = ["pid", "comm", "user", "workload"].map(label);
                let of = if workload.is_empty() { String::new() } else { format!(", {workload}") };
                processes.entry(format!("{pid} {comm} of {user}{of}")).or_default().0 += gain;
            }
        }
    }
    let trace = |[workloads, processes]: Sorted| Trace {
        workloads: Parts::of(workloads),
        processes: Parts::of(processes),
    };
    sorted.into_iter().map(|(place, parts)| (place, trace(parts))).collect()
}

/// What rules assigned on the nodes of these GPUs.
fn by_node(
    gains: Gains,
    uuids: &BTreeSet<String>,
    found: &Collection,
) -> BTreeMap<String, Vec<(String, u64)>> {
    let targets = uuids.iter().filter_map(|uuid| found.devices.get(uuid.as_str()));
    let instances: BTreeSet<&str> = targets.map(|device| device.target.get("instance")).collect();
    let mut nodes: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (labels, gain) in gains.into_iter().filter(|(_, gain)| *gain > 0) {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        if instances.contains(label("instance").as_str()) {
            let rule = format!("{:?} ({})", label("rule"), label("evidence"));
            nodes.entry(label("instance")).or_default().push((rule, gain));
        }
    }
    nodes
        .values_mut()
        .for_each(|rules| rules.sort_by_key(|(rule, gain)| (std::cmp::Reverse(*gain), rule.clone())));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::metrics::METRICS;

    #[test]
    fn the_counters_are_those_of_the_exporter() {
        for name in [WORKLOAD_ENERGY, WORKLOAD_HELD, PROCESS_ENERGY, RULE_ENERGY] {
            assert!(METRICS.iter().any(|metric| metric.name() == name), "{name}");
        }
    }

    #[test]
    fn the_largest_are_named_and_all_are_summed() {
        let many = (1..=25).map(|number: u64| (format!("p{number:02}"), (number, 0)));
        let parts = Parts::of(many.chain([("idle".into(), (0, 0))]).collect());
        assert_eq!((parts.named[0].0.as_str(), parts.named.len(), parts.others), ("p25", 20, 5));
        assert_eq!(parts.energy_mj, 325);
    }
}
