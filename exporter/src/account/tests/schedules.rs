//! Random schedules: whatever happens, nothing is lost, no counter falls, and every series is born at zero.

use proptest::prelude::*;

use super::allocations::said;
use super::*;
use crate::allocation::Device;

/// What may happen in a second.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Start {
        pid: u32,
        gpu: u32,
    },
    End {
        pid: u32,
    },
    Facts {
        pid: u32,
        team: u32,
    },
    NoFacts {
        pid: u32,
    },
    Energy {
        gpu: u32,
        millijoules: u64,
    },
    CounterReset {
        gpu: u32,
    },
    Unreadable {
        gpu: u32,
    },
    Silence,
    NewRules,
    /// A scheduler says that these jobs hold GPUs: job, GPU and user, of those in [`USERS`] or pending.
    Allocate {
        by_prolog: bool,
        held: [Option<(u32, u32)>; 3],
    },
    Crash {
        seconds: u64,
    },
}

/// A user that has no rule, one that is not a name, and two that have.
const USERS: [&str; 4] = ["ada-x", "bob-y", "nobody", ""];

/// The GPU, of which there are but two, and the user of a job that holds it; a user too many is pending.
fn hold() -> impl Strategy<Value = Option<(u32, u32)>> {
    prop::option::of((0..3_u32, 0..5_u32))
}

fn happening() -> impl Strategy<Value = Happening> {
    let (pid, gpu) = (1..6_u32, 0..2_u32);
    prop_oneof![
        3 => (pid.clone(), gpu.clone()).prop_map(|(pid, gpu)| Happening::Start { pid, gpu }),
        2 => pid.clone().prop_map(|pid| Happening::End { pid }),
        3 => (pid.clone(), 0..4_u32).prop_map(|(pid, team)| Happening::Facts { pid, team }),
        1 => pid.prop_map(|pid| Happening::NoFacts { pid }),
        5 => (gpu.clone(), 0..700_000_u64).prop_map(|(gpu, millijoules)| Happening::Energy { gpu, millijoules }),
        1 => gpu.clone().prop_map(|gpu| Happening::CounterReset { gpu }),
        1 => gpu.prop_map(|gpu| Happening::Unreadable { gpu }),
        1 => Just(Happening::Silence),
        1 => Just(Happening::NewRules),
        4 => (any::<bool>(), [hold(), hold(), hold()])
            .prop_map(|(by_prolog, held)| Happening::Allocate { by_prolog, held }),
        1 => (0..20_u64).prop_map(|seconds| Happening::Crash { seconds }),
    ]
}

/// A machine: what the hardware truly did, beside what the accountant makes of it.
struct Machine {
    world: World,
    counters: [u64; 2],
    /// What the counters showed when they were last read, and all that they have shown to a reader since the first.
    read: [u64; 2],
    shown: [u64; 2],
    /// GPU and start by pid.
    on: BTreeMap<u32, (u32, ProcessKey)>,
    seen: BTreeMap<String, u64>,
}

impl Machine {
    fn new() -> Self {
        let world = World::new(100 * SECOND, None);
        let (read, counters, seen) = ([5_000_000, 9_000_000], [5_000_000, 9_000_000], BTreeMap::new());
        let mut machine = Self { world, counters, read, shown: [0; 2], on: BTreeMap::new(), seen };
        machine.boot();
        machine.sample(None);
        machine.check();
        machine
    }

