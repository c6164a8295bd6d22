//! The worked interval of `docs/accounting.md`: its tables are read out of the page, and the library must agree.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use wattribute::busy::{BusyMeter, Tick, Utilization};
use wattribute::facts::ProcessKey;
use wattribute::idle::{IdleMeter, Parts};
use wattribute::ledger::Ledger;
use wattribute::meter::{Counter, EnergyMeter, Metered, Reading};
use wattribute::owner::{Owner, TEAM};
use wattribute::split::{Amounts, IdlePolicy, Interval, Occupant, Role, Split, Utilizations, apportion};
use wattribute::units::{Microseconds, Millijoules, Milliwatts};

const PAGE: &str = include_str!("../../docs/accounting.md");
const IDLE: Milliwatts = Milliwatts(70_000);
const GIB: u64 = 1 << 30;

/// The rows of the one table of the page with these column heads.
#[track_caller]
fn table(heads: &str) -> Vec<Vec<&'static str>> {
    let lines: Vec<&str> = PAGE.lines().collect();
    let places: Vec<usize> = (0..lines.len()).filter(|&line| lines[line] == heads).collect();
    assert_eq!(places.len(), 1, "one table {heads}");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    lines[places[0] + 2..].iter().take_while(|line| line.starts_with('|')).map(|line| cells(line)).collect()
}

#[track_caller]
fn number(cell: &str) -> u64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("a number: {cell}"))
}

#[track_caller]
fn numbers<const N: usize>(cells: &[&str]) -> [u64; N] {
    let all: Vec<u64> = cells.iter().map(|cell| number(cell)).collect();
    all.try_into().expect("as many columns")
}

/// A GPU's interval, as the page says it was measured.
struct Gpu {
    metered: Metered,
    parts: Parts,
}

fn gpus() -> BTreeMap<u64, Gpu> {
    let rows = table("| GPU | counter before, mJ | counter after, mJ | elapsed, µs |");
    rows.iter()
        .map(|row| {
            let [gpu, before, after, elapsed] = numbers(row);
            let reading = |at, value| Reading {
                at: Microseconds(at),
                counter: Counter::Value(Millijoules(value)),
                power: None,
            };
            let mut meter = EnergyMeter::new(Some(Milliwatts(700_000)));
            assert_eq!(meter.read(reading(0, before)), None);
            let metered = meter.read(reading(elapsed, after)).expect("an interval");
            let parts = IdleMeter::default().divide(metered.energy, metered.elapsed, Some(IDLE));
            (gpu, Gpu { metered, parts })
        })
        .collect()
}

/// A process on a GPU, as the page says the driver said.
struct Process {
    key: ProcessKey,
    owner: Owner,
    memory: u64,
    busy: Microseconds,
}

fn processes(gpu: u64, elapsed: Microseconds) -> Vec<Process> {
    let rows = table("| GPU | process | team | memory, GiB | SM, % |");
    let here = rows.iter().filter(|row| number(row[0]) == gpu);
    here.map(|row| {
        let key = ProcessKey { pid: u32::try_from(number(row[1])).expect("a pid"), start: 1 };
        let sm_percent = u8::try_from(number(row[4])).expect("a percentage");
        let mut meter = BusyMeter::default();
        meter.enter(key, Microseconds::ZERO);
        let tick = Tick { from: Microseconds::ZERO, to: elapsed };
        let busy = meter.busy(tick, &[Utilization { process: key, at: elapsed, since: None, sm_percent }]);
        Process { key, owner: Owner::new([(TEAM, row[2])]), memory: number(row[3]) * GIB, busy: busy[&key] }
    })
    .collect()
}

/// The split of each GPU, and the ledger it is booked in, with GPUs named by index.
fn work() -> (BTreeMap<(u64, u32), Amounts>, Ledger) {
    let (mut by_process, mut ledger) = (BTreeMap::new(), Ledger::default());
    for (gpu, Gpu { metered, parts }) in gpus() {
        let processes = processes(gpu, metered.elapsed);
        let occupant = |one| occupant(one, metered.elapsed);
        let occupants: Vec<Occupant<'_>> = processes.iter().map(occupant).collect();
        let interval = Interval {
            elapsed: metered.elapsed,
            active: parts.active,
            idle: parts.idle,
            policy: IdlePolicy::Holders,
            utilizations: Utilizations::Known,
            occupants: &occupants,
            allocations: &[],
            partition: None,
        };
        let split: Split = interval.split();
        ledger.book(&Arc::from(gpu.to_string()), &interval, &split).expect("balanced");
        let keys = processes.iter().map(|one| (gpu, one.key.pid));
        by_process.extend(keys.zip(split.occupants));
    }
    (by_process, ledger)
}

