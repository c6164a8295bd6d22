//! What the design says of a split, as data; and its laws, over random intervals.

use proptest::prelude::*;

use super::*;
use crate::owner::TEAM;

const GIB: u64 = 1 << 30;
const SECOND: Microseconds = Microseconds::SECOND;

fn team(name: &str) -> Owner {
    Owner::new([(TEAM, name)])
}

/// A process as a test writes it: team, memory in GiB, busy ms of a second.
type Row = (&'static str, Option<u64>, u64);

/// Splits one second and gives a line for each payee with anything: `team: active+idle held busy`.
struct Case {
    active: u64,
    idle: u64,
    policy: IdlePolicy,
    utilizations: Utilizations,
    allocations: &'static [(&'static str, u64)],
}

const CASE: Case = Case {
    active: 0,
    idle: 0,
    policy: IdlePolicy::Holders,
    utilizations: Utilizations::Known,
    allocations: &[],
};

impl Case {
    /// The split of `rows`, by team: (active mJ, idle mJ, held ms, busy ms).
    #[track_caller]
    fn check(&self, rows: &[Row], want: &[(&str, [u64; 4])]) -> Split {
        let owners: Vec<Owner> = rows.iter().map(|row| team(row.0)).collect();
        let occupants: Vec<Occupant<'_>> = (0..).zip(rows).zip(&owners).map(occupant).collect();
        let holders: Vec<Owner> = self.allocations.iter().map(|one| team(one.0)).collect();
        let allocations: Vec<Allocation<'_>> = self
            .allocations
            .iter()
            .zip(&holders)
            .map(|(one, owner)| Allocation { owner, instance: None, weight: one.1 })
            .collect();
        let interval = Interval {
            elapsed: SECOND,
            active: Millijoules(self.active),
            idle: Millijoules(self.idle),
            policy: self.policy,
            utilizations: self.utilizations,
            occupants: &occupants,
            allocations: &allocations,
            partition: None,
        };
        let split = interval.split();
        let mut got: BTreeMap<String, Amounts> = BTreeMap::new();
        let owned = owners.iter().zip(&split.occupants).chain(holders.iter().zip(&split.allocations));
        owned.for_each(|(owner, amounts)| *got.entry(owner.team().into()).or_default() += *amounts);
        split
            .reserved
            .iter()
            .for_each(|(team, amounts)| *got.entry(team.name().into()).or_default() += *amounts);
        let got: Vec<(&str, [u64; 4])> = got
            .iter()
            .map(|(team, one)| {
                (team.as_str(), [one.active.0, one.idle.0, one.held.0 / 1000, one.busy.0 / 1000])
            })
            .filter(|(_, amounts)| *amounts != [0; 4])
            .collect();
        assert_eq!(got, want);
        split
    }
}

fn occupant<'a>(((pid, row), owner): ((u32, &Row), &'a Owner)) -> Occupant<'a> {
    let role = if row.0 == "xorg" { Role::Ignored } else { Role::Holder };
    let (memory, busy) = (row.1.map(|gib| gib * GIB), Microseconds(row.2 * 1000));
    Occupant {
        process: ProcessKey { pid, start: 7 },
        instance: None,
        owner,
        role,
        memory,
        busy,
        seen: SECOND,
    }
}

#[test]
fn eight_processes_of_one_job_are_one_payer() {
    Case { active: 1_500_000, ..CASE }
        .check(&[("ml", Some(10), 100); 8], &[("ml", [1_500_000, 0, 1000, 800])]);
}

#[test]
fn without_utilisation_memory_decides_and_the_share_is_an_estimate() {
    let case = Case { active: 2_000_000, utilizations: Utilizations::Unavailable, ..CASE };
    let split = case.check(
        &[("alpha", Some(48), 0), ("beta", Some(32), 0)],
        &[("alpha", [1_200_000, 0, 600, 0]), ("beta", [800_000, 0, 400, 0])],
    );
    assert_eq!((split.basis, split.occupants[0].estimated), (Basis::Memory, Millijoules(1_200_000)));
}

#[test]
fn where_memory_is_unknown_too_all_are_equal() {
    let case = Case { active: 1_500_000, utilizations: Utilizations::Unavailable, ..CASE };
    let split = case.check(
        &[("a", None, 0), ("b", Some(9), 0)],
        &[("a", [750_000, 0, 500, 0]), ("b", [750_000, 0, 500, 0])],
    );
    assert_eq!(split.basis, Basis::Equal);
}

