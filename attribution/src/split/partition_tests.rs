//! What the law says of a GPU in MIG mode, as data; and its laws, over random partitions.

use proptest::prelude::*;

use super::*;
use crate::owner::TEAM;

const GIB: u64 = 1 << 30;
const SECOND: Microseconds = Microseconds::SECOND;

fn team(name: &str) -> Owner {
    Owner::new([(TEAM, name)])
}

fn id(gpu: u32) -> InstanceId {
    InstanceId { gpu, compute: 0 }
}

/// A process as a test writes it: team, GPU instance (0: none known), memory in GiB.
type Row = (&'static str, u32, Option<u64>);

/// One second of a GPU with seven slices: instances as (id, slices, active percent), allocations as (team, id; 0: all).
#[derive(Clone, Copy)]
struct Case {
    active: u64,
    idle: u64,
    policy: IdlePolicy,
    instances: &'static [(u32, u32, Option<u32>)],
    allocations: &'static [(&'static str, u32)],
}

const CASE: Case = Case { active: 0, idle: 0, policy: IdlePolicy::Holders, instances: &[], allocations: &[] };

fn instance((number, slices, percent): (u32, u32, Option<u32>)) -> Instance {
    let (memory, activity) = (Some(u64::from(slices) * 10 * GIB), percent.map(|percent| percent * 1000));
    Instance { id: id(number), slices, memory, activity }
}

impl Case {
    /// The split by team: (active mJ, idle mJ, held ms). All of it is estimated.
    #[track_caller]
    fn check(&self, rows: &[Row], want: &[(&str, [u64; 3])]) {
        let on = |number: u32| (number > 0).then(|| id(number));
        let owners: Vec<Owner> = rows.iter().map(|row| team(row.0)).collect();
        let occupant = |((pid, row), owner)| {
            let (_, number, memory): &Row = row;
            Occupant {
                process: ProcessKey { pid, start: 7 },
                instance: on(*number),
                owner,
                role: Role::Holder,
                memory: memory.map(|gib| gib * GIB),
                busy: Microseconds(1),
                seen: SECOND,
            }
        };
        let occupants: Vec<Occupant<'_>> = (0..).zip(rows).zip(&owners).map(occupant).collect();
        let holders: Vec<Owner> = self.allocations.iter().map(|one| team(one.0)).collect();
        let allocations: Vec<Allocation<'_>> = (self.allocations.iter().zip(&holders))
            .map(|(one, owner)| Allocation { owner, instance: on(one.1), weight: 1 })
            .collect();
        let instances: Vec<Instance> = self.instances.iter().copied().map(instance).collect();
        let split = Interval {
            elapsed: SECOND,
            active: Millijoules(self.active),
            idle: Millijoules(self.idle),
            policy: self.policy,
            utilizations: Utilizations::Unavailable,
            occupants: &occupants,
            allocations: &allocations,
            partition: Some(Partition { slices: 7, instances: &instances }),
        }
        .split();
        let mut got: BTreeMap<String, Amounts> = BTreeMap::new();
        let owned = owners.iter().zip(&split.occupants).chain(holders.iter().zip(&split.allocations));
        owned.for_each(|(owner, amounts)| *got.entry(owner.team().into()).or_default() += *amounts);
        let reserved = split.reserved.iter();
        reserved.for_each(|(team, amounts)| *got.entry(team.name().into()).or_default() += *amounts);
        assert!(got.values().all(|one| one.estimated == one.active + one.idle));
        let got: Vec<(&str, [u64; 3])> = got
            .iter()
            .map(|(team, one)| (team.as_str(), [one.active.0, one.idle.0, one.held.0 / 1000]))
            .filter(|(_, amounts)| *amounts != [0; 3])
            .collect();
        assert_eq!((got.as_slice(), split.basis), (want, Basis::Mig));
    }
}

