//! Whether a bill is complete: what each GPU counted against what was booked of it, when nobody looked, and which GPUs
//! are missing altogether. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::collect::{Collection, Device};
use super::gaps::{Gap, Place};
use super::lines::{Decimal, Joules, Pricing, Seconds, hours};
use super::period::{Period, rfc3339};
use super::recorded::{Comparison, compare};
use super::tally::Sums;
use crate::cli::Tolerance;

/// Where energy of a GPU went, in millijoules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shares {
    /// Teams at work.
    pub teams_active: Joules,
    /// Teams that held it idle.
    pub teams_idle: Joules,
    /// Processes of nobody.
    pub unattributed: Joules,
    /// Nobody held it.
    pub unallocated: Joules,
    /// Idleness kept apart.
    pub shared_idle: Joules,
    /// The exporter did not run.
    pub unobserved: Joules,
    /// Owners beyond the limit.
    pub overflow: Joules,
}

/// A GPU in a report.
#[derive(Clone, Debug, Serialize)]
pub struct Gpu {
    /// Its UUID.
    pub uuid: String,
    /// Its model; empty where it is not known.
    pub model: String,
    /// Where it was, at last.
    pub node: String,
    /// What its own counter gained; `None` where it was never seen.
    pub device_joules: Option<Joules>,
    /// What was booked of it.
    #[serde(flatten)]
    pub shares: Shares,
    /// Device less everything booked; `None` where the device is not known.
    pub difference_joules: Option<String>,
    /// Time that somebody, or nobody, was seen to hold it.
    pub observed_seconds: Seconds,
    /// The length of the period.
    pub expected_seconds: Seconds,
    /// How often its exporter began anew at zero.
    pub resets: u64,
    /// How many scrapes are in the period.
    pub samples: u64,
    /// The usual time between two; `None` where there are too few.
    pub scrape_seconds: Option<Decimal<3>>,
}

/// A time in which nobody scraped a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unscraped {
    /// The GPU.
    pub uuid: String,
    /// The last sample before it, or the beginning of the period.
    pub from: String,
    /// The first sample after it, or the end of the period.
    pub to: String,
    /// How long it is.
    pub seconds: Decimal<3>,
    /// What the counter gained over it, billed in the hour of its end.
    pub energy_joules: Joules,
    /// What it may hide.
    pub may_hide: &'static str,
}

/// Whether the bill is complete.
#[derive(Clone, Debug, Serialize)]
pub struct Reconciliation {
    /// Every GPU.
    pub gpus: Vec<Gpu>,
    /// When nobody looked.
    pub gaps: Vec<Unscraped>,
    /// Hours in which GPUs were watched.
    pub observed_gpu_hours: Decimal<3>,
    /// Hours that there were: the period × the GPUs, those of the inventory if there is one.
    pub expected_gpu_hours: Decimal<3>,
    /// Everything that is not as it should be, a sentence each.
    pub differences: Vec<String>,
    /// What the recording rules say of the same hours.
    pub rules: Comparison,
}

/// What should be there.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The time.
    pub period: Period,
    /// Which label names a node.
    pub node_label: &'a str,
    /// The GPUs, if they are known.
    pub inventory: Option<&'a BTreeSet<String>>,
    /// Whether there should be prices.
    pub pricing: Pricing,
    /// How far the recording rules may be from the bill.
    pub tolerance: Tolerance,
}

impl Expected<'_> {
    fn microseconds(&self) -> u64 {
        u64::try_from(self.period.seconds()).unwrap_or(0) * 1_000_000
    }
}

/// Reconciles what was found with what was expected.
pub fn reconcile(found: &Collection, expected: &Expected<'_>) -> Reconciliation {
    let Expected { inventory, pricing, .. } = *expected;
    let mut booked: BTreeMap<Arc<str>, (Shares, Sums)> = BTreeMap::new();
    for (cell, sums) in &found.tally.cells {
        let (shares, all) = booked.entry(Arc::clone(&cell.uuid)).or_default();
        shares.add(cell.owner.team(), sums);
        *all += *sums;
    }
    let expected_us = expected.microseconds();
    let mut gpus = vec![];
    let (mut differences, mut gaps) = (vec![], vec![]);
    // One that was seen before the period alone is a gap of the whole period, like any other.
    for (uuid, device) in &found.devices {
        let booked = booked.remove(uuid).unwrap_or_default();
        let gpu = gpu(uuid, device, booked, expected);
        differences.extend(differences_of(&gpu, device));
        gaps.extend(device.gaps.iter().map(|gap| unscraped(uuid, gap)));
        gpus.push(gpu);
    }
    if !gaps.is_empty() {
        differences.push(match gaps.len() {
            1 => "a time without scrapes is listed".into(),
            count => format!("{count} times without scrapes are listed"),
        });
    }
    differences.extend(unexpected(found, inventory));
    if pricing != Pricing::Unpriced {
        differences.extend(unpriced(&found.tally.total()));
    }
    let rules = compare(&found.recording, &found.tally, expected.period, expected.tolerance);
    differences.extend(rules.differences());
    let count = u64::try_from(inventory.map_or(gpus.len(), BTreeSet::len)).unwrap_or(u64::MAX);
    let observed = gpus.iter().map(|gpu| gpu.observed_seconds.0).sum();
    Reconciliation {
        observed_gpu_hours: hours(Decimal(observed)),
        expected_gpu_hours: hours(Decimal(expected_us.saturating_mul(count))),
        gpus,
        gaps,
        differences,
        rules,
    }
}

