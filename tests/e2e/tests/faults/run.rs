//! The run that the tests look at.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fake_nvml::{Code, Crowd, Effect, Fault, Gpu, Load, MigInstance, Scenario, Seconds};
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Process, Reading, Running, Scrape, Scratch, covered, device_mj,
    readings,
};

pub const HEALTHY: usize = 0;
pub const GROWING: usize = 1;
pub const GARBAGE: usize = 2;
pub const NO_MEMORY: usize = 3;
pub const NO_UTILIZATION: usize = 4;
pub const NEITHER: usize = 5;
pub const RESET: usize = 6;
pub const JUMP: usize = 7;
pub const NO_COUNTER: usize = 8;
pub const CODE_26: usize = 9;
pub const MIG: usize = 10;
pub const LOST: usize = 11;
pub const FROZEN: usize = 12;
pub const HANGING: usize = 13;
const COUNT: u32 = 14;

/// When the faults that come and go do so, in s.
pub const BEGIN_S: u64 = 8;
pub const END_S: u64 = 18;
/// The run lasts until the accounts have come so far, in s.
const ENOUGH_S: u64 = END_S + 5;

pub const JUMP_MJ: u64 = 50_000_000;

const RULES: &str = r#"
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: said
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

/// One scrape, and how long it took. Times are scenario times.
pub struct Look {
    /// How far the exporter had come: the last sample of the GPU that nothing happens to.
    pub t_us: u64,
    /// When the scrape was there.
    pub end_us: u64,
    pub took: Duration,
    pub scrape: Scrape,
    /// What a scenario time of 0 is in Unix time.
    epoch_us: u64,
}

impl Look {
    /// When a GPU answered last, in scenario time.
    pub fn sampled_us(&self, uuid: &str) -> Option<u64> {
        let value = self.scrape.value("wattribute_gpu_last_sample_timestamp_seconds", &[("uuid", uuid)]);
        Duration::try_from_secs_f64(value?.parse().ok()?).ok().and_then(|unix| self.scenario_us(unix))
    }

    fn scenario_us(&self, unix: Duration) -> Option<u64> {
        u64::try_from(unix.as_micros()).ok()?.checked_sub(self.epoch_us)
    }

    /// Whether a GPU is up; or had no sample for so long that it may be down, for the machine had other things to do.
    pub fn is_up(&self, uuid: &str) -> bool {
        let up = self.scrape.value("wattribute_gpu_up", &[("uuid", uuid)]) == Some("1");
        up || self.sampled_us(uuid).is_some_and(|at_us| at_us + 2_000_000 < self.end_us)
    }
}

/// What the run left behind.
pub struct Run {
    pub scenario: Scenario,
    pub looks: Vec<Look>,
    /// Of each GPU.
    pub readings: Vec<Vec<Reading>>,
    pub log: String,
}

pub static RUN: LazyLock<Run> = LazyLock::new(run);

impl Run {
    pub fn uuid(&self, gpu: usize) -> &str {
        &self.scenario.gpus[gpu].uuid
    }

    /// The last scrape.
    #[track_caller]
    pub fn last(&self) -> &Scrape {
        &self.looks.last().expect("there are many").scrape
    }

    /// The scrapes from a time in s, when the exporter had come so far, to another, which was still to come.
    pub fn between(&self, from_s: u64, to_s: u64) -> impl Iterator<Item = &Look> {
        let is_in = move |look: &&Look| look.t_us >= from_s * 1_000_000 && look.end_us < to_s * 1_000_000;
        self.looks.iter().filter(is_in)
    }

    /// The scrapes from a time in s on, when the exporter had come so far.
    pub fn since(&self, from_s: u64) -> impl Iterator<Item = &Look> {
        self.between(from_s, u64::MAX / 1_000_000)
    }

    /// What a GPU drew on average, as the last scrape has it, in watts.
    #[track_caller]
    pub fn mean_watts(&self, gpu: usize) -> f64 {
        let energy = self.last().find("wattribute_gpu_energy_joules_total", &[("uuid", self.uuid(gpu))]);
        energy[0].number() / covered(self.last())[self.uuid(gpu)]
    }

    /// What a GPU's counter had gained with each reading; after a fall it counts from zero.
    pub fn gains(&self, gpu: usize) -> Vec<u64> {
        let all = &self.readings[gpu];
        let gain = |pair: &[Reading]| pair[1].mj.checked_sub(pair[0].mj).unwrap_or(pair[1].mj);
        let mut sum = 0;
        std::iter::once(0)
            .chain(all.windows(2).map(|pair| {
                sum += gain(pair);
                sum
            }))
            .collect()
    }

    /// In the last scrape the GPU has all its counter gained up to a reading after all faults, to the millijoule.
    #[track_caller]
    pub fn check_all_energy_is_there(&self, gpu: usize) {
        let (shown, gains) = (device_mj(self.last(), self.uuid(gpu)), self.gains(gpu));
        let at = gains.iter().position(|gain| *gain == shown);
        let at = at.unwrap_or_else(|| panic!("gpu {gpu}: {shown} mJ is not among {gains:?}"));
        let reading = self.readings[gpu][at];
        assert!(reading.t_us > (END_S + 2) * 1_000_000, "gpu {gpu}: {reading:?}");
    }
}

/// The middle one of some values, in order.
#[track_caller]
pub fn median<T: Copy + Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values[values.len() / 2]
}

fn fault(gpu: usize, effect: Effect) -> Fault {
    Fault::new(gpu, BEGIN_S as f64, effect)
}

