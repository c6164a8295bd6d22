//! The report on one process that has everything, as text and as JSON, and who may see what of it.
//!
//! The golden files are written anew with `UPDATE_GOLDEN=1`.

use std::path::Path;

use wattribute::facts::{Fact, Facts, Field};
use wattribute::rules::{RuleSet, Source};

use super::report::{Audience, Report};
use super::subject::{Origin, Subject, add_job, await_pod};
use super::text::{self, Look, Paint};

const RULES: &str = r#"labels: [team, project]
ignore: ['comm="Xorg"']
tables:
  accounts:
    astro: {team: physics}
rules:
  - name: course
    match: ['ancestor_env_COURSE=~"ml-[0-9]+"']
    owner: {team: teaching}
  - name: token
    match: ['env_TOKEN="abc"']
    owner: {team: none}
  - name: account
    lookup: {table: accounts, key: "${slurm_account}"}
  - name: by model
    match: ['env_TOKEN=~".+"', 'cmdline=~".*--model=llama.*"']
    owner: {team: inference}
  - name: people
    match: ['user=~"[a-z]+"']
    owner: {team: research, project: "${user}"}
  - name: rest
    match: ['uid=~".+"']
    owner: {team: rest}
"#;

fn rules(text: &str) -> RuleSet {
    let source = Source { name: "teams.yaml".into(), text: text.into() };
    RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules")
}

fn subject() -> Subject {
    let mut facts = Facts::default();
    for (field, value) in [
        (Field::Uid, "1000"),
        (Field::User, "ada"),
        (Field::Scheduler, "slurm"),
        (Field::JobId, "211"),
        (Field::SlurmAccount, "chess"),
        (Field::GpuUuid, "GPU-8f6d3b1e"),
        (Field::Comm, "python3"),
        (
            Field::Cmdline,
            "python3 train.py --note=\u{1b}]0;owned\u{7} --data=/scratch/very/long/path/to/a/set/of/images --token=secret-argument",
        ),
        (Field::Env("TOKEN".into()), "secret-variable"),
    ] {
        facts.set(field, value);
    }
    for (comm, course) in [("bash", ""), ("tmux", "secret-course")] {
        let fields = [(Field::AncestorComm, comm), (Field::AncestorEnv("COURSE".into()), course)];
        facts.push_ancestor(fields.map(|(field, value)| (field, value.to_owned())).into());
    }
    let origin = Origin::Process { pid: 4242, procfs: "/proc".into() };
    let notes = vec![
        "exe of pid 4242 or a parent could not be read, and what it says is pending: run as root".into(),
    ];
    Subject { facts, origin, start_time: Some(1_790_000_000.25), notes }
}

fn report(audience: Audience) -> Report {
    Report::new(subject(), &rules(RULES), audience)
}

#[track_caller]
fn golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).expect("the golden file is written");
    }
    let want = std::fs::read_to_string(&path).expect("the golden file");
    assert!(got == want, "{name} differs: run with UPDATE_GOLDEN=1 and look at it:\n{got}");
}

#[test]
fn the_text_is_the_golden_one() {
    let report = report(Audience::Person);
    golden("explain.txt", &text::render(&report, Look { width: None, paint: Paint::None }));
    golden("explain.narrow.txt", &text::render(&report, Look { width: Some(80), paint: Paint::None }));
    golden("explain.colors.txt", &text::render(&report, Look { width: Some(120), paint: Paint::Colors }));
}

#[test]
fn the_json_is_the_golden_one() {
    golden("explain.json", &super::json(&report(Audience::Person)).expect("JSON"));
}

#[test]
fn over_http_no_command_line_and_no_variable_is_told() {
    let json = super::json(&report(Audience::Web)).expect("JSON");
    golden("explain.web.json", &json);
    assert!(!json.contains("secret") && !json.contains("train.py"), "{json}");
    let key = RULES.replace("\"${slurm_account}\"", "\"${env_TOKEN}\"");
    let report = Report::new(subject(), &rules(&key), Audience::Web);
    assert!(report.rules[2].withheld && report.rules[2].key.is_none());
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [60, 80, 100, 200] {
        let text = text::render(&report(Audience::Person), Look { width: Some(width), paint: Paint::None });
        let facts = text.split("  note:").next().expect("facts");
        let rules = text.split("RULES").nth(1).expect("rules");
        for line in facts.lines().chain(rules.lines()).filter(|_| width >= 80) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn what_a_process_says_never_commands_the_terminal() {
    for look in [Look { width: None, paint: Paint::None }, Look { width: Some(80), paint: Paint::None }] {
        let text = text::render(&report(Audience::Person), look);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}

#[test]
fn what_is_pending_is_said_and_no_later_rule_is_taken() {
    let mut subject = subject();
    subject.facts.set_pending(Field::SlurmAccount);
    let report = Report::new(subject, &rules(RULES), Audience::Person);
    assert_eq!(report.verdict.waits_for.as_deref(), Some("slurm_account"));
    assert!(report.verdict.owner.is_none());
    assert_eq!(report.rules[4].earlier.as_deref(), Some("account"));
    let text = text::render(&report, Look { width: None, paint: Paint::None });
    assert!(text.contains("none yet: waits for slurm_account"), "{text}");
}

#[test]
fn of_a_pod_what_only_the_running_exporter_knows_is_pending() {
    let named =
        rules("rules:\n  - {name: n, match: ['namespace=\"a\"', 'pod_label_app=\"b\"'], owner: {team: x}}\n");
    let mut facts = Facts::default();
    assert_eq!(await_pod(&mut facts, 7, &named), None, "in no pod");
    facts.set(Field::PodUid, "8f6d3b1e");
    assert_eq!(await_pod(&mut facts, 7, &rules(RULES)), None, "nobody wants it");
    let note = await_pod(&mut facts, 7, &named).expect("a note");
    assert!(note.contains("/api/v1/processes?pid=7"), "{note}");
    let found = [Field::Namespace, Field::PodLabel("app".into()), Field::Pod]
        .map(|field| facts.get(&field) == Fact::Pending);
    assert_eq!(found, [true, true, false]);
}

#[test]
fn of_a_job_whose_number_is_not_found_what_slurm_says_is_pending() {
    let mut facts = Facts::default();
    facts.set(Field::Scheduler, "slurm");
    facts.set(Field::Sluid, "s5K1KKYAYG5D00");
    facts.set_pending(Field::JobId);
    let note = add_job(&mut facts).expect("a note");
    assert!(note.contains("s5K1KKYAYG5D00"), "{note}");
    assert!(facts.get(&Field::SlurmAccount) == Fact::Pending);
}
