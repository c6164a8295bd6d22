//! MIG on virtual time: allocations of instances, processes on two of them, and instances that come and go.

use std::sync::Arc;

use wattribute::split::InstanceId;

use super::*;
use crate::allocation::{Allocation, Allocations, Device};
use crate::sample::{Mig, MigInstance};

fn id(gpu: u32) -> InstanceId {
    InstanceId { gpu, compute: 0 }
}

/// A GPU of seven slices with these instances: (number, slices, active percent).
fn divided(instances: &[(u32, u32, u32)]) -> Option<Mig> {
    let own = |&(number, slices, percent): &(u32, u32, u32)| MigInstance {
        id: id(number),
        uuid: format!("MIG-{number}").into(),
        slices,
        memory: Some(10 << 30),
        activity: Some(percent * 1000),
    };
    Some(Mig { slices: 7, instances: instances.iter().map(own).collect() })
}

/// A second passes, in which the GPU draws 100 W idle and 600 W for work of (pid, instance).
fn pass(world: &mut World, second: u64, (mig, on): (Option<Mig>, &[(u32, u32)])) {
    world.now += SECOND;
    let running = |&(pid, number): &(u32, u32)| Running { pid, instance: Some(id(number)), memory: Some(1) };
    let running = Some(on.iter().map(running).collect());
    let processes = Processes { running, utilization: None, strangers_only: false };
    world.sample_divided(mig, value(second * 700_000), processes);
    world.publish();
}

fn world() -> World {
    let mut world = World::new(100 * SECOND, None);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    world
}

fn allocate(world: &mut World, held: &[(&str, &str)]) {
    let held = held.iter().map(|(name, uuid)| {
        let facts = facts(&[(Field::User, name)]);
        let device = Device::Uuid((*uuid).into());
        (Arc::from(*name), vec![Allocation { device, replicas: 1, facts }])
    });
    let generation = world.accountant.generation;
    world.tell(Event::Allocations(Allocations { source: "slurm", generation, held: held.collect() }));
}

#[track_caller]
fn check_teams(world: &mut World, want: &[(&str, u64)]) {
    let want: BTreeMap<String, u64> = want.iter().map(|(team, energy)| ((*team).into(), *energy)).collect();
    assert_eq!(world.teams(), want);
}

#[test]
fn an_allocation_holds_its_instance_and_pays_for_its_activity() {
    let mut world = world();
    allocate(&mut world, &[("ada-x", "MIG-1"), ("bob-y", "MIG-2")]);
    let mig = divided(&[(1, 3, 100), (2, 2, 0), (5, 1, 0)]);
    // In one go, so that sevenths are whole.
    world.now += 6 * SECOND;
    pass(&mut world, 7, (mig, &[]));
    check_teams(&mut world, &[("ada", 4_200_000 + 300_000), ("bob", 200_000), ("unallocated", 200_000)]);
}

#[test]
fn who_allocated_an_instance_pays_from_when_it_exists_until_it_is_gone() {
    let mut world = world();
    allocate(&mut world, &[("ada-x", "MIG-9")]);
    pass(&mut world, 1, (divided(&[(1, 7, 0)]), &[]));
    pass(&mut world, 2, (divided(&[(9, 7, 0)]), &[]));
    pass(&mut world, 3, (divided(&[(9, 7, 0)]), &[]));
    pass(&mut world, 4, (divided(&[(1, 7, 0)]), &[]));
    // It shares second 2 with the instance that was there before; in second 4 it is nobody's any more.
    let teams = world.teams();
    assert_eq!(teams.values().sum::<u64>(), 4 * 700_000);
    assert_eq!(teams["ada"], 600_000 + 50_000 + 600_000 + 100_000);
}

#[test]
fn a_process_on_two_instances_has_a_verdict_on_each_and_one_series() {
    let mut world = world();
    let process = world.start(10);
    for second in 1..=2 {
        pass(&mut world, second, (divided(&[(1, 3, 100), (2, 4, 0)]), &[(10, 1), (10, 2)]));
        world.learn(process, &[(Field::User, "ada-x")]);
    }
    let snapshot = world.publish();
    check_teams(&mut world, &[("ada", 1_400_000)]);
    let view = &snapshot.gpus[0];
    assert_eq!((view.processes.len(), view.processes[0].memory), (1, Some(2)));
    assert_eq!(view.teams.values().map(|team| team.processes).sum::<usize>(), 1);
}

