//! GPUs that answer, but not as they should: the energy is all there, and it is said how it was split and measured.

use wattribute_e2e::{device_mj, team_mj};

use crate::run::{
    FROZEN, GARBAGE, GROWING, HEALTHY, JUMP, JUMP_MJ, MIG, NEITHER, NO_COUNTER, NO_MEMORY, NO_UTILIZATION,
    RESET, RUN,
};

/// What stands in the last scrape of a GPU with this one label more.
#[track_caller]
fn is_chosen(stem: &str, label: &str, value: &str, gpu: usize) -> bool {
    let labels = [("uuid", RUN.uuid(gpu)), (label, value)];
    RUN.last().value(&format!("wattribute_gpu_{stem}"), &labels) == Some("1")
}

/// The share of team `heavy` in what both teams have, in per mille, wanted within 15.
#[track_caller]
fn check_heavy(gpu: usize, want: u64) {
    let [light, heavy] = ["light", "heavy"].map(|team| team_mj(RUN.last(), team, RUN.uuid(gpu)));
    let share = heavy * 1000 / (light + heavy);
    assert!(share.abs_diff(want) <= 15, "gpu {gpu}: {share} ‰, not {want} ‰");
    let all = device_mj(RUN.last(), RUN.uuid(gpu));
    assert!((light + heavy) * 100 >= all * 99, "gpu {gpu}: {light} + {heavy} of {all} mJ");
}

/// Of 637 W, 378 W are heavy's work, and three quarters of the 70 W idle, by memory.
const BY_USE: u64 = 676;

#[test]
fn nothing_is_lost_in_any_scrape_whatever_goes_wrong() {
    // The auditor has looked at each of them.
    assert!(RUN.looks.len() > 30, "{}", RUN.looks.len());
}

#[test]
fn a_healthy_gpu_is_split_by_use() {
    assert!(is_chosen("split_basis", "basis", "utilization", HEALTHY));
    check_heavy(HEALTHY, BY_USE);
    RUN.check_all_energy_is_there(HEALTHY);
    let estimated = "wattribute_team_energy_estimated_joules_total";
    assert_eq!(RUN.last().millijoules(estimated, &[("uuid", RUN.uuid(HEALTHY))]), Some(0));
}

#[test]
fn lists_that_grow_while_they_are_read_are_read() {
    RUN.check_all_energy_is_there(GROWING);
    // For two seconds there is a crowd of strangers, which holds some of the idle energy.
    let [light, heavy] = ["light", "heavy"].map(|team| team_mj(RUN.last(), team, RUN.uuid(GROWING)));
    assert!((light + heavy) * 100 >= device_mj(RUN.last(), RUN.uuid(GROWING)) * 97, "{light} {heavy}");
    assert!(RUN.since(3).all(|look| look.is_up(RUN.uuid(GROWING))));
}

#[test]
fn garbage_among_the_samples_changes_nothing() {
    check_heavy(GARBAGE, BY_USE);
    RUN.check_all_energy_is_there(GARBAGE);
    let series = RUN.last().find("wattribute_process_energy_joules_total", &[("uuid", RUN.uuid(GARBAGE))]);
    assert_eq!(series.len(), 2, "{series:?}");
}

#[test]
fn unknown_memory_has_no_series_and_idle_energy_goes_equally() {
    let used = RUN.last().find("wattribute_team_memory_used_bytes", &[("uuid", RUN.uuid(NO_MEMORY))]);
    assert!(used.is_empty(), "{used:?}");
    let used = RUN.last().find("wattribute_process_memory_used_bytes", &[("uuid", RUN.uuid(NO_MEMORY))]);
    assert!(used.is_empty(), "{used:?}");
    assert!(is_chosen("split_basis", "basis", "utilization", NO_MEMORY));
    // 378 W of work and half of 70 W, of 637 W.
    check_heavy(NO_MEMORY, 648);
    RUN.check_all_energy_is_there(NO_MEMORY);
}