fn occupant(one: &Process, seen: Microseconds) -> Occupant<'_> {
    let Process { key, owner, memory, busy } = one;
    Occupant {
        process: *key,
        instance: None,
        owner,
        role: Role::Holder,
        memory: Some(*memory),
        busy: *busy,
        seen,
    }
}

fn cells(amounts: &Amounts) -> [u64; 4] {
    [amounts.active.0, amounts.idle.0, amounts.held.0, amounts.busy.0]
}

#[test]
fn idle_and_active_are_told_apart_as_the_page_says() {
    let rows = table("| GPU | energy, mJ | idle, mJ | active, mJ |");
    let want: Vec<[u64; 4]> = rows.iter().map(|row| numbers(row)).collect();
    let got = gpus();
    let got = got.iter().map(|(gpu, one)| [*gpu, one.metered.energy.0, one.parts.idle.0, one.parts.active.0]);
    assert_eq!(got.collect::<Vec<_>>(), want);
}

#[test]
fn every_process_is_booked_what_the_page_says() {
    let rows = table("| GPU | process | active, mJ | idle, mJ | held, µs | busy, µs |");
    let want: Vec<[u64; 6]> = rows.iter().map(|row| numbers(row)).collect();
    let (got, _) = work();
    let got = got.iter().map(|((gpu, pid), one)| {
        let [active, idle, held, busy] = cells(one);
        [*gpu, u64::from(*pid), active, idle, held, busy]
    });
    assert_eq!(got.collect::<Vec<_>>(), want);
}

#[test]
fn every_owner_is_booked_what_the_page_says_and_nothing_is_left() {
    let rows = table("| GPU | team | active, mJ | idle, mJ | held, µs | busy, µs |");
    let want = rows.iter().map(|row| (row[0].to_owned(), row[1].to_owned(), numbers(&row[2..])));
    let (_, ledger) = work();
    let mut got = Vec::new();
    for (gpu, account) in ledger.gpus() {
        assert_eq!(account.residual(), 0);
        let owners = account.owners.iter().filter(|(_, one)| cells(one) != [0; 4]);
        got.extend(owners.map(|(owner, one)| (gpu.to_string(), owner.team().to_owned(), cells(one))));
    }
    assert_eq!(got, want.collect::<Vec<_>>());
}

/// Each `a × b / c` is what the whole part, the fraction and the remainder beside it say, and the parts of one total
/// are those that the library makes of it.
#[track_caller]
fn check_divisions(heads: &str) {
    let mut by_total: BTreeMap<(u64, u64), (Vec<u128>, Vec<u64>)> = BTreeMap::new();
    for row in table(heads) {
        let (product, divisor) = row[1].split_once(" / ").expect("a division");
        let (total, weight) = product.split_once(" × ").expect("a product");
        let [total, weight, divisor] = numbers(&[total, weight, divisor]);
        let [whole, remainder, part] = numbers(&[row[2], row[4], row[5]]);
        assert_eq!(total * weight / divisor, whole, "{row:?}");
        assert_eq!(total * weight % divisor * 1000 / divisor, number(&row[3][1..]), "{row:?}");
        assert_eq!(whole + remainder, part, "{row:?}");
        let (weights, parts) = by_total.entry((total, divisor)).or_default();
        weights.push(weight.into());
        parts.push(part);
    }
    for ((total, divisor), (weights, parts)) in by_total {
        assert_eq!(weights.iter().sum::<u128>(), divisor.into());
        assert_eq!(apportion(total, &weights), Some(parts));
    }
}

#[test]
fn every_division_is_shown_as_it_is_done() {
    check_divisions("| process | division | whole part | fraction | remainder | active, mJ |");
    check_divisions("| who | division | whole part | fraction | remainder | idle, mJ |");
}