#[test]
fn a_verdict_knows_the_instance() {
    let mut world = world();
    let rules = "rules: [{name: by instance, match: ['mig_instance=~\"MIG-(?P<number>.)\"'], owner: {team: \"m${number}\"}}]";
    let source = Source { name: "mig.yaml".into(), text: rules.into() };
    let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules");
    world.tell(Event::Rules(Arc::new(rules)));
    let process = world.start(10);
    for second in 1..=2 {
        pass(&mut world, second, (divided(&[(1, 4, 50), (2, 2, 100)]), &[(10, 1), (10, 2)]));
        world.learn(process, &[(Field::User, "ada-x")]);
    }
    // Without idle watts all energy is work: half of four slices is as much as all of two.
    check_teams(&mut world, &[("m1", 700_000), ("m2", 700_000)]);
}

#[test]
fn who_was_on_an_instance_that_was_destroyed_pays_for_that_interval() {
    let mut world = world();
    let [before, after] = [10, 20].map(|pid| world.start(pid));
    pass(&mut world, 1, (divided(&[(1, 7, 100)]), &[(10, 1)]));
    world.learn(before, &[(Field::User, "ada-x")]);
    pass(&mut world, 2, (divided(&[(2, 7, 0)]), &[(20, 2)]));
    world.learn(after, &[(Field::User, "bob-y")]);
    let teams = world.teams();
    // Its activity in its last second is not known: its memory was not full, and all that was active.
    assert_eq!(
        (teams["ada"] >= 700_000 + 600_000, teams.values().sum::<u64>()),
        (true, 1_400_000),
        "{teams:?}"
    );
}

#[test]
fn an_index_of_slurms_says_nothing_while_mig_divides_a_gpu() {
    let mut world = world();
    let word = [("7", Device::Index(0), Some("ada-x"))];
    let tickets = |world: &mut World| {
        world.tell(Event::Allocations(allocations::said("slurm", 0, &word)));
        world.accountant.holdings.tickets(&uuid(0)).len()
    };
    assert_eq!(tickets(&mut world), 1);
    pass(&mut world, 1, (divided(&[(1, 7, 0)]), &[]));
    assert_eq!(tickets(&mut world), 0);
    pass(&mut world, 2, (None, &[]));
    assert_eq!(tickets(&mut world), 1);
}

/// The teams that pay for a process on instance 1, which is looked up in that second.
fn teams_of_one_found_in(second: u64) -> BTreeMap<String, u64> {
    let mut world = world();
    let rules = "rules: [{name: one, match: ['mig_instance=\"MIG-1\"'], owner: {team: one}}, {name: rest, match: ['user=~\".+\"'], owner: {team: rest}}]";
    let source = Source { name: "mig.yaml".into(), text: rules.into() };
    let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules");
    world.tell(Event::Rules(Arc::new(rules)));
    let process = world.start(10);
    for now in 1..=DELAY * 2 {
        let found: &[(u32, u32, u32)] = if now < second { &[] } else { &[(1, 7, 100)] };
        pass(&mut world, now, (divided(found), &[(10, 1)]));
        world.learn(process, &[(Field::User, "ada-x")]);
    }
    world.publish();
    world.teams()
}

#[test]
fn a_verdict_waits_for_the_name_of_the_instance() {
    assert!(!teams_of_one_found_in(3).contains_key("rest"));
    assert!(teams_of_one_found_in(3)["one"] >= 8 * 700_000);
}

#[test]
fn of_an_instance_whose_name_never_comes_the_process_is_unattributed() {
    let teams = teams_of_one_found_in(u64::MAX);
    assert!(
        teams["unattributed"] > 0 && !teams.contains_key("rest") && !teams.contains_key("one"),
        "{teams:?}"
    );
}
