//! `check` and `explain` of a description: what they answer.

use wattribute_e2e::Scratch;

use crate::console::run;

const RULES: &str = r#"labels: [team, project]
rules:
  - name: students
    match: ['user=~"stud(?P<number>[0-9]+)"']
    owner: {team: teaching, project: "${ancestor_env_COURSE}"}
  - name: training
    match: ['cmdline=~".*train\.py.*"']
    owner: {team: research}
tests:
  - name: a student
    process: {user: stud7, ancestors: [{comm: bash, env_COURSE: ml-101}]}
    owner: {team: teaching, project: ml-101}
    rule: students
"#;

#[test]
fn check_runs_the_files_own_tests() {
    let scratch = Scratch::new("check");
    let file = scratch.write("rules.yaml", RULES).display().to_string();
    let done = run(&["check", &file], &[]);
    done.check(0, &[]);
    assert!(done.stdout.contains("2 rules, 1 tests"), "{}", done.stdout);
}

#[test]
fn check_says_every_test_that_fails() {
    let scratch = Scratch::new("check-fails");
    let tests = "  - name: wrong team\n    process: {user: stud7}\n    owner: {team: research}\n\
                 \u{20} - name: wrong rule\n    process: {user: x, cmdline: python train.py}\n    rule: students\n";
    let file = scratch.write("rules.yaml", &format!("{RULES}{tests}")).display().to_string();
    run(&["check", &file], &[]).check(1, &["rules.yaml:14", "wrong team", "rules.yaml:17", "wrong rule"]);
}

#[test]
fn a_warning_is_printed_and_fails_only_if_that_is_asked_for() {
    let scratch = Scratch::new("check-warns");
    let file = scratch.write("rules.yaml", RULES).display().to_string();
    let words = ["warning: ", "rules.yaml:6", "training", "anyone could claim it"];
    let done = run(&["check", &file], &[]);
    done.check(0, &words);
    assert!(done.stdout.contains("warning"), "{}", done.stdout);
    run(&["check", "--strict", &file], &[]).check(1, &words);
}

#[test]
fn check_takes_a_folder_and_several_files_as_one_set() {
    let scratch = Scratch::new("check-folder");
    scratch.write("a.yaml", RULES);
    scratch.write("b.yaml", "rules:\n  - name: rest\n    match: ['uid=~\".+\"']\n    owner: {team: rest}\n");
    let done = run(&["check", &scratch.path("").display().to_string()], &[]);
    done.check(0, &[]);
    assert!(done.stdout.contains("3 rules"), "{}", done.stdout);
}

#[track_caller]
fn explain(process: &str) -> crate::console::Done {
    let scratch = Scratch::new("explain");
    let rules = scratch.write("rules.yaml", RULES).display().to_string();
    let file = scratch.write("process.yaml", process).display().to_string();
    run(&["explain", "--process", &file, "--rules.file", &rules], &[])
}

#[test]
fn explain_says_of_every_rule_why_it_matches_or_not() {
    let done = explain("user: ann\ncmdline: python train.py\n");
    done.check(0, &[]);
    for word in ["students", "ann", "training", "research", "declared"] {
        assert!(done.stdout.contains(word), "{word} in\n{}", done.stdout);
    }
}

#[test]
fn explain_takes_a_process_as_a_test_has_it() {
    let done = explain("{user: stud7, ancestors: [{comm: bash, env_COURSE: ml-101}]}\n");
    done.check(0, &[]);
    assert!(done.stdout.contains("teaching") && done.stdout.contains("ml-101"), "{}", done.stdout);
}

#[test]
fn explain_names_what_is_wrong_with_a_process() {
    explain("usr: ann\n").check(1, &["process.yaml:1", "usr"]);
    let scratch = Scratch::new("explain-nothing");
    let rules = scratch.write("rules.yaml", RULES).display().to_string();
    let missing = scratch.path("missing.yaml").display().to_string();
    run(&["explain", "--process", &missing, "--rules.file", &rules], &[]).check(1, &["missing.yaml"]);
}
