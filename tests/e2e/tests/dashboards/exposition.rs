//! The replay as the exporters would have shown it: OpenMetrics text with times, for `promtool tsdb
//! create-blocks-from openmetrics`. Every five minutes, and every minute in the last six hours; what no rule records and no
//! panel shows for longer, only for the last day.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::site::{self, END, GPUS, Gpu, NOBODY, OWNERS, Owner, SLOT, SLOTS, START, Use, uses};

/// The last hours have a sample this often, in s.
const DENSE: u64 = 60;
/// How long before the end that begins, in slots.
pub const RECENT: u64 = 72;

/// When the last day begins, with an hour to spare.
const LAST_DAY: u64 = SLOTS - 25 * 12;

/// A sum that grows evenly within each slot: its value at the beginning of each slot, in units per slot.
type Growth = Vec<u64>;

/// Writes series; what they are called is `name{labels}`.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A series of which nothing else has this name and these labels; values at Unix times in s.
    fn series(&mut self, name: &str, samples: impl Iterator<Item = (u64, f64)>) {
        for (time, value) in samples {
            writeln!(self.text, "{name} {value} {time}").expect("text");
        }
    }

    /// The whole page, as promtool reads it.
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    /// As [`Page::series`], for what was recorded.
    pub fn recorded(&mut self, name: &str, samples: &[(f64, f64)]) {
        for (time, value) in samples {
            writeln!(self.text, "{name} {value} {time}").expect("text");
        }
    }
}

/// When a scrape happened, from a slot on, Unix times in s.
fn times(from_slot: u64) -> impl Iterator<Item = u64> {
    let coarse = (from_slot..SLOTS - RECENT).map(|slot| START + slot * SLOT);
    let dense = (START + (SLOTS - RECENT).max(from_slot) * SLOT..=END).step_by(DENSE as usize);
    coarse.chain(dense)
}

/// The slot in which a moment lies; a moment between two belongs to the earlier.
fn slot_before(time: u64) -> u64 {
    (time - START).saturating_sub(1) / SLOT
}

/// A counter: what it had grown to at a time, anew after the exporter's restart.
fn counter(growth: &Growth, gpu: &Gpu, time: u64) -> f64 {
    let (slot, within) = ((time - START) / SLOT, (time - START) % SLOT);
    let end = |slot: u64| growth.get(slot as usize).copied().unwrap_or(0);
    let total = end(slot) + (end(slot + 1).saturating_sub(end(slot))) * within / SLOT;
    let back = site::AWAY.end;
    let lost = if gpu.instance == GPUS[4].instance && slot >= back { end(back) } else { 0 };
    (total - lost) as f64
}

fn seen(gpu: &Gpu, from_slot: u64) -> impl Iterator<Item = u64> + '_ {
    // The scrape at the moment of the stop still succeeds; the one at the moment of the start shows zeros.
    let away = START + site::AWAY.start * SLOT + 1..START + site::AWAY.end * SLOT;
    times(from_slot).filter(move |time| gpu.instance != GPUS[4].instance || !away.contains(time))
}

/// Sums of one owner on one GPU, by slot.
#[derive(Default)]
struct Account {
    first: Option<u64>,
    last: u64,
    sums: BTreeMap<&'static str, Growth>,
}

const WATTS: [&str; 2] = ["active", "idle"];

impl Account {
    fn of(gpu: usize, owner: Owner) -> Self {
        let mut account = Self::default();
        for slot in 0..SLOTS {
            let own = uses(gpu, slot)
                .into_iter()
                .find(|one| one.owner.workload == owner.workload && one.owner.team == owner.team);
            if let Some(found) = own {
                account.first.get_or_insert(slot);
                account.last = slot;
                account.add(slot, found);
            } else {
                account.add(slot, Use { owner, active_w: 0, idle_w: 0, held_s: 0, busy_s: 0 });
            }
        }
        account
    }

    fn add(&mut self, _slot: u64, one: Use) {
        let parts = [
            ("active", one.active_w * SLOT),
            ("idle", one.idle_w * SLOT),
            ("held", one.held_s),
            ("busy", one.busy_s),
        ];
        for (name, more) in parts {
            let growth = self.sums.entry(name).or_insert_with(|| vec![0]);
            growth.push(growth.last().copied().unwrap_or(0) + more);
        }
    }

