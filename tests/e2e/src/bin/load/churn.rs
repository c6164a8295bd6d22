//! A hundred thousand processes an hour, each of some two seconds: what stays of them in the exporter.

use std::collections::VecDeque;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_nvml::{Gpu, Load, Scenario};
use wattribute_e2e::{Exporter, Flags, Scratch, TEAM_OF_ENVIRONMENT};

use crate::{Crowd, costs, row, start};

/// So many come at a time, and so often: 28 a second.
const AT_ONCE: u32 = 14;
const PAUSE: Duration = Duration::from_millis(500);
/// So many times later they end.
const STAY: usize = 5;
/// Series of processes linger for five minutes, but their number is limited; all else is as it will be after this.
const WARM_UP: Duration = Duration::from_secs(90);
const GPUS: u32 = 4;

pub fn measure(time: Duration) {
    println!("\nshort-lived processes, 28 a second on {GPUS} GPUs\n");
    let scratch = Scratch::new("load-churn");
    let mut scenario = Scenario::starting_now((0..GPUS).map(Gpu::numbered).collect());
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", TEAM_OF_ENVIRONMENT)],
        state_dir: Some(scratch.path("state")),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut waves: VecDeque<Crowd> = VecDeque::new();
    let (begin, mut count) = (Instant::now(), 0);
    let mut reports = (0..=4).map(|quarter| WARM_UP + time * quarter / 4);
    let mut next = reports.next();
    while let Some(at) = next {
        if waves.len() >= STAY {
            waves.pop_front();
        }
        waves.push_back(Crowd((0..AT_ONCE).map(|number| start(count + number)).collect()));
        count += AT_ONCE;
        let here = waves.iter().flat_map(|wave| &wave.0);
        // They only hold memory: what is struck from the scenario has drawn nothing.
        let load = |(number, one): (usize, &Child)| Load::constant(one.id(), number % GPUS as usize, 0);
        scenario.loads = here.enumerate().map(load).collect();
        scenario.save(&scratch.path("scenario.yaml")).expect("a scenario");
        if begin.elapsed() >= at {
            report(&exporter, count);
            next = reports.next();
        }
        sleep(PAUSE);
    }
}

fn report(exporter: &Exporter, count: u32) {
    row(
        &format!("resident memory after {count} processes"),
        "MB",
        costs::megabytes(exporter.pid(), "VmRSS:"),
    );
    row("open files", "", costs::open_files(exporter.pid()) as f64);
    let billed = exporter.scrape().find("wattribute_team_processes", &[]).len();
    assert!(billed > 0, "nobody is seen: {}", exporter.stderr());
}
