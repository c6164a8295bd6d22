//! Dividing the interval of a GPU among its processes, and booking it.
#![expect(clippy::expect_used, reason = "a benchmark may fail")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use wattribute::facts::ProcessKey;
use wattribute::ledger::Ledger;
use wattribute::owner::{Owner, TEAM};
use wattribute::split::{IdlePolicy, Interval, Occupant, Role, Utilizations};
use wattribute::units::{Microseconds, Millijoules};

const TEAMS: usize = 50;

/// So many processes on one GPU, of fifty teams.
fn occupants(count: usize, owners: &[Owner]) -> Vec<Occupant<'_>> {
    let occupant = |(number, owner): (u32, _)| {
        let pid = 1000 + number;
        Occupant {
            process: ProcessKey { pid, start: 4711 },
            instance: None,
            owner,
            role: Role::Holder,
            memory: Some(u64::from(pid) << 20),
            busy: Microseconds(u64::from(number % 7) * 10_000),
            seen: Microseconds::SECOND,
        }
    };
    (0..).zip(owners.iter().cycle()).take(count).map(occupant).collect()
}

fn interval<'a>(occupants: &'a [Occupant<'a>]) -> Interval<'a> {
    Interval {
        elapsed: Microseconds::SECOND,
        active: Millijoules(250_001),
        idle: Millijoules(70_003),
        policy: IdlePolicy::Holders,
        utilizations: Utilizations::Known,
        occupants,
        allocations: &[],
        partition: None,
    }
}

fn accounting(criterion: &mut Criterion) {
    let owners: Vec<Owner> = (0..TEAMS).map(|team| Owner::new([(TEAM, format!("team-{team}"))])).collect();
    let gpu: Arc<str> = "GPU-0".into();
    for (name, count) in [("64", 64), ("10000", 10_000)] {
        let occupants = occupants(count, &owners);
        let interval = interval(&occupants);
        let split = interval.split();
        let mut group = criterion.benchmark_group("account");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("split", name), |bencher| {
            bencher.iter(|| black_box(&interval).split());
        });
        group.bench_function(BenchmarkId::new("book", name), |bencher| {
            let mut ledger = Ledger::default();
            bencher.iter(|| ledger.book(&gpu, black_box(&interval), &split).expect("it adds up"));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    accounting(&mut criterion);
    criterion.final_summary();
}
