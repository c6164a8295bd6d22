//! Ten days of three nodes, as whole watts in slots of five minutes: what every owner drew is known exactly, so that
//! costs can be computed by hand. In it: a restart without state, a price change, an idle GPU, a team that comes late.

/// 1 March 2026, 00:00 in the site's time zone (UTC+1, no daylight saving yet), Unix time in s.
pub const START: u64 = 1_772_319_600;
/// The length of a slot, in s.
pub const SLOT: u64 = 300;
/// Slots per hour.
pub const PER_HOUR: u64 = 12;
/// The replay ends on 10 March, 16:20 local time.
pub const SLOTS: u64 = (9 * 24 + 16) * PER_HOUR + 4;
/// When both prices change: 6 March, 00:00 local time.
pub const NEW_PRICES: u64 = START + 5 * 86_400;

/// The end, Unix time in s.
pub const END: u64 = START + SLOTS * SLOT;

/// A GPU of the replay.
#[derive(Clone, Copy, Debug)]
pub struct Gpu {
    pub instance: &'static str,
    pub site: &'static str,
    pub index: u64,
    pub model: &'static str,
    pub idle_w: u64,
}

const H100: &str = "NVIDIA H100 80GB HBM3";
const A100: &str = "NVIDIA A100-SXM4-80GB";

const fn gpu(
    instance: &'static str,
    site: &'static str,
    index: u64,
    (model, idle_w): (&'static str, u64),
) -> Gpu {
    Gpu { instance, site, index, model, idle_w }
}

/// All of them; the two A100 stand at another site.
pub const GPUS: &[Gpu] = &[
    gpu("gpu-a:19288", "north", 0, (H100, 72)),
    gpu("gpu-a:19288", "north", 1, (H100, 72)),
    gpu("gpu-a:19288", "north", 2, (H100, 72)),
    gpu("gpu-a:19288", "north", 3, (H100, 72)),
    gpu("gpu-b:19288", "north", 0, (H100, 72)),
    gpu("gpu-b:19288", "north", 1, (H100, 72)),
    gpu("gpu-c:19288", "south", 0, (A100, 54)),
    gpu("gpu-c:19288", "south", 1, (A100, 54)),
];

/// The exporter of node b is away for these slots, without a state folder: its counters begin anew after them.
pub const AWAY: std::ops::Range<u64> = RESTART..RESTART + 2;
const RESTART: u64 = (4 * 24 + 9) * PER_HOUR;

impl Gpu {
    pub fn uuid(&self) -> String {
        format!("GPU-{}-{:04}", &self.instance[4..5], self.index)
    }

    /// Whether its exporter runs in a slot.
    pub fn watched(&self, slot: u64) -> bool {
        self.instance != "gpu-b:19288" || !AWAY.contains(&slot)
    }
}

/// Who pays, what runs and why it is theirs.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    pub team: &'static str,
    pub project: &'static str,
    pub workload: &'static str,
    pub comm: &'static str,
    pub user: &'static str,
    pub rule: &'static str,
    pub evidence: &'static str,
}

macro_rules! owners {
    ($($name:ident $team:literal $project:literal $workload:literal $comm:literal $user:literal $rule:literal $evidence:literal;)*) => {
        $(pub const $name: Owner = Owner {
            team: $team, project: $project, workload: $workload, comm: $comm, user: $user, rule: $rule, evidence: $evidence,
        };)*
        pub const OWNERS: &[Owner] = &[$($name),*];
    };
}

owners! {
    AURORA "climate" "aurora" "slurm:4711" "python3" "alice" "slurm account" "scheduler";
    MONSOON "climate" "monsoon" "slurm:4802" "train.py" "bruno" "slurm account" "scheduler";
    CELLS "vision" "cells" "slurm:4790" "python3" "chen" "slurm account" "scheduler";
    CHAT "assistant" "assistant-prod" "pod:assistant-prod/llm-0" "vllm" "svc-llm" "kubernetes namespace" "scheduler";
    TEACHING "teaching" "" "unit:jupyter.service" "python3" "emmy" "people by group" "kernel";
    LIBRARY "library" "" "unit:search.service" "indexer" "svc-lib" "people by group" "kernel";
    GUEST "unattributed" "" "unit:session-9.scope" "miner" "guest" "" "";
    NOBODY "unallocated" "" "" "" "" "" "";
}

/// What an owner has of a GPU in a slot.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub owner: Owner,
    pub active_w: u64,
    pub idle_w: u64,
    /// Seconds of the slot.
    pub held_s: u64,
    /// Seconds of the slot.
    pub busy_s: u64,
}

/// A number below `below` that looks like noise and is the same in every run.
fn noise(gpu: usize, slot: u64, below: u64) -> u64 {
    let mixed = (slot * 8 + gpu as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) % 1_000_003 % below
}

