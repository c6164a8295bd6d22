//! Who is on the GPUs during a soak: a steady crowd, and guests who come and go. Real processes that sleep; that they
//! work is what the fake driver is told.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fake_nvml::{Fault, Gpu, Load, Scenario, Seconds, Use};

/// The driver is told this much ahead, in µs.
const AHEAD_US: u64 = 400_000;
/// Who left so long ago and never worked is in no answer of the driver any more, in µs.
const FORGOTTEN_US: u64 = 60_000_000;
/// So many guests work, one in ten of the first, and no more after them. The driver reads its scenario within the
/// exporter's memory, which is to be seen flat.
const WORKERS: u64 = 100;
const TEAMS: u64 = 12;

/// All who are there. They end with this value.
pub struct Crowd {
    /// What the fake driver goes by.
    pub scenario: Scenario,
    file: PathBuf,
    steady: Vec<Child>,
    guests: Vec<Guest>,
    /// How many guests there have been.
    pub guests_so_far: u64,
}

struct Guest {
    process: Child,
    until_us: u64,
}

impl Crowd {
    /// So many processes on each of so many GPUs; `file` is where the driver looks.
    #[must_use]
    pub fn gather(gpus: u32, each: u32, file: PathBuf) -> Self {
        let steady: Vec<Child> = (0..gpus * each).map(|number| start(number.into())).collect();
        let mut scenario = Scenario::starting_now((0..gpus).map(Gpu::numbered).collect());
        let on = |number: usize| number % gpus as usize;
        let load = |(number, one): (usize, &Child)| Load::constant(one.id(), on(number), 1);
        scenario.loads = steady.iter().enumerate().map(load).collect();
        Self { scenario, file, steady, guests: vec![], guests_so_far: 0 }
    }

    /// Some guests leave, as many as asked for come, and these faults will happen. The driver hears of all that.
    pub fn turn(&mut self, newcomers: u64, faults: impl IntoIterator<Item = Fault>) {
        let now = self.scenario.now_us();
        let stays = |guest: &mut Guest| {
            let stays = guest.until_us > now;
            if !stays {
                end(&mut guest.process);
            }
            stays
        };
        self.guests.retain_mut(stays);
        let is_forgotten = |load: &Load| {
            let long_ago = load.until_s.is_some_and(|until| until.us() + FORGOTTEN_US < now);
            long_ago && load.sm == Use::Constant(0)
        };
        self.scenario.loads.retain(|load| !is_forgotten(load));
        (0..newcomers).for_each(|_| self.enter(now + AHEAD_US));
        self.scenario.faults.extend(faults);
        self.scenario.save(&self.file).expect("an edit of the future");
    }

    /// All guests leave.
    pub fn dismiss(&mut self) {
        let now = self.scenario.now_us();
        self.guests.iter_mut().for_each(|guest| end(&mut guest.process));
        self.guests.clear();
        for load in &mut self.scenario.loads {
            load.until_s = load.until_s.map(|until| until.min(Seconds::from_us(now + 2 * AHEAD_US)));
        }
        self.turn(0, None);
    }

    /// A guest for 2 to 20 s. Some work, the others only hold memory: what works stays in the scenario for good, since the
    /// counter is its sum.
    fn enter(&mut self, from_us: u64) {
        self.guests_so_far += 1;
        let number = self.guests_so_far;
        let until_us = from_us + 2_000_000 + number * 7_919_000 % 18_000_000;
        let process = start(number * 7);
        let gpu = usize::try_from(number).unwrap_or(0) % self.scenario.gpus.len();
        let works = number.is_multiple_of(10) && number <= 10 * WORKERS;
        let load = Load::constant(process.id(), gpu, if works { 5 } else { 0 });
        let (from_s, until_s) = (Seconds::from_us(from_us), Some(Seconds::from_us(until_us)));
        self.scenario.loads.push(Load { from_s, until_s, ..load });
        self.guests.push(Guest { process, until_us });
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.steady.iter_mut().chain(self.guests.iter_mut().map(|guest| &mut guest.process)).for_each(end);
    }
}

fn start(number: u64) -> Child {
    let team = format!("team-{}", number % TEAMS);
    let mut command = Command::new("sleep");
    command.arg("1d").env_clear().env("PATH", "/usr/bin:/bin").env("TEAM", team).stdin(Stdio::null());
    command.spawn().expect("a process")
}

fn end(process: &mut Child) {
    // Either call fails only for a process that has already gone.
    process.kill().ok();
    process.wait().ok();
}