#[test]
fn the_busy_pay_for_work_and_the_holders_for_idleness() {
    let want = [("busy", [2_850_000, 50_000, 125, 950]), ("hoarder", [0, 350_000, 875, 0])];
    Case { active: 2_850_000, idle: 400_000, ..CASE }
        .check(&[("hoarder", Some(70), 0), ("busy", Some(10), 950)], &want);
}

#[test]
fn work_that_nobody_was_busy_for_falls_to_the_holders() {
    Case { active: 10, ..CASE }.check(&[("a", Some(1), 0), ("a", Some(2), 0)], &[("a", [10, 0, 1000, 0])]);
}

#[test]
fn an_empty_gpu_is_nobodys() {
    let want = [("unallocated", [0, 50_000, 1000, 0]), ("unattributed", [5, 0, 0, 0])];
    Case { active: 5, idle: 50_000, ..CASE }.check(&[], &want);
}

#[test]
fn an_ignored_process_pays_for_its_work_and_never_holds() {
    let want = [("unallocated", [0, 50, 1000, 0]), ("xorg", [5, 0, 0, 10])];
    Case { active: 5, idle: 50, ..CASE }.check(&[("xorg", Some(1), 10)], &want);
}

#[test]
fn idle_energy_follows_its_policy() {
    let rows = [("a", Some(3), 300), ("b", Some(1), 100)];
    let check = |policy, want: &[(&str, [u64; 4])]| Case { idle: 100, policy, ..CASE }.check(&rows, want);
    check(IdlePolicy::Holders, &[("a", [0, 75, 750, 300]), ("b", [0, 25, 250, 100])]);
    check(IdlePolicy::Proportional, &[("a", [0, 75, 750, 300]), ("b", [0, 25, 250, 100])]);
    check(
        IdlePolicy::Separate,
        &[("a", [0, 0, 750, 300]), ("b", [0, 0, 250, 100]), ("shared_idle", [0, 100, 0, 0])],
    );
}

#[test]
fn an_allocation_holds_with_and_without_a_process() {
    let case = Case { active: 90, idle: 100, allocations: &[("job", 1)], ..CASE };
    case.check(&[], &[("job", [90, 100, 1000, 0])]);
    case.check(&[("guest", Some(9), 500)], &[("guest", [90, 0, 0, 500]), ("job", [0, 100, 1000, 0])]);
    let shared = Case { idle: 100, allocations: &[("a", 3), ("b", 1)], ..CASE };
    shared.check(&[("a", Some(1), 0)], &[("a", [0, 75, 750, 0]), ("b", [0, 25, 250, 0])]);
}

#[test]
fn busy_times_beyond_the_interval_are_scaled_down_to_it() {
    let want = [("a", [60, 0, 500, 600]), ("b", [40, 0, 500, 400])];
    Case { active: 100, ..CASE }.check(&[("a", Some(1), 900), ("b", Some(1), 600)], &want);
}

