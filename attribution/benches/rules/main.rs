//! The rules at scale: a thousand rules against a thousand command lines, and loading them.
#![expect(clippy::expect_used, reason = "a benchmark may fail")]

mod site;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use wattribute::facts::{Facts, Field};
use wattribute::rules::{Decision, RuleSet};

const RULES: usize = 1000;
const PROCESSES: usize = 1000;
const ROWS: usize = 5000;

/// The verdicts on all of them; gives how many are billed to somebody, so that nothing is left out as unused.
fn decide(rules: &RuleSet, processes: &[Facts]) -> usize {
    let decide = |facts: &&Facts| match rules.decide(facts) {
        Decision::Verdict(verdict) => verdict.rule.is_some(),
        Decision::Pending(_) => false,
    };
    processes.iter().filter(decide).count()
}

fn processes() -> Vec<Facts> {
    let of = |line| {
        let mut facts = Facts::default();
        facts.set(Field::Uid, "1000");
        facts.set(Field::User, "alice");
        facts.set(Field::Comm, "python3");
        facts.set(Field::Cmdline, line);
        facts
    };
    site::command_lines(PROCESSES, RULES).into_iter().map(of).collect()
}

fn matching(criterion: &mut Criterion) {
    let (text, processes) = (site::rules(RULES), processes());
    let rules = site::load(&text, "").expect("the rules load");
    let billed = decide(&rules, &processes);
    assert!(billed > PROCESSES / 3 && billed < PROCESSES, "{billed} of {PROCESSES} are billed");

    let mut group = criterion.benchmark_group("match");
    group.throughput(Throughput::Elements(PROCESSES as u64)).sample_size(20);
    group.bench_function("cold", |bencher| {
        // Just loaded: no expression has been used yet.
        let fresh = || site::load(&text, "").expect("the rules load");
        bencher.iter_batched(fresh, |rules| (decide(&rules, &processes), rules), BatchSize::PerIteration);
    });
    group.bench_function("warm", |bencher| bencher.iter(|| decide(black_box(&rules), &processes)));
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20);
    let (rules, csv) = (site::rules(RULES) + site::LOOKUP, site::csv(ROWS));
    group.bench_function("csv", |bencher| bencher.iter(|| site::load(&rules, &csv).expect("they load")));
    let inline = site::rules(RULES) + &site::inline(ROWS);
    group.bench_function("inline", |bencher| bencher.iter(|| site::load(&inline, "").expect("they load")));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    matching(&mut criterion);
    loading(&mut criterion);
    criterion.final_summary();
}