/// All active energy is estimated, and the basis says by what.
#[track_caller]
fn check_estimated(gpu: usize, basis: &str) {
    assert!(is_chosen("split_basis", "basis", basis, gpu), "gpu {gpu}");
    let uuid = ("uuid", RUN.uuid(gpu));
    let estimated = RUN.last().millijoules("wattribute_team_energy_estimated_joules_total", &[uuid]);
    let active = RUN.last().millijoules("wattribute_team_energy_joules_total", &[uuid, ("kind", "active")]);
    assert!(active > Some(0));
    assert_eq!(estimated, active, "gpu {gpu}");
    RUN.check_all_energy_is_there(gpu);
}

#[test]
fn without_utilization_memory_splits_and_that_is_called_estimated() {
    check_estimated(NO_UTILIZATION, "memory");
    check_heavy(NO_UTILIZATION, 750);
}

#[test]
fn without_utilization_and_memory_the_split_is_equal_and_called_estimated() {
    check_estimated(NEITHER, "equal");
    check_heavy(NEITHER, 500);
}

#[test]
fn a_counter_that_was_reset_goes_on_from_zero_and_the_resets_are_counted_from_zero() {
    RUN.check_all_energy_is_there(RESET);
    let uuid = [("uuid", RUN.uuid(RESET))];
    let resets: Vec<&str> = RUN
        .looks
        .iter()
        .filter_map(|look| look.scrape.value("wattribute_gpu_energy_counter_resets_total", &uuid))
        .collect();
    let mut steps = resets.clone();
    steps.dedup();
    assert_eq!(steps, ["0", "1", "2"]);
    check_heavy(RESET, BY_USE);
    let others = RUN.last().find("wattribute_gpu_energy_counter_resets_total", &[]);
    assert!(others.iter().all(|sample| sample.labels["uuid"] == RUN.uuid(RESET) || sample.number() == 0.0));
}

/// It drew what the healthy GPU did, which has the same load.
#[track_caller]
fn check_watts(gpu: usize) {
    let (got, want) = (RUN.mean_watts(gpu), RUN.mean_watts(HEALTHY));
    assert!((got - want).abs() < want * 0.03, "gpu {gpu}: {got} W, and {want} W by counter");
}

#[test]
fn a_jump_of_the_counter_is_not_believed_and_what_was_not_is_counted() {
    let uuid = RUN.uuid(JUMP);
    let all = &RUN.readings[JUMP];
    let across = all.windows(2).find(|pair| pair[1].mj - pair[0].mj > JUMP_MJ).expect("a jump");
    let disbelieved =
        RUN.last().millijoules("wattribute_gpu_energy_disbelieved_joules_total", &[("uuid", uuid)]);
    assert_eq!(disbelieved, Some(across[1].mj - across[0].mj));
    // Power × time stands in for it: the load is steady, so that is the truth but for the refresh of the counter.
    check_watts(JUMP);
    assert!(is_chosen("energy_source", "source", "counter", JUMP), "the next interval is believed again");
    check_heavy(JUMP, BY_USE);
}

#[test]
fn without_a_counter_power_times_time_is_the_energy() {
    assert!(is_chosen("energy_source", "source", "power", NO_COUNTER));
    assert!(RUN.readings[NO_COUNTER].is_empty());
    check_watts(NO_COUNTER);
    let resets = "wattribute_gpu_energy_counter_resets_total";
    assert!(RUN.last().find(resets, &[("uuid", RUN.uuid(NO_COUNTER))]).is_empty());
    check_heavy(NO_COUNTER, BY_USE);
}

#[test]
fn a_counter_that_stood_still_and_caught_up_is_believed() {
    RUN.check_all_energy_is_there(FROZEN);
    let gains = RUN.gains(FROZEN);
    assert!(gains.windows(2).any(|pair| pair[0] == pair[1] && pair[0] > 0), "it stood still: {gains:?}");
}

#[test]
fn a_gpu_with_mig_is_accounted_in_whole() {
    RUN.check_all_energy_is_there(MIG);
    assert_eq!(RUN.last().value("wattribute_gpu_up", &[("uuid", RUN.uuid(MIG))]), Some("1"));
    assert!(!is_chosen("split_basis", "basis", "utilization", MIG));
    let all = device_mj(RUN.last(), RUN.uuid(MIG));
    let [light, heavy] = ["light", "heavy"].map(|team| team_mj(RUN.last(), team, RUN.uuid(MIG)));
    assert!(light > 0 && heavy > 0 && light + heavy <= all, "{light} {heavy} {all}");
}
