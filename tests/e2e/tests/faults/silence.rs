//! GPUs that do not answer, or answer with errors: they are down, the others are not, and scrapes are as quick.

use std::time::Duration;

use wattribute_e2e::{Scrape, device_mj};

use crate::run::{BEGIN_S, CODE_26, END_S, HANGING, HEALTHY, LOST, Look, RUN, median};

const GAUGES: &[&str] = &[
    "power_watts",
    "power_limit_watts",
    "utilization_ratio",
    "memory_used_bytes",
    "memory_total_bytes",
    "temperature_celsius",
    "clock_hertz",
    "energy_source",
    "energy_disagreement_ratio",
];

fn up(scrape: &Scrape, gpu: usize) -> Option<&str> {
    scrape.value("wattribute_gpu_up", &[("uuid", RUN.uuid(gpu))])
}

fn gauges(scrape: &Scrape, gpu: usize) -> usize {
    let uuid = [("uuid", RUN.uuid(gpu))];
    GAUGES.iter().map(|stem| scrape.find(&format!("wattribute_gpu_{stem}"), &uuid).len()).sum()
}

/// Up until the fault; down when the exporter has come three seconds further, and until `until_s`, with counters and
/// without gauges.
#[track_caller]
fn check_down(gpu: usize, until_s: u64) {
    assert!(RUN.between(3, BEGIN_S).all(|look| look.is_up(RUN.uuid(gpu))));
    let mut seen = 0;
    for Look { scrape, t_us, .. } in RUN.between(BEGIN_S + 3, until_s) {
        assert_eq!(up(scrape, gpu), Some("0"), "gpu {gpu} at {t_us} µs");
        assert_eq!(gauges(scrape, gpu), 0, "gpu {gpu} at {t_us} µs");
        assert!(device_mj(scrape, RUN.uuid(gpu)) > 0);
        let processes = [("uuid", RUN.uuid(gpu))];
        assert!(
            scrape.find("wattribute_team_processes", &processes).is_empty(),
            "nobody is known to be there"
        );
        seen += 1;
    }
    assert!(seen >= 3, "{seen} scrapes");
}

/// Up again when the exporter has come three seconds further than the end of the fault, with all its energy.
#[track_caller]
fn check_back(gpu: usize) {
    assert!(RUN.since(END_S + 3).all(|look| look.is_up(RUN.uuid(gpu))));
    assert!(RUN.since(END_S + 3).any(|look| gauges(&look.scrape, gpu) > 5));
    RUN.check_all_energy_is_there(gpu);
}

#[test]
fn a_lost_gpu_is_down_within_three_seconds_and_keeps_its_counters() {
    check_down(LOST, u64::MAX / 1_000_000);
    let stands = device_mj(&RUN.since(BEGIN_S + 8).next().expect("many").scrape, RUN.uuid(LOST));
    assert_eq!(device_mj(RUN.last(), RUN.uuid(LOST)), stands);
    let errors = RUN.last().find("wattribute_nvml_errors_total", &[]);
    assert!(errors.iter().any(|sample| sample.labels["error"].contains("lost")), "{errors:?}");
}

#[test]
fn a_hanging_gpu_is_down_within_three_seconds_and_comes_back_with_all_its_energy() {
    check_down(HANGING, END_S);
    check_back(HANGING);
}

#[test]
fn an_error_that_this_library_does_not_know_is_no_end() {
    check_down(CODE_26, END_S);
    check_back(CODE_26);
}

#[test]
fn a_gap_that_the_exporter_saw_is_not_unobserved() {
    let unobserved = RUN.last().find("wattribute_team_energy_joules_total", &[("team", "unobserved")]);
    assert!(unobserved.iter().all(|sample| sample.number() == 0.0), "{unobserved:?}");
}

/// If they waited for the one that hangs there would be no sample for ten seconds, or each would be late. That one or
/// the other is late is the machine's doing.
#[test]
fn the_other_gpus_keep_their_rhythm() {
    for gpu in [HEALTHY, 1, 2, 3] {
        let uuid = RUN.uuid(gpu);
        let mut shown: Vec<u64> =
            RUN.between(BEGIN_S, END_S).filter_map(|look| look.sampled_us(uuid)).collect();
        shown.dedup();
        let hung = BEGIN_S * 1_000_000..END_S * 1_000_000;
        let asked: Vec<u64> =
            RUN.readings[gpu].iter().map(|reading| reading.t_us).filter(|t_us| hung.contains(t_us)).collect();
        for times in [shown, asked] {
            let gaps = || times.windows(2).map(|pair| pair[1] - pair[0]);
            assert!((700_000..1_400_000).contains(&median(gaps())), "gpu {gpu}: {times:?}");
            assert!(gaps().all(|us| us < 6_000_000), "gpu {gpu}: {times:?}");
        }
        assert!(RUN.since(3).all(|look| look.is_up(uuid)));
    }
}

#[test]
fn a_scrape_takes_its_usual_time_while_a_gpu_hangs() {
    let usual = |from, to| median(RUN.between(from, to).map(|look| look.took));
    let (before, meanwhile) = (usual(2, BEGIN_S), usual(BEGIN_S, END_S));
    assert!(
        meanwhile < before * 3 + Duration::from_millis(250),
        "{before:?} before, {meanwhile:?} meanwhile"
    );
}

/// Those that are late may be taken for silent, and back.
#[test]
fn a_change_is_logged_once_and_not_with_every_sample() {
    let of = |gpu: usize| RUN.log.lines().filter(|line| line.contains(RUN.uuid(gpu))).count();
    assert!((1..=8).contains(&of(LOST)) && (1..=10).contains(&of(HANGING)), "{}", RUN.log);
    assert!(RUN.log.lines().count() < 120, "{}", RUN.log);
    assert!(!RUN.log.contains("panicked"), "{}", RUN.log);
}
