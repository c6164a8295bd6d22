use super::*;
use proptest::prelude::*;

const LIMIT: Milliwatts = Milliwatts(700_000);

fn counted(seconds: u64, counter: u64, watts: u64) -> Reading {
    let (at, power) = (Microseconds(seconds * 1_000_000), Some(Milliwatts(watts * 1000)));
    Reading { at, counter: Counter::Value(Millijoules(counter)), power }
}

fn powered(seconds: u64, watts: u64) -> Reading {
    Reading { counter: Counter::Unsupported, ..counted(seconds, 0, watts) }
}

/// Energy, resets and disbelieved energy that a series of readings adds up to.
#[track_caller]
fn check(readings: &[Reading], want: (u64, u64, u64)) {
    let mut meter = EnergyMeter::new(Some(LIMIT));
    let intervals: Vec<Metered> = readings.iter().filter_map(|&reading| meter.read(reading)).collect();
    let energy: Millijoules = intervals.iter().map(|one| one.energy).sum();
    let disbelieved: Millijoules = intervals.iter().map(|one| one.disbelieved).sum();
    let resets = intervals.iter().filter(|one| one.reset).count() as u64;
    assert_eq!((energy.0, resets, disbelieved.0), want);
}

#[test]
fn the_first_reading_is_no_interval() {
    check(&[counted(0, 5_000_000, 200)], (0, 0, 0));
}

#[test]
fn the_counter_decides_over_sampled_power() {
    check(&[counted(0, 0, 70), counted(5, 1_950_000, 70)], (1_950_000, 0, 0));
}

#[test]
fn a_counter_that_fell_counts_from_zero() {
    check(&[counted(0, 9_000_000, 300), counted(1, 120_000, 300)], (120_000, 1, 0));
}

#[test]
fn a_counter_that_is_known_to_have_begun_anew_counts_from_zero_though_it_shows_more() {
    let mut meter = EnergyMeter::new(Some(LIMIT));
    meter.read(counted(0, 100, 300));
    meter.restart();
    let metered = meter.read(counted(1, 120_000, 300)).expect("an interval");
    assert_eq!((metered.energy, metered.reset), (Millijoules(120_000), true));
}

/// The energy of a gap of a day, and of a minute of seconds after it.
#[track_caller]
fn check_gap(before: u64, after: Counter, want: (u64, u64)) {
    let mut meter = EnergyMeter::new(Some(LIMIT));
    meter.resume(Reading { power: None, ..counted(0, before, 0) });
    let mut read = |second| meter.read(Reading { counter: after, ..counted(second, 0, 300) });
    let gap = read(86_400).expect("the gap").energy;
    let minute: Millijoules = (86_401..=86_460).filter_map(read).map(|one| one.energy).sum();
    assert_eq!((gap.0, minute.0), want);
}

#[test]
fn the_energy_of_a_gap_is_the_counters_gain_or_nothing() {
    let value = |value| Counter::Value(Millijoules(value));
    check_gap(5_000, value(9_000), (4_000, 60 * 300_000));
    check_gap(5_000, value(5_000), (0, 60 * 300_000));
    check_gap(0, value(0), (0, 60 * 300_000));
    check_gap(5_000, Counter::Unsupported, (0, 60 * 300_000));
}

#[test]
fn a_limit_that_becomes_known_later_counts_and_without_one_there_is_a_ceiling() {
    let mut meter = EnergyMeter::new(None);
    let mut read = |second, counter| meter.read(counted(second, counter, 300)).map(|one| one.energy.0);
    assert_eq!((read(0, 0), read(1, 6_000_000), read(2, 12_000_001)), (None, Some(6_000_000), Some(300_000)));
    meter.set_limit(LIMIT);
    assert_eq!(meter.read(counted(3, 14_100_002, 300)).map(|one| one.energy.0), Some(300_000));
}

#[test]
fn an_impossible_increase_gives_way_to_power_times_time() {
    check(&[counted(0, 0, 300), counted(1, 900_000_000, 300)], (300_000, 0, 900_000_000));
    check(&[counted(0, 0, 300), counted(1, 2_100_000, 300)], (2_100_000, 0, 0));
    check(&[counted(0, 0, 300), counted(1, 2_100_001, 300)], (300_000, 0, 2_100_001));
}

#[test]
fn a_small_step_back_is_not_paid_twice() {
    check(&[counted(0, 900_000_000, 300), counted(1, 899_999_995, 300)], (300_000, 1, 899_999_995));
}

#[test]
fn after_a_disbelieved_jump_the_counter_is_believed_again() {
    check(
        &[counted(0, 0, 300), counted(1, 900_000_000, 300), counted(2, 900_300_000, 300)],
        (600_000, 0, 900_000_000),
    );
}

