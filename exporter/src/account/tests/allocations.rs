//! Allocations that come and go: who holds a GPU by a scheduler's word pays for it, whoever computes there.

use super::*;
use crate::account::series::Subject;
use crate::allocation::{Allocation, Allocations, Device};

/// A holder, its GPU, and its user; no user is one that is still being fetched.
type Word<'a> = (&'a str, Device, Option<&'a str>);

impl World {
    /// A scheduler says all that it has allocated.
    fn allocate(&mut self, source: &'static str, words: &[Word<'_>]) {
        let generation = self.accountant.generation;
        self.tell(Event::Allocations(said(source, generation, words)));
    }

    /// A second goes by in which a GPU draws 300 J, 100 of them idle.
    fn second(&mut self, on: &[(u32, u32)]) {
        self.now += SECOND;
        let drawn = (self.now / SECOND - 100) * 300_000;
        self.sample(0, value(drawn), on);
        self.publish();
    }

    /// Energy in mJ and held time in ms of a workload so far, visible or not.
    fn workload(&mut self, name: &str) -> Option<(u64, u64)> {
        let snapshot = self.publish();
        let mut all = snapshot.visible;
        all.add(&snapshot.hidden);
        let is_it = |labels: &SeriesLabels| labels.subject == Subject::Workload(name.into());
        let ids: Vec<_> = snapshot.series.iter().filter(|(_, labels)| is_it(labels)).collect();
        let sums = ids.iter().map(|(id, _)| all.series.get(id).copied().unwrap_or_default());
        let sums = sums.map(|one| (one.energy.0, one.held.0 / 1000));
        sums.reduce(|(energy, held), (more, longer)| (energy + more, held + longer))
    }
}

/// What a scheduler says of these holders, the name of each being its job.
pub fn said(source: &'static str, generation: u64, words: &[Word<'_>]) -> Allocations {
    let mut held: BTreeMap<Arc<str>, Vec<Allocation>> = BTreeMap::new();
    for (holder, device, user) in words {
        let mut facts = Facts::default();
        facts.set(Field::Scheduler, "slurm");
        facts.set(Field::JobId, *holder);
        match user {
            Some(user) => facts.set(Field::User, *user),
            None => facts.set_pending(Field::User),
        }
        let allocation = Allocation { device: device.clone(), replicas: 1, facts: Arc::new(facts) };
        held.entry((*holder).into()).or_default().push(allocation);
    }
    Allocations { source, generation, held }
}

/// A world with one GPU, which has just been read for the first time.
fn world() -> World {
    let mut world = World::new(100 * SECOND, None);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    world
}

#[track_caller]
fn check_teams(world: &mut World, want: &[(&str, u64)]) {
    let want: BTreeMap<String, u64> = want.iter().map(|(team, energy)| ((*team).into(), *energy)).collect();
    assert_eq!(world.teams(), want);
}

const GPU: Device = Device::Index(0);

#[test]
fn who_holds_a_gpu_pays_for_it_without_any_process() {
    let mut world = world();
    world.second(&[]);
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.second(&[]);
    world.second(&[]);
    world.allocate("slurm", &[]);
    world.second(&[]);
    // The 200 W that nobody computed for fall to whoever holds, and are nobody's work where nobody does.
    check_teams(&mut world, &[("ada", 600_000), ("unallocated", 200_000), ("unattributed", 400_000)]);
    assert_eq!(world.workload("slurm:7"), Some((600_000, 2000)));
    let rules = world.publish().hidden.rules;
    let by_user = |evidence| RuleKey { rule: "by user".into(), evidence: Some(evidence) };
    assert!(
        rules.contains_key(&by_user(Evidence::Scheduler)) && !rules.contains_key(&by_user(Evidence::Kernel))
    );
}

#[test]
fn a_guest_on_an_allocated_gpu_pays_for_its_work_and_does_not_hold() {
    let mut world = world();
    let guest = world.start(10);
    world.learn(guest, &[(Field::User, "bob-y")]);
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.second(&[(10, 50)]);
    world.learn(guest, &[(Field::User, "bob-y")]);
    check_teams(&mut world, &[("ada", 100_000), ("bob", 200_000)]);
    assert_eq!(world.workload("slurm:7"), Some((100_000, 1000)));
}

