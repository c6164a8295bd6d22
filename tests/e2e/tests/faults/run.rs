//! The run that the tests look at.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_nvml::{Code, Crowd, Effect, Fault, Gpu, Load, MigInstance, Scenario, Seconds};
use wattribute_e2e::{
    Auditor, Exporter, Flags, Process, Reading, Running, Scrape, Scratch, device_mj, readings,
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
pub const END_S: u64 = 14;
const LASTS_S: u64 = 26;

pub const JUMP_MJ: u64 = 50_000_000;

const RULES: &str = r#"
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: said
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

/// One scrape, when it was in scenario time, and how long it took.
pub struct Look {
    pub t_us: u64,
    pub took: Duration,
    pub scrape: Scrape,
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

    /// The scrapes between two times in s.
    pub fn between(&self, from_s: u64, to_s: u64) -> impl Iterator<Item = &Look> {
        self.looks.iter().filter(move |look| (from_s * 1_000_000..to_s * 1_000_000).contains(&look.t_us))
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

    /// In the last scrape the GPU has all its counter gained up to a reading no older than six seconds.
    #[track_caller]
    pub fn check_all_energy_is_there(&self, gpu: usize) {
        let (shown, gains) = (device_mj(self.last(), self.uuid(gpu)), self.gains(gpu));
        let at = gains.iter().position(|gain| *gain == shown);
        let at = at.unwrap_or_else(|| panic!("gpu {gpu}: {shown} mJ is not among {gains:?}"));
        assert!(gains.len() - at <= 7, "gpu {gpu}: reading {at} of {}", gains.len());
    }
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
        // What it catches up with in one interval must not look impossible.
        fault(FROZEN, Effect::CounterFrozen).until(BEGIN_S as f64 + 2.0),
        end(fault(HANGING, Effect::Hang { calls: vec![] })),
    ]
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

fn run() -> Run {
    let scratch = Scratch::new("faults");
    let processes = ["light", "heavy"].map(|team| Process::named("worker").env("TEAM", team).start());
    let scenario = scenario(&processes);
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(3)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (mut auditor, mut looks) = (Auditor::default(), vec![]);
    while scenario.now_us() < LASTS_S * 1_000_000 {
        let (t_us, begin) = (scenario.now_us(), Instant::now());
        let answer = exporter.get("/metrics", &[]).expect("a scrape");
        let took = begin.elapsed();
        let scrape = Scrape::parse(&answer.text(), wattribute_e2e::Format::Classic).expect("well formed");
        auditor.see(&scrape);
        looks.push(Look { t_us, took, scrape });
        sleep(Duration::from_millis(200));
    }
    let log = exporter.stderr();
    drop(exporter);
    let journal = scratch.path("journal.jsonl");
    let readings = (0..scenario.gpus.len()).map(|gpu| readings(&journal, gpu)).collect();
    Run { scenario, looks, readings, log }
}