/// A counter at 300 W that is read each second, and stands still from second 5 on until `moves` says (second, value).
fn stuck_at_five(moves: &[(u64, u64)]) -> Vec<Reading> {
    let alive = (0..=5).map(|second| counted(second, second * 300_000, 300));
    let stuck = (6..moves[0].0).map(|second| counted(second, 1_500_000, 300));
    let moves = moves.iter().map(|&(second, value)| counted(second, value, 300));
    alive.chain(stuck).chain(moves).collect()
}

#[test]
fn a_counter_that_stands_still_while_power_flows_gives_way_to_power() {
    check(&stuck_at_five(&[(15, 1_500_000)]), (1_500_000, 0, 0));
    check(&stuck_at_five(&[(16, 1_500_000)]), (1_500_000 + 11 * 300_000, 0, 0));
    check(&stuck_at_five(&[(60, 1_500_000)]), (60 * 300_000, 0, 0));
}

#[test]
fn what_power_has_paid_is_not_counted_twice_when_the_counter_catches_up() {
    check(&stuck_at_five(&[(60, 60 * 300_000)]), (60 * 300_000, 0, 0));
    check(&stuck_at_five(&[(60, 60 * 300_000), (61, 61 * 300_000)]), (61 * 300_000, 0, 0));
    // Power says more than the counter in the end: the counter is right.
    check(&stuck_at_five(&[(60, 50 * 300_000), (61, 51 * 300_000)]), (59 * 300_000, 0, 0));
    check(&stuck_at_five(&[(60, 50 * 300_000), (80, 71 * 300_000)]), (71 * 300_000, 0, 0));
}

#[test]
fn a_counter_that_goes_on_from_where_it_stood_has_lost_what_power_paid() {
    check(&stuck_at_five(&[(60, 6 * 300_000), (61, 7 * 300_000)]), (61 * 300_000, 0, 0));
}

#[test]
fn a_counter_that_freezes_for_some_seconds_and_catches_up_is_believed() {
    let frozen = [counted(0, 0, 700), counted(5, 0, 700), counted(6, 4_200_000, 700)];
    check(&frozen, (4_200_000, 0, 0));
}

#[test]
fn a_jump_that_is_not_believed_after_a_freeze_gives_way_to_power_for_all_of_it() {
    let jump = [counted(0, 0, 700), counted(5, 0, 700), counted(6, 900_000_000, 700)];
    check(&jump, (6 * 700_000, 0, 900_000_000));
}

#[test]
fn a_counter_that_was_reset_while_it_stood_still_begins_anew() {
    check(&stuck_at_five(&[(60, 300_000), (61, 600_000)]), (61 * 300_000, 1, 0));
}

#[test]
fn a_gpu_that_draws_next_to_nothing_is_not_stuck() {
    check(&(0..40).map(|second| counted(second, 7, 1)).collect::<Vec<_>>(), (0, 0, 0));
}

#[test]
fn without_a_counter_the_trapezoid_of_power_counts() {
    check(&[powered(0, 100), powered(5, 200)], (750_000, 0, 0));
    check(&(0..=10).step_by(2).map(|second| powered(second, 100)).collect::<Vec<_>>(), (1_000_000, 0, 0));
    check(&(0..=10).map(|second| powered(second, 20 * second)).collect::<Vec<_>>(), (1_000_000, 0, 0));
}

proptest! {
    #[test]
    fn whatever_a_counter_stood_still_for_it_is_right_once_it_has_caught_up(
        steps in prop::collection::vec((1..30_u64, any::<bool>()), 1..30),
        percent in 90..=110_u64,
    ) {
        let (mut meter, mut booked, mut second, mut shown) = (EnergyMeter::new(Some(LIMIT)), 0, 0, 0);
        let mut read = |second: u64, shown: u64| {
            let reading = counted(second, shown, 3 * percent);
            meter.read(reading).map_or(0, |one| one.energy.0)
        };
        read(0, 0);
        for (seconds, moves) in steps {
            for _ in 0..seconds {
                second += 1;
                shown = if moves { second * 300_000 } else { shown };
                booked += read(second, shown);
            }
        }
        // Long enough for what power has paid too much to be worked off.
        for _ in 0..1000 {
            second += 1;
            booked += read(second, second * 300_000);
        }
        prop_assert_eq!(booked, second * 300_000);
    }
}

#[test]
fn a_failed_reading_is_covered_by_the_next() {
    let failed = Reading { counter: Counter::Failed, ..counted(1, 0, 300) };
    check(&[counted(0, 0, 300), failed, counted(2, 600_000, 300)], (600_000, 0, 0));
}

#[test]
fn fractions_of_a_millijoule_are_kept() {
    let mut meter = EnergyMeter::new(None);
    let reading = |index: u64| Reading { at: Microseconds(index * 300), ..powered(0, 1) };
    let total: Millijoules =
        (0..=10_000).filter_map(|index| meter.read(reading(index))).map(|one| one.energy).sum();
    assert_eq!(total, Millijoules(3000));
}
