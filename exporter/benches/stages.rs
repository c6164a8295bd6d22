//! What a second of 8 GPUs with 64 processes each costs in the account stage, and what is made of its snapshot; and
//! loading rules from disk.
#![expect(clippy::expect_used, reason = "a benchmark may fail")]

#[path = "../../attribution/benches/processor_time/mod.rs"]
mod processor_time;
#[path = "../../attribution/benches/site/mod.rs"]
#[expect(dead_code, reason = "made for the library's benches")]
mod site;

use std::fs;

use criterion::{Criterion, Throughput};
use processor_time::ProcessorTime;
use wattribute_exporter::inside::measured::{Machine, Text, gzip, load};

/// More than the exposition delay has seconds, so that intervals mature as fast as they come.
const WARM_UP: usize = 70;
const RULES: usize = 1000;
const ROWS: usize = 5000;

fn account(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("account");
    for (name, gpus, processes) in [("1x64", 1, 64), ("8x64", 8, 64), ("1x10000", 1, 10_000)] {
        let mut machine = Machine::new(gpus, processes).expect("a machine");
        (0..WARM_UP).for_each(|_| machine.sample());
        group.sample_size(20).throughput(Throughput::Elements(u64::from(gpus * processes)));
        group.bench_function(name, |bencher| bencher.iter(|| machine.sample()));
    }
    group.finish();
}

fn show(criterion: &mut Criterion<ProcessorTime>) {
    let mut machine = Machine::new(8, 64).expect("a machine");
    (0..WARM_UP).for_each(|_| machine.sample());
    let mut group = criterion.benchmark_group("show");
    for (name, text) in [("classic", Text::Classic), ("openmetrics", Text::OpenMetrics)] {
        let plain = machine.encode(text).expect("a text");
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| machine.encode(text).expect("a text")));
        group.bench_function(format!("gzip_{name}"), |bencher| bencher.iter(|| gzip(plain.as_bytes())));
    }
    let state = machine.state().expect("a state");
    group.throughput(Throughput::Bytes(state.len() as u64));
    group.bench_function("state", |bencher| bencher.iter(|| machine.state().expect("a state")));
    group.finish();
}

fn reload(criterion: &mut Criterion<ProcessorTime>) {
    let folder = std::env::temp_dir().join(format!("wattribute-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("site.yaml"), site::rules(RULES) + site::LOOKUP).expect("rules");
    fs::write(folder.join("accounts.csv"), site::csv(ROWS)).expect("a table");
    let paths = [folder.clone()];
    criterion.bench_function("reload", |bencher| bencher.iter(|| load(&paths).expect("they load")));
    fs::remove_dir_all(folder).expect("the folder goes");
}

fn main() {
    let mut criterion = processor_time::criterion();
    account(&mut criterion);
    show(&mut criterion);
    reload(&mut criterion);
    criterion.final_summary();
}
