//! GPUs that do not answer, or answer with errors: they are down, the others are not, and scrapes are as quick.

use std::time::Duration;

use wattribute_e2e::{Scrape, device_mj};

use crate::run::{BEGIN_S, CODE_26, END_S, HANGING, HEALTHY, LOST, Look, RUN};

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

/// Up until the fault; down within three seconds of it, and until `until_s`, with counters and without gauges.
#[track_caller]
fn check_down(gpu: usize, until_s: u64) {
    assert!(RUN.between(3, BEGIN_S).all(|look| up(&look.scrape, gpu) == Some("1")));
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
    assert!(seen >= 10, "{seen} scrapes");
}

#[test]
fn a_lost_gpu_is_down_within_three_seconds_and_keeps_its_counters() {
    check_down(LOST, 26);
    let stands = device_mj(&RUN.between(BEGIN_S + 6, 26).next().expect("many").scrape, RUN.uuid(LOST));
    assert_eq!(device_mj(RUN.last(), RUN.uuid(LOST)), stands);
    let errors = RUN.last().find("wattribute_nvml_errors_total", &[]);
    assert!(errors.iter().any(|sample| sample.labels["error"].contains("lost")), "{errors:?}");
}

#[test]
fn a_hanging_gpu_is_down_within_three_seconds_and_comes_back_with_all_its_energy() {
    check_down(HANGING, END_S);
    assert!(RUN.between(END_S + 3, 26).all(|look| up(&look.scrape, HANGING) == Some("1")));
    assert!(gauges(RUN.last(), HANGING) > 5);
    RUN.check_all_energy_is_there(HANGING);
}

#[test]
fn an_error_that_this_library_does_not_know_is_no_end() {
    check_down(CODE_26, END_S);
    assert!(RUN.between(END_S + 3, 26).all(|look| up(&look.scrape, CODE_26) == Some("1")));
    assert!(gauges(RUN.last(), CODE_26) > 5);
    RUN.check_all_energy_is_there(CODE_26);
}

#[test]
fn a_gap_that_the_exporter_saw_is_not_unobserved() {
    let unobserved = RUN.last().find("wattribute_team_energy_joules_total", &[("team", "unobserved")]);
    assert!(unobserved.iter().all(|sample| sample.number() == 0.0), "{unobserved:?}");
}

#[test]
fn the_other_gpus_keep_their_rhythm() {
    for gpu in [HEALTHY, 1, 2, 3] {
        let uuid = [("uuid", RUN.uuid(gpu))];
        let time = |look: &Look| {
            let value = look.scrape.value("wattribute_gpu_last_sample_timestamp_seconds", &uuid);
            value.and_then(|value| value.parse::<f64>().ok())
        };
        let mut times: Vec<f64> = RUN.looks.iter().filter_map(time).collect();
        times.dedup();
        assert!(times.windows(2).all(|pair| (0.5..1.7).contains(&(pair[1] - pair[0]))), "{times:?}");
        assert!(times.len() >= 20, "{times:?}");
        assert!(RUN.between(3, 26).all(|look| up(&look.scrape, gpu) == Some("1")));
        let asked = RUN.readings[gpu].windows(2).map(|pair| pair[1].t_us - pair[0].t_us);
        assert!(asked.into_iter().all(|us| (800_000..1_200_000).contains(&us)), "gpu {gpu}");
    }
}

#[test]
fn a_scrape_takes_its_usual_time_while_a_gpu_hangs() {
    let median = |from, to| {
        let mut times: Vec<Duration> = RUN.between(from, to).map(|look| look.took).collect();
        times.sort();
        times[times.len() / 2]
    };
    let (before, meanwhile) = (median(2, BEGIN_S), median(BEGIN_S, END_S));
    assert!(meanwhile < before * 3 + Duration::from_millis(10), "{before:?} before, {meanwhile:?} meanwhile");
    assert!(RUN.looks.iter().all(|look| look.took < Duration::from_secs(1)));
}

#[test]
fn a_change_is_logged_once_and_not_with_every_sample() {
    let of = |gpu: usize| RUN.log.lines().filter(|line| line.contains(RUN.uuid(gpu))).count();
    assert!((1..=4).contains(&of(LOST)) && (1..=6).contains(&of(HANGING)), "{}", RUN.log);
    assert!(RUN.log.lines().count() < 60, "{}", RUN.log);
    assert!(!RUN.log.contains("panicked"), "{}", RUN.log);
}