#[test]
fn a_gpu_that_one_owner_hands_to_another_is_held_throughout() {
    let check = |rows: [(&'static str, u64); 2], want: u64| {
        let owners = rows.map(|(name, _)| team(name));
        let seen = |(index, owner)| {
            let (name, millis): (&'static str, u64) = rows[index];
            Occupant { seen: Microseconds(millis * 1000), ..occupant(((1, &(name, Some(1), 0)), owner)) }
        };
        let occupants: Vec<Occupant<'_>> = owners.iter().enumerate().map(seen).collect();
        let interval = Interval {
            elapsed: SECOND,
            active: Millijoules::ZERO,
            idle: Millijoules(1000),
            utilizations: Utilizations::Known,
            occupants: &occupants,
            allocations: &[],
            policy: IdlePolicy::Holders,
            partition: None,
        };
        let split = interval.split();
        let paid: Millijoules = split.occupants.iter().map(|one| one.idle).sum();
        assert_eq!(paid, Millijoules(want), "{rows:?}");
    };
    check([("a", 500), ("b", 500)], 1000);
    check([("a", 1000), ("b", 500)], 1000);
    check([("a", 300), ("b", 200)], 500);
    // Processes of one owner come together.
    check([("a", 500), ("a", 500)], 500);
}

#[test]
fn a_process_that_came_late_holds_for_the_time_it_was_seen() {
    let owner = team("late");
    let late = Occupant { seen: Microseconds(250_000), ..occupant(((1, &("late", Some(1), 0)), &owner)) };
    let interval = Interval {
        elapsed: SECOND,
        active: Millijoules(8),
        idle: Millijoules(100),
        policy: IdlePolicy::Holders,
        utilizations: Utilizations::Known,
        occupants: &[late],
        allocations: &[],
        partition: None,
    };
    let split = interval.split();
    let vacant = split.reserved[&Reserved::Unallocated];
    assert_eq!((split.occupants[0].idle.0, split.occupants[0].held.0), (25, 250_000));
    assert_eq!((split.occupants[0].active.0, vacant.idle.0, vacant.held.0), (8, 75, 750_000));
}

/// The worked interval of `docs/accounting.md`: two GPUs, three processes, one of them on both, with remainders.
#[test]
fn the_worked_interval_of_the_documentation() {
    let first = [("vision", Some(30), 500), ("vision", Some(10), 200), ("speech", Some(20), 150)];
    let split = Case { active: 200_001, idle: 70_000, ..CASE }
        .check(&first, &[("speech", [35_294, 23_333, 333, 150]), ("vision", [164_707, 46_667, 666, 700])]);
    let parts: Vec<(u64, u64, u64)> =
        split.occupants.iter().map(|one| (one.active.0, one.idle.0, one.held.0)).collect();
    assert_eq!(parts, [(117_648, 35_000, 500_000), (47_059, 11_667, 166_667), (35_294, 23_333, 333_333)]);
    Case { active: 0, idle: 69_998, ..CASE }
        .check(&[("speech", Some(20), 0)], &[("speech", [0, 69_998, 1000, 0])]);
}

fn any_occupants() -> impl Strategy<Value = Vec<(u8, Option<u64>, u64, u64, bool)>> {
    let memory = prop_oneof![Just(None), Just(Some(0)), (0..200 * GIB).prop_map(Some)];
    prop::collection::vec((0..4_u8, memory, 0..3_000_000_u64, 0..=1_000_000_u64, any::<bool>()), 0..8)
}

fn any_policy() -> impl Strategy<Value = IdlePolicy> {
    prop_oneof![Just(IdlePolicy::Holders), Just(IdlePolicy::Proportional), Just(IdlePolicy::Separate)]
}

fn totals(split: &Split) -> Amounts {
    let mut sum = Amounts::default();
    let parts = split.occupants.iter().chain(&split.allocations).chain(split.reserved.values());
    parts.for_each(|amounts| sum += *amounts);
    sum
}

proptest! {
    #[test]
    fn the_parts_sum_to_the_whole_in_any_order(
        rows in any_occupants(),
        allocations in prop::collection::vec((0..4_u8, 0..5_u64), 0..3),
        (active, idle) in (0..10_000_000_u64, 0..10_000_000_u64),
        policy in any_policy(),
        known: bool,
    ) {
        let owners: Vec<Owner> = (0..4).map(|index| team(&format!("t{index}"))).collect();
        let mut occupants: Vec<Occupant<'_>> = (0..).zip(&rows).map(|(pid, row)| Occupant {
            process: ProcessKey { pid, start: 7 },
            instance: None,
            owner: &owners[usize::from(row.0)],
            role: if row.4 { Role::Holder } else { Role::Ignored },
            memory: row.1,
            busy: Microseconds(row.2),
            seen: Microseconds(row.3),
        }).collect();
        let allocations: Vec<Allocation<'_>> =
            allocations.iter().map(|&(team, weight)| Allocation { owner: &owners[usize::from(team)], instance: None, weight }).collect();
        let utilizations = if known { Utilizations::Known } else { Utilizations::Unavailable };
        let split = |occupants: &[Occupant<'_>]| Interval {
            elapsed: SECOND,
            active: Millijoules(active),
            idle: Millijoules(idle),
            policy,
            utilizations,
            occupants,
            allocations: &allocations,
            partition: None,
        }.split();

        let forward = split(&occupants);
        let sum = totals(&forward);
        prop_assert_eq!((sum.active.0, sum.idle.0, sum.held), (active, idle, SECOND));
        prop_assert!(sum.busy <= SECOND);
        prop_assert!(sum.estimated.0 <= active + idle);
        prop_assert!(forward.reserved.keys().all(|team| *team != Reserved::Overflow && *team != Reserved::Unobserved));

        occupants.reverse();
        let mut backward = split(&occupants);
        backward.occupants.reverse();
        prop_assert_eq!(forward, backward);
    }
}
