//! Reading the facts of a thousand new processes: real ones that sleep, under the real /proc.
#![expect(clippy::expect_used, reason = "a benchmark may fail")]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use criterion::{BatchSize, Criterion, Throughput};
use wattribute::facts::ProcessKey;
use wattribute::procfs::Reader;

const PROCESSES: usize = 1000;

/// Children that are ended when this goes out of scope.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(count: usize) -> Self {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("3600").env("TEAM", "nlp").stdin(Stdio::null());
            command.spawn().expect("a child")
        };
        Self((0..count).map(|_| start()).collect())
    }

    fn keys(&self) -> Vec<ProcessKey> {
        let reader = Reader::new("/proc");
        self.0.iter().map(|child| reader.key(child.id()).expect("a start time")).collect()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

fn identify(criterion: &mut Criterion) {
    let sleepers = Sleepers::start(PROCESSES);
    let keys = sleepers.keys();
    let mut group = criterion.benchmark_group("identify");
    group.throughput(Throughput::Elements(PROCESSES as u64)).sample_size(20);
    for (name, wanted) in [("new", BTreeSet::new()), ("with_environment", ["TEAM".to_owned()].into())] {
        group.bench_function(name, |bencher| {
            // As many at a time as the exporter reads.
            let read = |mut reader: Reader| {
                for keys in keys.chunks(32) {
                    let mut round = reader.round(&wanted);
                    assert!(keys.iter().all(|key| round.facts(*key).is_ok()));
                }
            };
            bencher.iter_batched(|| Reader::new("/proc"), read, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    identify(&mut criterion);
    criterion.final_summary();
}