fn error(calls: &[&str], code: Code) -> Effect {
    Effect::Error { calls: calls.iter().map(ToString::to_string).collect(), code }
}

fn faults() -> Vec<Fault> {
    let end = |fault: Fault| fault.until(END_S as f64);
    let calls = ["nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo"];
    let no_utilization = |gpu| Fault::new(gpu, 0.0, error(&calls, Code::NOT_SUPPORTED));
    let no_memory = |gpu| Fault::new(gpu, 0.0, Effect::MemoryUnavailable);
    vec![
        end(fault(GROWING, Effect::GrowingList { by: 20 })),
        Fault::new(GARBAGE, 0.0, Effect::Garbage),
        no_memory(NO_MEMORY),
        no_utilization(NO_UTILIZATION),
        no_utilization(NEITHER),
        no_memory(NEITHER),
        fault(RESET, Effect::CounterReset),
        Fault::new(RESET, END_S as f64 + 0.5, Effect::CounterReset),
        fault(JUMP, Effect::CounterJump { mj: JUMP_MJ.cast_signed() }),
        end(fault(CODE_26, error(&[], Code(26)))),
        fault(LOST, error(&[], Code::GPU_IS_LOST)),
        frozen(0.0),
        frozen(4.0),
        frozen(8.0),
        end(fault(HANGING, Effect::Hang { calls: vec![] })),
    ]
}

/// A counter that stands still for more than one interval. It does so thrice, should samples be late; and no longer,
/// for what it catches up with in one interval, be that short, must not look impossible.
fn frozen(after_s: f64) -> Fault {
    let from_s = BEGIN_S as f64 + after_s;
    Fault::new(FROZEN, from_s, Effect::CounterFrozen).until(from_s + 1.6)
}

/// Two processes on each GPU, of teams `light` (30 %, 1 GiB) and `heavy` (60 %, 3 GiB).
fn scenario(processes: &[Running]) -> Scenario {
    let mut scenario = Scenario::starting_now((0..COUNT).map(Gpu::numbered).collect());
    scenario.gpus[NO_COUNTER].counter = false;
    scenario.gpus[RESET].counter_offset_mj = 900_000_000;
    scenario.gpus[MIG].mig = (1..3).map(instance).collect();
    for gpu in 0..scenario.gpus.len() {
        for (place, (percent, memory)) in [(30, 1024), (60, 3072)].into_iter().enumerate() {
            let mig = (gpu == MIG).then_some(place);
            let load = Load::constant(processes[place].pid(), gpu, percent);
            scenario.loads.push(Load { memory_mib: Some(memory), mig, ..load });
        }
    }
    let crowd = Crowd {
        gpu: GROWING,
        pids_from: 5_000_000,
        count: 50,
        memory_mib: Some(1),
        from_s: (BEGIN_S as f64 + 2.0).into(),
        until_s: Some((BEGIN_S as f64 + 4.0).into()),
    };
    scenario.crowds.push(crowd);
    scenario.faults = faults();
    scenario
}

fn instance(number: u32) -> MigInstance {
    let uuid = format!("MIG-00000000-0000-0000-0000-{number:012}");
    let (from_s, until_s) = (Seconds::default(), None);
    MigInstance {
        uuid,
        gpu_instance: number,
        compute_instance: 0,
        memory_mib: 40_000,
        slices: 3,
        from_s,
        until_s,
    }
}

/// What a scenario time of 0 is in Unix time.
fn epoch_us(scenario: &Scenario) -> u64 {
    let unix_us = UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
    u64::try_from(unix_us).expect("before 500000") - scenario.now_us()
}

fn look(auditor: &mut Auditor, exporter: &Exporter, (scenario, epoch_us): (&Scenario, u64)) -> Look {
    let begin = Instant::now();
    let scrape = auditor.scrape(exporter);
    let (took, end_us) = (begin.elapsed(), scenario.now_us());
    let look = Look { t_us: 0, end_us, took, scrape, epoch_us };
    let t_us = look.sampled_us(&scenario.gpus[HEALTHY].uuid).unwrap_or(0);
    Look { t_us, ..look }
}

/// Whether the accounts of all GPUs but the lost one have come far enough.
fn is_enough(scrape: &Scrape, scenario: &Scenario) -> bool {
    let covered = covered(scrape);
    let goes_on = scenario.gpus.iter().enumerate().filter(|(gpu, _)| *gpu != LOST);
    goes_on.map(|(_, card)| &card.uuid).all(|uuid| covered.get(uuid) >= Some(&(ENOUGH_S as f64)))
}

fn run() -> Run {
    let scratch = Scratch::new("faults");
    let processes = ["light", "heavy"].map(|team| Process::named("worker").env("TEAM", team).start());
    let scenario = scenario(&processes);
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(4)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (mut auditor, mut looks) = (Auditor::default(), vec![]);
    let (epoch_us, deadline) =
        (epoch_us(&scenario), Instant::now() + PATIENCE + Duration::from_secs(ENOUGH_S));
    loop {
        let look = look(&mut auditor, &exporter, (&scenario, epoch_us));
        let is_enough = is_enough(&look.scrape, &scenario);
        looks.push(look);
        if is_enough {
            break;
        }
        assert!(Instant::now() < deadline, "the accounts do not get on:\n{}", exporter.stderr());
        sleep(Duration::from_millis(200));
    }
    let log = exporter.stderr();
    drop(exporter);
    let journal = scratch.path("journal.jsonl");
    let readings = (0..scenario.gpus.len()).map(|gpu| readings(&journal, gpu)).collect();
    Run { scenario, looks, readings, log }
}