/// Who shares a GPU in a slot, and the power that each uses above idle.
fn guests(gpu: usize, slot: u64) -> Vec<(Owner, u64)> {
    let (day, hour) = (slot / PER_HOUR / 24, slot / PER_HOUR % 24);
    let weekend = day % 7 == 0 || day % 7 == 6; // 1 March 2026 is a Sunday
    let some = |below| noise(gpu, slot, below);
    // A served model follows the day.
    let daily = 60 + 26 * (12 - hour.abs_diff(14).min(12));
    match gpu {
        0 | 1 => vec![(AURORA, 520 + some(60))],
        2 => vec![(CHAT, daily + some(40)), (CELLS, if hour >= 8 { 150 + some(50) } else { 0 })],
        3 if day >= 2 => vec![(MONSOON, 430 + some(90))],
        3 => vec![],
        4 => vec![(CHAT, daily + 40 + some(60))],
        5 if (8..19).contains(&hour) && !weekend => vec![(CELLS, 380 + some(80))],
        5 => vec![(CELLS, 0)], // held over night, and idle
        6 if (9..17).contains(&hour) && !weekend => vec![(TEACHING, 120 + some(130))],
        6 => vec![],
        7 if day == 3 && (11..16).contains(&hour) => vec![(GUEST, 240 + some(20))],
        7 if day >= 7 => vec![(LIBRARY, 20 + some(30))],
        _ => vec![],
    }
}

/// All that happens on a GPU in a slot; the watts add up to the GPU's.
pub fn uses(gpu: usize, slot: u64) -> Vec<Use> {
    let idle_w = GPUS[gpu].idle_w;
    let there = guests(gpu, slot);
    let sharers = there.len() as u64;
    if sharers == 0 {
        return vec![Use { owner: NOBODY, active_w: 0, idle_w, held_s: SLOT, busy_s: 0 }];
    }
    let busy = |active_w: u64| (active_w * SLOT / 630).min(SLOT);
    let one = |(owner, active_w)| Use {
        owner,
        active_w,
        idle_w: idle_w / sharers,
        held_s: SLOT / sharers,
        busy_s: busy(active_w),
    };
    there.into_iter().map(one).collect()
}

/// What all of it cost, computed from the watts by hand, with the prices of `prices.yaml` beside this file.
pub mod truth {
    use super::{GPUS, Gpu, NEW_PRICES, Owner, PER_HOUR, SLOT, SLOTS, START, Use, uses};

    /// Per kWh, at a time.
    fn tariff(gpu: &Gpu, time: u64) -> f64 {
        let hour = (time - START) / 3600 % 24;
        match (gpu.site, time >= NEW_PRICES) {
            ("north", true) => 0.36,
            ("north", false) if (6..22).contains(&hour) => 0.32,
            ("north", false) => 0.24,
            _ => 0.30,
        }
    }

    fn pue(gpu: &Gpu) -> f64 {
        if gpu.site == "north" { 1.12 } else { 1.3 }
    }

    fn rate(gpu: &Gpu, time: u64) -> f64 {
        match (gpu.model.contains("H100"), time >= NEW_PRICES) {
            (true, true) => 1.95,
            (true, false) => 2.10,
            (false, _) => 1.20,
        }
    }

    /// What is added up.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Sum {
        pub joules: f64,
        pub electricity: f64,
        pub hardware: f64,
        pub idle: f64,
        pub held_s: f64,
        pub grams: f64,
    }

    impl Sum {
        pub fn cost(&self) -> f64 {
            self.electricity + self.hardware
        }

        fn add(&mut self, gpu: &Gpu, time: u64, one: Use) {
            let [active_w, idle_w, held_s, busy_s, slot_s] =
                [one.active_w, one.idle_w, one.held_s, one.busy_s, SLOT].map(|whole| whole as f64);
            let joules = (active_w + idle_w) * slot_s;
            let per_joule = tariff(gpu, time) * pue(gpu) / 3.6e6;
            self.joules += joules;
            self.electricity += joules * per_joule;
            self.hardware += held_s / 3600.0 * rate(gpu, time);
            self.idle += idle_w * slot_s * per_joule;
            // Where busy time is only estimated, nobody says that hardware was idle.
            if gpu.site == "north" {
                self.idle += (held_s - busy_s) / 3600.0 * rate(gpu, time);
            }
            self.held_s += held_s;
            self.grams += joules * pue(gpu) / 3.6e6 * if gpu.site == "north" { 41.0 } else { 380.0 };
        }
    }

    /// Over the full hours since the month began, of all owners and GPUs that a condition holds for.
    pub fn month(counts: impl Fn(&Owner, &Gpu) -> bool) -> Sum {
        over(0..SLOTS / PER_HOUR * PER_HOUR, counts)
    }

    /// Over the last seven days of full hours.
    pub fn last_week(counts: impl Fn(&Owner, &Gpu) -> bool) -> Sum {
        let end = SLOTS / PER_HOUR * PER_HOUR;
        over(end - 7 * 24 * PER_HOUR..end, counts)
    }

    fn over(slots: std::ops::Range<u64>, counts: impl Fn(&Owner, &Gpu) -> bool) -> Sum {
        let mut sum = Sum::default();
        for (number, gpu) in GPUS.iter().enumerate() {
            for slot in slots.clone().filter(|slot| gpu.watched(*slot)) {
                for one in uses(number, slot).into_iter().filter(|one| counts(&one.owner, gpu)) {
                    sum.add(gpu, START + slot * SLOT, one);
                }
            }
        }
        sum
    }

    /// What a GPU costs per hour at the end, in money.
    pub fn per_hour(number: usize) -> f64 {
        let (gpu, last) = (&GPUS[number], START + SLOTS * SLOT - 1);
        let watts: u64 = uses(number, SLOTS - 1).iter().map(|one| one.active_w + one.idle_w).sum();
        watts as f64 / 1000.0 * tariff(gpu, last) * pue(gpu) + rate(gpu, last)
    }
}