impl Shares {
    fn add(&mut self, team: &str, sums: &Sums) {
        let all: Joules = Decimal(sums.energy_mj());
        let share = match team {
            "unattributed" => &mut self.unattributed,
            "unallocated" => &mut self.unallocated,
            "shared_idle" => &mut self.shared_idle,
            "unobserved" => &mut self.unobserved,
            "overflow" => &mut self.overflow,
            _ => {
                self.teams_active.0 += sums.active_mj;
                self.teams_idle.0 += sums.idle_mj;
                return;
            }
        };
        share.0 += all.0;
    }

    fn sum(&self) -> u64 {
        let Self { teams_active, teams_idle, unattributed, unallocated, shared_idle, unobserved, overflow } =
            self;
        [teams_active, teams_idle, unattributed, unallocated, shared_idle, unobserved, overflow]
            .iter()
            .map(|share| share.0)
            .sum()
    }
}

fn gpu(uuid: &str, device: &Device, (shares, sums): (Shares, Sums), expected: &Expected<'_>) -> Gpu {
    let device_joules = device.is_counted.then_some(Decimal(device.energy_mj));
    let millijoules = |value: i128| {
        let sign = if value < 0 { "-" } else { "" };
        format!("{sign}{}.{:03}", value.abs() / 1000, value.abs() % 1000)
    };
    Gpu {
        uuid: uuid.to_owned(),
        model: device.model.clone(),
        node: device.target.get(expected.node_label).to_owned(),
        device_joules,
        difference_joules: device_joules
            .map(|joules: Joules| millijoules(i128::from(joules.0) - i128::from(shares.sum()))),
        shares,
        observed_seconds: Decimal(sums.held_us),
        expected_seconds: Decimal(expected.microseconds()),
        resets: device.resets,
        samples: device.samples,
        scrape_seconds: device.spacing_ms.map(|spacing| Decimal(spacing.unsigned_abs())),
    }
}

fn differences_of(gpu: &Gpu, device: &Device) -> Vec<String> {
    let Gpu { uuid, .. } = gpu;
    let mut differences = vec![];
    match &gpu.difference_joules {
        None if gpu.shares.sum() > 0 => {
            differences.push(format!("GPU {uuid}: energy is booked of it, and its own counter was not seen"));
        }
        Some(difference) if difference != "0.000" => {
            differences.push(format!("GPU {uuid}: {difference} J of its counter are booked to nobody"));
        }
        _ => {}
    }
    if device.unbilled_mj > 0 {
        let held = Decimal::<3>(device.unbilled_mj);
        differences.push(format!("GPU {uuid}: {held} J that it held at its first sample are not billed: nobody knows when they were drawn"));
    }
    if device.model.is_empty() {
        differences.push(format!("GPU {uuid}: its model is not known"));
    }
    // Samples are not taken on the edges of the period exactly.
    let spacing_us = device.spacing_ms.unwrap_or(60_000).unsigned_abs() * 1000;
    let missing = gpu.expected_seconds.0.saturating_sub(gpu.observed_seconds.0);
    if missing > 2 * spacing_us + 60_000_000 {
        differences.push(format!("GPU {uuid}: it was not watched for {} hours", hours(Decimal(missing))));
    }
    differences
}

fn unexpected(found: &Collection, inventory: Option<&BTreeSet<String>>) -> Vec<String> {
    let Some(inventory) = inventory else { return vec![] };
    let observed = |uuid: &str| found.devices.get(uuid).is_some_and(|device| device.samples > 0);
    let missing = inventory.iter().filter(|uuid| !observed(uuid));
    let missing = missing.map(|uuid| format!("GPU {uuid}: it is in the inventory, and nobody scraped it"));
    let others = found.devices.keys().filter(|uuid| !inventory.contains(&***uuid));
    missing.chain(others.map(|uuid| format!("GPU {uuid}: it is not in the inventory"))).collect()
}

fn unpriced(total: &Sums) -> Vec<String> {
    let mut differences = vec![];
    if total.unpriced_mj > 0 {
        differences.push(format!(
            "{} J have no price of electricity, and are in no cost",
            Decimal::<3>(total.unpriced_mj)
        ));
    }
    if total.unpriced_us > 0 {
        let held = hours(Decimal(total.unpriced_us));
        differences.push(format!("{held} GPU-hours have no price of hardware, and are in no cost"));
    }
    differences
}

fn unscraped(uuid: &str, gap: &Gap) -> Unscraped {
    Unscraped {
        uuid: uuid.to_owned(),
        from: rfc3339(gap.from.div_euclid(1000)),
        to: rfc3339(gap.until.div_euclid(1000)),
        seconds: Decimal((gap.until - gap.from).unsigned_abs()),
        energy_joules: Decimal(gap.energy_mj),
        may_hide: match gap.place {
            Place::Before => "all that it drew before it was first scraped",
            Place::Between => {
                "nothing, if its exporter ran on: the energy is billed at its end; else what was counted between two starts"
            }
            Place::Reset => "what was counted after the last scrape, before its exporter began anew",
            Place::After => "all that it drew; if it is scraped again, the next report bills it",
        },
    }
}