#[test]
fn a_holders_own_processes_pay_in_its_place() {
    let mut world = world();
    let process = world.start(10);
    let job = [(Field::User, "ada-x"), (Field::Scheduler, "slurm"), (Field::JobId, "7")];
    world.learn(process, &job);
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.second(&[(10, 50)]);
    world.learn(process, &job);
    check_teams(&mut world, &[("ada", 300_000)]);
    assert_eq!(world.workload("slurm:7"), Some((300_000, 1000)));
}

#[test]
fn a_holder_that_two_schedulers_name_counts_once() {
    let mut world = world();
    world.allocate("slurm", &[("7", GPU, Some("ada-x")), ("8", GPU, Some("bob-y"))]);
    world.allocate("prolog", &[("7", Device::Uuid(uuid(0)), None)]);
    world.second(&[]);
    check_teams(&mut world, &[("ada", 150_000), ("bob", 150_000)]);
    // Of whom it was known who pays, it stays known while anybody names it.
    world.allocate("slurm", &[]);
    world.second(&[]);
    check_teams(&mut world, &[("ada", 450_000), ("bob", 150_000)]);
    world.allocate("prolog", &[]);
    world.second(&[]);
    check_teams(
        &mut world,
        &[("ada", 450_000), ("bob", 150_000), ("unallocated", 100_000), ("unattributed", 200_000)],
    );
}

#[test]
fn two_jobs_of_one_owner_share_its_part_evenly() {
    let mut world = world();
    world.allocate("slurm", &[("7", GPU, Some("ada-x")), ("8", GPU, Some("ada-x"))]);
    world.second(&[]);
    assert_eq!(world.workload("slurm:7"), Some((150_000, 500)));
    assert_eq!(world.workload("slurm:8"), Some((150_000, 500)));
}

#[test]
fn pending_facts_of_an_allocation_make_the_interval_wait() {
    let mut world = world();
    world.allocate("prolog", &[("7", GPU, None)]);
    world.second(&[]);
    assert_eq!(world.accountant.delay.waiting(), 1);
    world.allocate("prolog", &[("7", GPU, Some("ada-x"))]);
    world.second(&[]);
    assert_eq!(world.accountant.delay.waiting(), 0);
    check_teams(&mut world, &[("ada", 600_000)]);
}

#[test]
fn facts_that_never_come_are_counted_and_bill_nobody() {
    let mut world = world();
    for _ in 0..3 * DELAY {
        world.allocate("prolog", &[("7", GPU, None)]);
        world.second(&[]);
    }
    world.now += DELAY * SECOND;
    check_teams(&mut world, &[("unattributed", 3 * DELAY * 300_000)]);
    assert_eq!(world.publish().failures["facts_never_came"], 3 * DELAY);
}

#[test]
fn new_rules_wait_for_what_the_scheduler_says_for_them() {
    let mut world = world();
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.second(&[]);
    world.tell(Event::Rules(rules()));
    world.tell(Event::Allocations(said("slurm", 0, &[("7", GPU, Some("bob-y"))])));
    world.second(&[]);
    assert_eq!(world.accountant.delay.waiting(), 1, "that was said for the rules before");
    world.tell(Event::Allocations(said("slurm", 0, &[("7", GPU, Some("bob-y")), ("8", GPU, Some("bob-y"))])));
    world.tell(Event::Allocations(said("slurm", 0, &[("7", GPU, Some("bob-y"))])));
    world.allocate("slurm", &[("7", GPU, Some("bob-y"))]);
    world.second(&[]);
    check_teams(&mut world, &[("ada", 300_000), ("bob", 600_000)]);
}

#[test]
fn an_allocation_that_ends_after_a_reload_is_billed_as_before_it() {
    let mut world = world();
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.tell(Event::Rules(rules()));
    world.second(&[]);
    world.allocate("slurm", &[]);
    world.publish();
    check_teams(&mut world, &[("ada", 300_000)]);
}

#[test]
fn ignoring_a_process_ignores_no_allocation() {
    let mut world = world();
    let mut word = said("slurm", 0, &[("7", GPU, Some("ada-x"))]);
    for one in word.held.values_mut().flatten() {
        Arc::make_mut(&mut one.facts).set(Field::Comm, "Xorg");
    }
    world.tell(Event::Allocations(word));
    world.second(&[]);
    check_teams(&mut world, &[("ada", 300_000)]);
}