    fn total(&self) -> Growth {
        self.sums["active"].iter().zip(&self.sums["idle"]).map(|(active, idle)| active + idle).collect()
    }
}

/// Target labels as Prometheus would add them.
fn target(gpu: &Gpu) -> String {
    format!("job=\"wattribute\",instance=\"{}\",site=\"{}\",cluster=\"campus\"", gpu.instance, gpu.site)
}

fn owner_labels(owner: Owner) -> String {
    let project =
        if owner.project.is_empty() { String::new() } else { format!(",project=\"{}\"", owner.project) };
    format!("team=\"{}\"{project}", owner.team)
}

/// All series of the replay.
pub fn page() -> String {
    let mut page = Page::default();
    let mut rules: BTreeMap<(&str, usize), Growth> = BTreeMap::new();
    for (number, gpu) in GPUS.iter().enumerate() {
        readings(&mut page, number, gpu);
        choices(&mut page, gpu);
        for owner in OWNERS {
            let account = Account::of(number, *owner);
            if let Some(first) = account.first {
                of_owner(&mut page, gpu, *owner, (first, &account));
                add(&mut rules, (owner, number), &account);
            }
        }
    }
    of_rules(&mut page, &rules);
    of_exporters(&mut page);
    page.finish()
}

fn add<'a>(
    rules: &mut BTreeMap<(&'a str, usize), Growth>,
    (owner, number): (&'a Owner, usize),
    account: &Account,
) {
    if owner.rule.is_empty() {
        return;
    }
    let first = GPUS.iter().position(|gpu| gpu.instance == GPUS[number].instance).expect("a node");
    let total = account.total();
    let growth = rules.entry((owner.rule, first)).or_insert_with(|| vec![0; total.len()]);
    growth.iter_mut().zip(total).for_each(|(sum, more)| *sum += more);
}

fn of_rules(page: &mut Page, rules: &BTreeMap<(&str, usize), Growth>) {
    for ((rule, node), growth) in rules {
        let gpu = &GPUS[*node];
        let evidence = OWNERS.iter().find(|owner| owner.rule == *rule).expect("an owner").evidence;
        let labels = format!("{},rule=\"{rule}\",evidence=\"{evidence}\"", target(gpu));
        let samples = seen(gpu, LAST_DAY).map(|time| (time, counter(growth, gpu, time)));
        page.series(&format!("wattribute_rule_energy_joules_total{{{labels}}}"), samples);
    }
}

/// Accounts of an owner on a GPU, and their process while it runs.
fn of_owner(page: &mut Page, gpu: &Gpu, owner: Owner, (first, account): (u64, &Account)) {
    let labels = format!("{},uuid=\"{}\",{}", target(gpu), gpu.uuid(), owner_labels(owner));
    let mut write = |name: &str, more: &str, growth: &Growth| {
        let samples = seen(gpu, first).map(|time| (time, counter(growth, gpu, time)));
        page.series(&format!("wattribute_{name}{{{labels}{more}}}"), samples);
    };
    for kind in WATTS {
        write("team_energy_joules_total", &format!(",kind=\"{kind}\""), &account.sums[kind]);
    }
    write("team_gpu_held_seconds_total", "", &account.sums["held"]);
    write("team_gpu_busy_seconds_total", "", &account.sums["busy"]);
    // The A100's driver is said to give no utilisation: what was shared there is an estimate.
    let nothing = vec![0; account.total().len()];
    let estimated = if gpu.site == "south" { &account.sums["active"] } else { &nothing };
    write("team_energy_estimated_joules_total", "", estimated);
    if owner.workload != NOBODY.workload && account.last + 1 >= SLOTS {
        of_process(page, gpu, owner, &account.total());
    }
}

fn of_process(page: &mut Page, gpu: &Gpu, owner: Owner, growth: &Growth) {
    let number = OWNERS.iter().position(|one| one.workload == owner.workload).expect("an owner") as u64;
    let base = format!("{},uuid=\"{}\",{}", target(gpu), gpu.uuid(), owner_labels(owner));
    let workload = format!("{base},workload=\"{}\"", owner.workload);
    let process = format!(
        "{workload},pid=\"{}\",comm=\"{}\",user=\"{}\"",
        2000 + number * 100 + gpu.index,
        owner.comm,
        owner.user
    );
    let recent = || seen(gpu, SLOTS - RECENT);
    let own = |time: u64| {
        let gpu_number = GPUS.iter().position(|one| one.uuid() == gpu.uuid()).expect("a GPU");
        let all = uses(gpu_number, slot_before(time));
        all.into_iter().find(|one| one.owner.workload == owner.workload)
    };
    let energy = |time| (time, counter(growth, gpu, time));
    page.series(&format!("wattribute_process_energy_joules_total{{{process}}}"), recent().map(energy));
    page.series(&format!("wattribute_workload_energy_joules_total{{{workload}}}"), recent().map(energy));
    let busy = |time| (time, own(time).map_or(0.0, |one| one.busy_s as f64 / SLOT as f64));
    page.series(&format!("wattribute_process_sm_utilization_ratio{{{process}}}"), recent().map(busy));
    let memory = (20.0 + 7.0 * number as f64) * 1_073_741_824.0;
    page.series(
        &format!("wattribute_process_memory_used_bytes{{{process}}}"),
        recent().map(|time| (time, memory)),
    );
    page.series(&format!("wattribute_team_memory_used_bytes{{{base}}}"), recent().map(|time| (time, memory)));
    page.series(&format!("wattribute_team_processes{{{base}}}"), recent().map(|time| (time, 1.0)));
    let began = (END - 9 * 3600 - number * 777) as f64;
    page.series(
        &format!("wattribute_process_start_time_seconds{{{process}}}"),
        recent().map(|time| (time, began)),
    );
}

/// A series of a GPU; what rules record is there for the whole time.
fn of_gpu(page: &mut Page, gpu: &Gpu, (name, more): (&str, &str), value: &dyn Fn(u64) -> f64) {
    let lasting = ["gpu_info", "gpu_energy_joules_total", "gpu_split_basis"].contains(&name);
    let samples = seen(gpu, if lasting { 0 } else { LAST_DAY }).map(|time| (time, value(time)));
    let labels = format!("{},uuid=\"{}\"{more}", target(gpu), gpu.uuid());
    page.series(&format!("wattribute_{name}{{{labels}}}"), samples);
}

/// What the driver says of a GPU.
fn readings(page: &mut Page, number: usize, gpu: &Gpu) {
    let mut growth = vec![0];
    for slot in 0..SLOTS {
        let watts: u64 = uses(number, slot).iter().map(|one| one.active_w + one.idle_w).sum();
        growth.push(growth[slot as usize] + watts * SLOT);
    }
    let mut write =
        |name: &str, more: &str, value: &dyn Fn(u64) -> f64| of_gpu(page, gpu, (name, more), value);
    let now = |time: u64| uses(number, slot_before(time));
    let watts = |time: u64| now(time).iter().map(|one| one.active_w + one.idle_w).sum::<u64>() as f64;
    let busy = |time: u64| now(time).iter().map(|one| one.busy_s).sum::<u64>() as f64 / SLOT as f64;
    let info = format!(
        ",gpu=\"{}\",model=\"{}\",pci_bus_id=\"00000000:{}1:00.0\",driver_version=\"580.95.05\"",
        gpu.index, gpu.model, gpu.index
    );
    let h100 = gpu.site == "north";
    write("gpu_info", &info, &|_| 1.0);
    write("gpu_up", "", &|_| 1.0);
    write("gpu_energy_joules_total", "", &|time| counter(&growth, gpu, time));
    write("attribution_residual_joules", "", &|_| 0.0);
    write("gpu_power_watts", "", &watts);
    write("gpu_power_limit_watts", "", &|_| if h100 { 700.0 } else { 400.0 });
    write("gpu_idle_power_watts", "", &|_| gpu.idle_w as f64);
    write("gpu_utilization_ratio", "", &busy);
    write("gpu_last_sample_timestamp_seconds", "", &|time| time as f64 - 1.0);
    write("gpu_memory_total_bytes", "", &|_| 80.0 * 1_073_741_824.0);
    write("gpu_memory_used_bytes", "", &|time| {
        1e9 + 3.4e10 * now(time).iter().filter(|one| one.active_w > 0).count() as f64
    });
    write("gpu_temperature_celsius", "", &|time| (30.0 + watts(time) / 14.0).round());
    write("gpu_clock_hertz", ",clock=\"sm\"", &|time| {
        if watts(time) > 100.0 { 1.98e9 - 1e6 * (watts(time) / 4.0).round() } else { 345e6 }
    });
    write("gpu_clock_hertz", ",clock=\"memory\"", &|_| 2.619e9);
    write("gpu_energy_disagreement_ratio", "", &|time| 0.002 + 0.00001 * (watts(time) % 700.0));
    write("gpu_energy_disbelieved_joules_total", "", &|_| 0.0);
    if number == 6 {
        // One in the last night.
        write("gpu_energy_counter_resets_total", "", &|time| if time < END - 14 * 3600 { 0.0 } else { 1.0 });
    }
}

/// What the accounting of a GPU rests on: 1 for what is in force, 0 for the others.
fn choices(page: &mut Page, gpu: &Gpu) {
    let h100 = gpu.site == "north";
    let choices: [(&str, &str, &[&str], &str); 3] = [
        ("gpu_energy_source", "source", &["counter", "power"], "counter"),
        (
            "gpu_split_basis",
            "basis",
            &["utilization", "mig", "memory", "equal"],
            if h100 { "utilization" } else { "memory" },
        ),
        (
            "gpu_idle_basis",
            "basis",
            &["configured", "learnt", "unknown"],
            if h100 { "configured" } else { "learnt" },
        ),
    ];
    for (name, label, values, chosen) in choices {
        for value in values {
            let more = format!(",{label}=\"{value}\"");
            of_gpu(page, gpu, (name, &more), &|_| f64::from(u8::from(value == &chosen)));
        }
    }
}

/// What exporters say of themselves.
fn of_exporters(page: &mut Page) {
    for (number, gpu) in GPUS.iter().enumerate().filter(|(_, gpu)| gpu.index == 0) {
        let base = target(gpu);
        let mut write = |name: &str, more: &str, value: &dyn Fn(u64) -> f64| {
            let samples = seen(gpu, LAST_DAY).map(|time| (time, value(time)));
            page.series(&format!("{name}{{{base}{more}}}"), samples);
        };
        let since = |time: u64| (time - START) as f64;
        write("wattribute_rules_last_reload_successful", "", &|_| 1.0);
        write("wattribute_rules_last_reload_success_timestamp_seconds", "", &|_| START as f64 + 7200.0);
        write("wattribute_pid_namespace_mismatch", "", &|_| 0.0);
        write("wattribute_state_write_failed", "", &|_| 0.0);
        write("wattribute_source_info", ",source=\"nvml\"", &|_| 1.0);
        write("wattribute_build_info", ",version=\"0.1.0\",revision=\"0123abc\"", &|_| 1.0);
        let reasons: [(&str, f64); 2] = [("unmatched", 40_000.0), ("slurm_unreachable", 200_000.0)];
        for (reason, every) in reasons {
            let more = format!(",reason=\"{reason}\"");
            write("wattribute_identify_failures_total", &more, &|time| (since(time) / every).floor());
        }
        let failed = ",call=\"nvmlDeviceGetProcessUtilization\",error=\"NotFound\"";
        write("wattribute_nvml_errors_total", failed, &|time| (since(time) / 9000.0).floor());
        for call in ["nvmlDeviceGetFieldValues", "nvmlDeviceGetProcessUtilization"] {
            let slow = if call.ends_with("Values") { 0.3 } else { 0.1 };
            for (bound, share) in [("0.001", slow), ("0.01", 0.98), ("0.1", 1.0), ("+Inf", 1.0)] {
                let more = format!(",call=\"{call}\",le=\"{bound}\"");
                write("wattribute_nvml_call_duration_seconds_bucket", &more, &|time| {
                    (since(time) * share).floor()
                });
            }
            let more = format!(",call=\"{call}\"");
            write("wattribute_nvml_call_duration_seconds_count", &more, &|time| since(time));
            write("wattribute_nvml_call_duration_seconds_sum", &more, &|time| since(time) / 300.0);
        }
        write("process_cpu_seconds_total", "", &|time| since(time) * (0.004 + 0.001 * number as f64));
        write("process_resident_memory_bytes", "", &|_| 11.5e6 + 5e5 * number as f64);
        write("up", "", &|_| 1.0);
        write("process_start_time_seconds", "", &|_| START as f64 - 100.0);
    }
}