/// H07 of the cases that our users care about.
#[test]
fn a_process_belongs_to_its_instance_only() {
    let case = Case { instances: &[(1, 3, Some(100)), (2, 3, Some(0))], active: 900, ..CASE };
    case.check(
        &[("a", 1, Some(1)), ("b", 2, Some(9))],
        &[("a", [900, 0, 428]), ("b", [0, 0, 428]), ("unallocated", [0, 0, 142])],
    );
}

#[test]
fn active_energy_goes_by_activity_times_slices() {
    let case = Case { instances: &[(1, 4, Some(50)), (2, 2, Some(100))], active: 4000, ..CASE };
    case.check(
        &[("a", 1, Some(1)), ("b", 2, Some(1))],
        &[("a", [2000, 0, 571]), ("b", [2000, 0, 285]), ("unallocated", [0, 0, 142])],
    );
}

#[test]
fn inside_an_instance_it_goes_by_memory_else_equally() {
    let case = Case { instances: &[(1, 7, Some(10))], active: 900, idle: 90, ..CASE };
    case.check(&[("a", 1, Some(2)), ("b", 1, Some(1))], &[("a", [600, 60, 666]), ("b", [300, 30, 333])]);
    case.check(&[("a", 1, None), ("b", 1, Some(1))], &[("a", [450, 45, 500]), ("b", [450, 45, 500])]);
}

#[test]
fn where_activity_is_unknown_memory_and_slices_decide() {
    // Instances have 10 GiB a slice: a fills half of four slices, b all of one.
    let case = Case { instances: &[(1, 4, None), (2, 1, None), (3, 2, None)], active: 3000, ..CASE };
    case.check(
        &[("a", 1, Some(20)), ("b", 2, Some(10))],
        &[("a", [2000, 0, 571]), ("b", [1000, 0, 142]), ("unallocated", [0, 0, 285])],
    );
    // Without memory, slices alone.
    case.check(
        &[("a", 1, None), ("b", 2, None)],
        &[("a", [2400, 0, 571]), ("b", [600, 0, 142]), ("unallocated", [0, 0, 285])],
    );
}

#[test]
fn idle_energy_goes_by_slices_and_what_nobody_has_is_unallocated() {
    let case = Case { instances: &[(1, 3, Some(0)), (2, 2, Some(0))], idle: 700, ..CASE };
    case.check(&[("a", 1, Some(1))], &[("a", [0, 300, 428]), ("unallocated", [0, 400, 571])]);
    let separate = Case { policy: IdlePolicy::Separate, ..case };
    separate.check(
        &[("a", 1, Some(1))],
        &[("a", [0, 0, 428]), ("shared_idle", [0, 300, 0]), ("unallocated", [0, 400, 571])],
    );
    let proportional = Case { policy: IdlePolicy::Proportional, ..case };
    proportional.check(&[("a", 1, Some(1))], &[("a", [0, 300, 428]), ("unallocated", [0, 400, 571])]);
}

#[test]
fn an_allocation_holds_its_instance_and_pays_for_work_that_nobody_else_did() {
    let case = Case { instances: &[(1, 3, Some(50)), (2, 4, Some(50))], active: 700, idle: 70, ..CASE };
    let job = Case { allocations: &[("job", 1)], ..case };
    job.check(&[("b", 2, Some(1))], &[("b", [400, 40, 571]), ("job", [300, 30, 428])]);
    job.check(
        &[("guest", 1, Some(1)), ("b", 2, Some(1))],
        &[("b", [400, 40, 571]), ("guest", [300, 0, 0]), ("job", [0, 30, 428])],
    );
    // Nobody known: the work is nobody's, the idleness too.
    case.check(&[], &[("unallocated", [0, 70, 1000]), ("unattributed", [700, 0, 0])]);
}