#[track_caller]
fn check_device(device: &Device, is_here: bool) {
    let mut world = world();
    world.allocate("slurm", &[("7", device.clone(), Some("ada-x"))]);
    (0..20).for_each(|_| world.second(&[]));
    assert_eq!(world.teams().contains_key("ada"), is_here, "{device:?}");
    let counted = world.publish().failures.get("allocation_unknown_gpu").copied();
    assert_eq!(counted, if is_here { None } else { Some(1) }, "{device:?}");
}

#[test]
fn a_gpu_that_is_not_here_is_counted_once_and_never_guessed() {
    check_device(&GPU, true);
    check_device(&Device::Uuid(uuid(0)), true);
    check_device(&Device::Uuid("MIG-GPU-0/1/0".into()), true);
    for unknown in
        ["GPU-1", "GPU-", "", "0", "MIG-GPU-0", "MIG-GPU-1/1/0", "MIG-5c89852c-d268-c3f3-1b07-005d5ae1dc3f"]
    {
        check_device(&Device::Uuid(unknown.into()), false);
    }
    check_device(&Device::Index(1), false);
}

#[test]
fn a_gpu_that_opens_after_the_scheduler_named_it_is_held() {
    let mut world = World::new(100 * SECOND, None);
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    world.second(&[]);
    check_teams(&mut world, &[("ada", 300_000)]);
    (0..20).for_each(|_| world.second(&[]));
    assert_eq!(world.publish().failures.get("allocation_unknown_gpu"), None);
}

#[test]
fn the_series_of_a_job_goes_five_minutes_after_its_allocation() {
    let mut world = world();
    world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    world.second(&[]);
    world.allocate("slurm", &[]);
    world.now += 299 * SECOND;
    assert!(world.workload("slurm:7").is_some());
    world.now += 10 * SECOND;
    assert!(world.workload("slurm:7").is_none());
    assert_eq!(world.teams()["ada"], 300_000);
}

/// Three seconds of a process of ada's; bob's job has had the GPU all the while, as Slurm says after `silent` seconds.
fn teams_after_silence(schedulers: &[&'static str], silent: u64) -> BTreeMap<String, u64> {
    let mut world = World::beside(schedulers, 100 * SECOND, None);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    let process = world.start(10);
    for second in 0..3 {
        if second == silent {
            world.allocate("slurm", &[("7", Device::Index(0), Some("bob-y"))]);
        }
        world.second(&[(10, 50)]);
        world.learn(process, &[(Field::User, "ada-x")]);
    }
    world.teams()
}

#[test]
fn what_was_measured_before_a_scheduler_first_spoke_waits_for_its_word() {
    let spoke_first = teams_after_silence(&["slurm"], 0);
    assert!(spoke_first["bob"] > 0, "{spoke_first:?}");
    assert_eq!(teams_after_silence(&["slurm"], 2), spoke_first);
    // Who is not waited for is heard from the next interval on.
    assert_ne!(teams_after_silence(&[], 2), spoke_first);
}

#[test]
fn a_scheduler_that_never_speaks_is_waited_for_one_delay() {
    let mut world = World::beside(&["slurm"], 100 * SECOND, None);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    let process = world.start(10);
    for second in 0..2 * DELAY {
        world.second(&[(10, 50)]);
        world.learn(process, &[(Field::User, "ada-x")]);
        let waits = world.accountant.delay.waiting() > 0;
        assert_eq!(waits, second + 1 < DELAY, "second {second}");
    }
    assert_eq!(world.teams().keys().collect::<Vec<_>>(), ["ada"]);
    assert_eq!(world.publish().failures["allocations_never_came"], 1);
}

#[test]
fn an_allocation_by_index_follows_the_gpu_that_has_it_now() {
    let mut world = world();
    let word = |world: &mut World| world.allocate("slurm", &[("7", GPU, Some("ada-x"))]);
    word(&mut world);
    let tickets = |world: &World| [0, 1].map(|gpu| world.accountant.holdings.tickets(&uuid(gpu)).len());
    world.tell(sample::Event::Opened(card(1)));
    assert_eq!(tickets(&world), [1, 0]);
    // The driver was loaded anew and counts the other way round.
    world.tell(sample::Event::Opened(Card { index: 0, ..card(1) }));
    assert_eq!(tickets(&world), [0, 1]);
    world.tell(sample::Event::Opened(Card { index: 1, ..card(0) }));
    assert_eq!(tickets(&world), [0, 1]);
}