    fn boot(&mut self) {
        self.world.power = None;
        (0..2).for_each(|index| self.world.tell(sample::Event::Opened(card(index))));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start { pid, gpu } if !self.on.contains_key(&pid) => {
                let key = self.world.start(pid);
                self.on.insert(pid, (gpu, key));
            }
            Happening::End { pid } => {
                if let Some((_, key)) = self.on.remove(&pid) {
                    self.world.end(key);
                }
            }
            Happening::Facts { pid, team } => {
                if let Some((_, key)) = self.on.get(&pid).copied() {
                    let user = USERS[team as usize];
                    self.world.learn(key, &[(Field::User, user), (Field::Comm, "python")]);
                }
            }
            Happening::NoFacts { pid } => {
                if let Some((_, process)) = self.on.get(&pid).copied() {
                    self.world.tell(identify::Event::Failed { process, reason: "vanished" });
                }
            }
            Happening::Energy { gpu, millijoules } => {
                self.counters[gpu as usize] += millijoules;
            }
            Happening::CounterReset { gpu } => self.counters[gpu as usize] = 0,
            Happening::NewRules => self.world.tell(Event::Rules(rules())),
            Happening::Allocate { by_prolog, held } => {
                let source = if by_prolog { "prolog" } else { "slurm" };
                let held = ["7", "8", "9"].into_iter().zip(held).filter_map(|(job, hold)| Some((job, hold?)));
                let user = |user: u32| USERS.get(user as usize).copied();
                let held: Vec<_> = held.map(|(job, (gpu, of))| (job, Device::Index(gpu), user(of))).collect();
                let generation = self.world.accountant.generation;
                self.world.tell(Event::Allocations(said(source, generation, &held)));
            }
            Happening::Crash { seconds } => self.crash(seconds),
            Happening::Start { .. } | Happening::Unreadable { .. } | Happening::Silence => {}
        }
    }

    fn sample(&mut self, unreadable: Option<u32>) {
        for gpu in 0..2 {
            let on: Vec<(u32, u32)> =
                self.on.iter().filter(|(_, (at, _))| *at == gpu).map(|(pid, _)| (*pid, 15)).collect();
            if unreadable == Some(gpu) {
                self.world.sample(gpu, Counter::Failed, &on);
            } else {
                self.world.sample(gpu, value(self.counters[gpu as usize]), &on);
                self.read(gpu as usize);
            }
        }
    }

    /// The counter was read: what it gained, or all of it where it began anew and shows less.
    fn read(&mut self, gpu: usize) {
        let (before, now) = (self.read[gpu], self.counters[gpu]);
        self.shown[gpu] += if now < before { now } else { now - before };
        self.read[gpu] = now;
    }

    /// `kill -9` and a new start, with the state that was on disk.
    fn crash(&mut self, seconds: u64) {
        let snapshot = self.world.published.lock().expect("a lock").clone();
        let state = state_of(&snapshot);
        let (processes, now) = (Arc::clone(&self.world.processes), self.world.now + seconds * SECOND);
        self.world = World::new(now, Some(&state));
        *self.world.processes.lock().expect("a lock") = processes.lock().expect("a lock").clone();
        self.check();
        self.boot();
    }

    /// The laws: nothing lost, nothing twice, and no counter ever falls.
    fn check(&mut self) {
        let snapshot = self.world.publish();
        let mut all = snapshot.visible.clone();
        all.add(&snapshot.hidden);
        for book in [&snapshot.visible, &all] {
            assert!(book.ledger.gpus().all(|(_, account)| account.residual() == 0));
            let devices: u64 = book.ledger.gpus().map(|(_, account)| account.energy.0).sum();
            assert_eq!(book.rules.values().map(|energy| energy.0).sum::<u64>(), devices);
        }
        for (name, sum) in counters(&snapshot) {
            let before = self.seen.insert(name.clone(), sum);
            assert!(before.is_some() || sum == 0, "{name} is born with {sum}");
            assert!(before.unwrap_or_default() <= sum, "{name} fell from {before:?} to {sum}");
        }
    }

    /// What the accountant has booked of a GPU, visible or not.
    fn booked(&self, gpu: u32) -> u64 {
        let snapshot = self.world.published.lock().expect("a lock").clone();
        let mut all = snapshot.visible;
        all.add(&snapshot.hidden);
        all.ledger.gpu(&uuid(gpu)).energy.0
    }
}

/// Every counter that a scrape would show, by its labels.
fn counters(snapshot: &Snapshot) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for (uuid, account) in snapshot.visible.ledger.gpus() {
        all.push((format!("{uuid}"), account.energy.0));
        for (owner, one) in &account.owners {
            let amounts = [one.active.0, one.idle.0, one.estimated.0, one.held.0, one.busy.0];
            all.extend(
                (0..).zip(amounts).map(|(kind, sum): (u8, u64)| (format!("{uuid} {owner} {kind}"), sum)),
            );
        }
    }
    for (id, sums) in &snapshot.visible.series {
        all.push((format!("{:?}", snapshot.series.get(id)), sums.energy.0));
    }
    all.extend(snapshot.visible.rules.iter().map(|(key, sum)| (format!("{key:?}"), sum.0)));
    all
}

proptest! {
    // A schedule that fails is printed whole, with the seed that makes it again.
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_joule_is_accounted_whatever_happens(schedule in prop::collection::vec((happening(), happening()), 1..40)) {
        let mut machine = Machine::new();
        for (first, second) in schedule {
            machine.happen(first);
            machine.happen(second);
            machine.world.now += SECOND;
            let unreadable = match first {
                Happening::Unreadable { gpu } => Some(gpu),
                _ => None,
            };
            if !matches!(second, Happening::Silence) {
                machine.sample(unreadable);
            }
            machine.check();
        }
        machine.world.now += SECOND;
        machine.sample(None);
        machine.world.now += 2 * DELAY * SECOND;
        machine.check();
        for gpu in 0..2 {
            prop_assert_eq!(machine.booked(gpu), machine.shown[gpu as usize]);
        }
    }
}