#[test]
fn an_allocation_of_the_whole_gpu_holds_what_no_other_holds() {
    let case = Case {
        instances: &[(1, 3, Some(0)), (2, 2, Some(0))],
        idle: 700,
        allocations: &[("whole", 0), ("part", 1)],
        ..CASE
    };
    case.check(&[], &[("part", [0, 300, 428]), ("whole", [0, 400, 571])]);
    let gone = Case { allocations: &[("gone", 9)], ..case };
    gone.check(&[], &[("unallocated", [0, 700, 1000])]);
}

#[test]
fn work_of_no_instance_goes_to_those_who_hold_slices() {
    let case = Case { instances: &[(1, 3, Some(0)), (2, 1, Some(0))], active: 400, ..CASE };
    case.check(
        &[("a", 1, Some(1)), ("b", 2, Some(1))],
        &[("a", [300, 0, 428]), ("b", [100, 0, 142]), ("unallocated", [0, 0, 428])],
    );
    case.check(&[], &[("unallocated", [0, 0, 1000]), ("unattributed", [400, 0, 0])]);
}

#[test]
fn where_instances_cannot_be_told_the_gpu_is_one_domain_and_an_estimate() {
    let case = Case { active: 700, idle: 70, ..CASE };
    case.check(&[("a", 1, Some(6)), ("b", 0, Some(1))], &[("a", [600, 60, 857]), ("b", [100, 10, 142])]);
    case.check(&[], &[("unallocated", [0, 70, 1000]), ("unattributed", [700, 0, 0])]);
}

/// Team, instance, memory, seen, whether it holds.
type AnyRow = (u8, Option<InstanceId>, Option<u64>, u64, bool);

#[derive(Clone, Debug)]
struct World {
    instances: Vec<Instance>,
    rows: Vec<AnyRow>,
    /// Team, instance, weight.
    allocations: Vec<(u8, Option<InstanceId>, u64)>,
}

fn any_place() -> impl Strategy<Value = Option<InstanceId>> {
    prop_oneof![1 => Just(None), 6 => (0..4_u32, 0..2_u32).prop_map(|(gpu, compute)| Some(InstanceId { gpu, compute }))]
}

fn any_world() -> impl Strategy<Value = World> {
    let activity = prop_oneof![Just(None), Just(Some(0)), (0..=Instance::FULLY_ACTIVE).prop_map(Some)];
    let room = prop_oneof![Just(None), Just(Some(0)), (0..80 * GIB).prop_map(Some)];
    let instances = prop::collection::btree_map((0..4_u32, 0..2_u32), (0..5_u32, room, activity), 0..5);
    let memory = prop_oneof![Just(None), Just(Some(0)), (0..80 * GIB).prop_map(Some)];
    let row = (0..4_u8, any_place(), memory, 0..=1_000_000_u64, any::<bool>());
    let allocation = (0..4_u8, any_place(), 0..3_u64);
    let rows = prop::collection::vec(row, 0..8);
    (instances, rows, prop::collection::vec(allocation, 0..3)).prop_map(|(instances, rows, allocations)| {
        World {
            instances: instances
                .into_iter()
                .map(|((gpu, compute), (slices, memory, activity))| Instance {
                    id: InstanceId { gpu, compute },
                    slices,
                    memory,
                    activity,
                })
                .collect(),
            rows,
            allocations,
        }
    })
}

impl World {
    fn split(&self, energy: [u64; 2], policy: IdlePolicy, utilizations: Utilizations) -> Split {
        let owners: Vec<Owner> = (0..4).map(|index| team(&format!("t{index}"))).collect();
        let occupant = |(index, row): (usize, &AnyRow)| Occupant {
            // By what it is, not by where it stands.
            process: ProcessKey { pid: row.0.into(), start: row.3 },
            instance: row.1,
            owner: &owners[usize::from(row.0)],
            role: if row.4 { Role::Holder } else { Role::Ignored },
            memory: row.2,
            busy: Microseconds(index as u64),
            seen: Microseconds(row.3),
        };
        let occupants: Vec<Occupant<'_>> = self.rows.iter().enumerate().map(occupant).collect();
        let allocation = |one: &(u8, Option<InstanceId>, u64)| Allocation {
            owner: &owners[usize::from(one.0)],
            instance: one.1,
            weight: one.2,
        };
        let allocations: Vec<Allocation<'_>> = self.allocations.iter().map(allocation).collect();
        Interval {
            elapsed: SECOND,
            active: Millijoules(energy[0]),
            idle: Millijoules(energy[1]),
            policy,
            utilizations,
            occupants: &occupants,
            allocations: &allocations,
            partition: Some(Partition { slices: 7, instances: &self.instances }),
        }
        .split()
    }

