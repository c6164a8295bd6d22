//! Every parser gets broken copies of what it should read: none panics, none says what breaks a log, none that reads
//! something reads it wrongly. The same inputs in every run; a failure prints its input.

use std::panic::catch_unwind;

use super::mutate::{Dice, broken};
use super::{Outcome, Target, targets};

#[track_caller]
fn check(target: &Target, input: &[u8]) {
    let shown = String::from_utf8_lossy(input);
    match catch_unwind(|| (target.feed)(input)) {
        Err(_) => panic!("{}: a panic by {shown:?}", target.name),
        Ok(outcome) => assert_eq!(outcome.fault(), None, "{}: by {shown:?}", target.name),
    }
}

fn check_all(mut is_mine: impl FnMut(usize) -> bool) {
    for (_, target) in targets().into_iter().enumerate().filter(|(number, _)| is_mine(*number)) {
        let mut dice = Dice::of(target.name);
        target.seeds.iter().for_each(|seed| check(target, seed));
        (0..target.rounds).for_each(|_| check(target, &broken(target.seeds, &mut dice)));
        [&b""[..], b"\0", b"\n", b"\xff\xfe", &[b'['; 70_000], &[b'a'; 70_000]]
            .iter()
            .for_each(|odd| check(target, odd));
    }
}

// In two halves, so that two processors share them.
#[test]
fn no_broken_input_breaks_a_parser() {
    check_all(|number| number % 2 == 0);
}

#[test]
fn nor_the_other_half_of_them() {
    check_all(|number| number % 2 == 1);
}

#[test]
fn the_seeds_are_good() {
    for target in targets() {
        let read = target.seeds.iter().any(|seed| (target.feed)(seed) == Outcome::Read);
        let said: Vec<_> = target.seeds.iter().map(|seed| (target.feed)(seed)).collect();
        assert!(read, "{}: no seed is read: {said:?}", target.name);
    }
}

#[test]
fn names_are_names_of_folders_and_each_stands_once() {
    let mut names: Vec<&str> = targets().iter().map(|target| target.name).collect();
    assert!(
        names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')),
        "{names:?}"
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), targets().len());
}

/// What libFuzzer has found.
#[test]
fn what_was_found_stays_found() {
    let outcome = |name: &str, bytes: &[u8]| {
        let target = targets().into_iter().find(|target| target.name == name).expect("a target");
        (target.feed)(bytes)
    };
    assert_eq!(outcome("state", b"{\"idle\\u007fpower\": 0}").fault(), None);
}
