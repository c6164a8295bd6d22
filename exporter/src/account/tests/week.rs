//! A week on virtual time: as much is held at its end as after its first hours, and no joule is missing.

use super::*;

const DAY: u64 = 24 * 3600;
/// The time between two samples, in seconds.
const STEP: u64 = 30;
/// A process starts this often, in seconds, and lives for three times as long.
const PACE: u64 = 60;
/// Pids come round again, as they do in a kernel.
const PIDS: u64 = 500;

/// What is counted.
const HELD: [&str; 6] = ["processes", "places", "series", "waiting", "maturing", "accounts"];

/// Two GPUs, one shared by processes that come and go, each a job of its own; one that is
/// idle half of the day.
struct Site {
    world: World,
    /// Since the first reading, in mJ.
    counters: [u64; 2],
    living: BTreeMap<u64, ProcessKey>,
}

impl Site {
    fn new() -> Self {
        let mut world = World::new(100 * SECOND, None);
        (0..2).for_each(|index| world.tell(sample::Event::Opened(card(index))));
        (0..2).for_each(|index| world.sample(index, value(0), &[]));
        Self { world, counters: [0; 2], living: BTreeMap::new() }
    }

    fn pass(&mut self, second: u64) {
        self.world.now += STEP * SECOND;
        if second.is_multiple_of(PACE) {
            self.churn(second / PACE);
        }
        if second.is_multiple_of(DAY / 2) {
            self.world.tell(Event::Rules(rules()));
        }
        let on: Vec<(u32, u32)> = self.living.values().map(|key| (key.pid, 20)).collect();
        let works = second % DAY < DAY / 2;
        self.counters[0] += STEP * 350_000;
        self.counters[1] += STEP * if works { 500_000 } else { 80_000 };
        self.world.sample(0, value(self.counters[0]), &on);
        self.world.sample(1, value(self.counters[1]), if works { &on[..1] } else { &[] });
        if second.is_multiple_of(PACE) {
            self.living.clone().into_iter().for_each(|(number, key)| self.tell_of(number, key));
        }
    }

    /// One starts, and the one that started three before it ends.
    fn churn(&mut self, number: u64) {
        if let Some(key) = number.checked_sub(3).and_then(|number| self.living.remove(&number)) {
            self.world.end(key);
        }
        let key = self.world.start(u32::try_from(10 + number % PIDS).expect("a pid"));
        self.living.insert(number, key);
    }

    fn tell_of(&mut self, number: u64, key: ProcessKey) {
        let (user, job) = (["ada-x", "bob-y", "cleo-z"][(number % 3) as usize], number.to_string());
        let scheduled = [(Field::Scheduler, "slurm"), (Field::JobId, &*job)];
        self.world.learn(key, &[&[(Field::User, user), (Field::Comm, "python")][..], &scheduled].concat());
    }
}

#[test]
fn a_week_leaks_neither_memory_nor_series_nor_a_millijoule() {
    let mut site = Site::new();
    // The most of each day.
    let mut days = [[0; HELD.len()]; 7];
    for second in (0..7 * DAY / STEP).map(|step| step * STEP) {
        site.pass(second);
        let snapshot = site.world.publish();
        assert!(snapshot.visible.ledger.gpus().all(|(_, account)| account.residual() == 0));
        let held = site.world.accountant.held();
        let most = &mut days[usize::try_from(second / DAY).expect("a day")];
        (0..HELD.len()).for_each(|index| most[index] = most[index].max(held[index]));
    }
    // The first day fills what is to be filled.
    for (day, most) in days.iter().enumerate().skip(2) {
        assert!(
            (0..HELD.len()).all(|index| most[index] <= days[1][index]),
            "day {day}: {days:?} of {HELD:?}"
        );
    }
    assert!(days[1].iter().all(|most| *most > 0), "{days:?} of {HELD:?}");
    let teams: u64 = site.world.teams().values().sum();
    assert_eq!(teams, site.counters.iter().sum::<u64>());
}