    fn reversed(&self) -> Self {
        let mut other = self.clone();
        other.instances.reverse();
        other.rows.reverse();
        other
    }
}

fn totals(split: &Split) -> Amounts {
    let mut sum = Amounts::default();
    let parts = split.occupants.iter().chain(&split.allocations).chain(split.reserved.values());
    parts.for_each(|amounts| sum += *amounts);
    sum
}

fn any_policy() -> impl Strategy<Value = IdlePolicy> {
    prop_oneof![Just(IdlePolicy::Holders), Just(IdlePolicy::Proportional), Just(IdlePolicy::Separate)]
}

proptest! {
    #[test]
    fn the_parts_of_a_partition_sum_to_the_whole_in_any_order(
        world in any_world(),
        energy in [0..10_000_000_u64, 0..10_000_000_u64],
        policy in any_policy(),
    ) {
        let split = world.split(energy, policy, Utilizations::Unavailable);
        let sum = totals(&split);
        prop_assert_eq!((sum.active.0, sum.idle.0, sum.held), (energy[0], energy[1], SECOND));
        prop_assert_eq!((sum.estimated, sum.busy), (sum.active + sum.idle, Microseconds::ZERO));

        let is_twice = |row: &AnyRow| {
            world.rows.iter().filter(|other| (other.0, other.1, other.3) == (row.0, row.1, row.3)).count() > 1
        };
        if !world.rows.iter().any(is_twice) {
            let mut backward = world.reversed().split(energy, policy, Utilizations::Unavailable);
            backward.occupants.reverse();
            prop_assert_eq!(split, backward);
        }
    }

    #[test]
    fn a_process_never_pays_for_another_instances_activity(world in any_world(), active in 1..10_000_000_u64) {
        // Everything happens on instance (0, 0): nobody who is elsewhere pays a millijoule for it.
        let here = InstanceId { gpu: 0, compute: 0 };
        let mut world = world;
        for instance in &mut world.instances {
            instance.activity = Some(0);
        }
        world.instances.retain(|instance| instance.id != here);
        world.instances.push(Instance { id: here, slices: 2, memory: None, activity: Some(70_000) });
        let split = world.split([active, 0], IdlePolicy::Holders, Utilizations::Unavailable);
        for (row, amounts) in world.rows.iter().zip(&split.occupants) {
            prop_assert!(row.1 == Some(here) || amounts.active == Millijoules::ZERO, "{:?} pays {:?}", row, amounts);
        }
        for (one, amounts) in world.allocations.iter().zip(&split.allocations) {
            prop_assert!(one.1.is_none_or(|id| id == here) || amounts.active == Millijoules::ZERO);
        }
    }

    #[test]
    fn neither_do_instances_held_alike_pay_differently_for_idleness(slices in 1..4_u32, idle in 0..10_000_000_u64) {
        let one = |number: u32| Instance { id: id(number), slices, memory: None, activity: Some(number * 1000) };
        let world = World {
            instances: vec![one(1), one(2)],
            rows: vec![(0, Some(id(1)), Some(GIB), 1_000_000, true), (1, Some(id(2)), None, 1_000_000, true)],
            allocations: vec![],
        };
        let split = world.split([0, idle], IdlePolicy::Holders, Utilizations::Unavailable);
        prop_assert!(split.occupants[0].idle.0.abs_diff(split.occupants[1].idle.0) <= 1);
    }
}
