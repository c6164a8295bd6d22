//! Behaviour that users of such systems have been burnt by. Each test has the name of its case; `docs/behaviour.md`
//! lists all cases, with the test or the sentence for each.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "the library is pure and does not panic; its tests read files, and fail by panics"
)]

use std::collections::BTreeSet;
use std::fs;

use wattribute::facts::{Facts, Field};
use wattribute::rules::{Decision, RuleSet, Source, process};

fn load(text: &str) -> Result<RuleSet, String> {
    let source = Source { name: "teams.yaml".into(), text: text.into() };
    RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).map_err(|problems| problems.to_string())
}

fn facts(text: &str) -> Facts {
    process(&Source { name: "process".into(), text: text.into() }).expect("a process")
}

/// Which owner a process gets by which rule: `team="a" by tag`.
#[track_caller]
fn check(rules: &str, process: &str, want: &str) {
    let rules = load(rules).expect("they load");
    let Decision::Verdict(verdict) = rules.decide(&facts(process)) else { panic!("nothing is pending") };
    assert_eq!(format!("{} by {}", verdict.owner, verdict.rule.as_deref().unwrap_or("no rule")), want);
}

const NOBODY: &str = "team=\"unattributed\" by no rule";

const JOBS: &str = r#"
tables: {accounts: {slurm-acct: {team: physics}}}
rules:
  - {name: job, match: ['scheduler="slurm"'], lookup: {table: accounts, key: "${slurm_account}"}}
  - {name: tag, match: ['env_TEAM=~".+"'], owner: {team: "${env_TEAM}"}}
  - {name: parent's tag, match: ['ancestor_env_TEAM=~".+"'], owner: {team: "${ancestor_env_TEAM}"}}
"#;

fn with_declared(declared: &str) -> String {
    format!("declared: {declared}\n{JOBS}")
}

#[test]
fn b01_order_as_documented_vs_code() {
    check(JOBS, "{scheduler: slurm, slurm_account: slurm-acct, env_TEAM: manual}", "team=\"physics\" by job");
    let rules = load(JOBS).expect("they load");
    let names: Vec<String> =
        rules.explain(&Facts::default()).rules.iter().map(|line| line.rule.to_string()).collect();
    assert_eq!(names, ["job", "tag", "parent's tag"]);
}

#[test]
fn b07_parent_tag_inherited() {
    check(JOBS, "{ancestors: [{env_TEAM: nlp-team}]}", "team=\"nlp-team\" by parent's tag");
}

#[test]
fn b09_parent_missing() {
    check(JOBS, "{comm: python, ancestors: []}", NOBODY);
}

#[test]
fn b11_child_own_tag_wins_over_parent() {
    check(JOBS, "{env_TEAM: child, ancestors: [{env_TEAM: parent}]}", "team=\"child\" by tag");
}

#[test]
fn c01_untrusted_uid_tag_ignored() {
    let rules = with_declared("{uids: [0]}");
    check(&rules, "{uid: 1001, env_TEAM: malicious-team, cmdline: ''}", NOBODY);
    let explained = load(&rules).expect("they load").explain(&facts("{uid: 1001, env_TEAM: x}"));
    let objection = explained.objection.clone().expect("it says so");
    assert_eq!(objection, "declared facts of uid 1001 do not count: see `declared` in teams.yaml:1");
    let reason = "env_TEAM=~\".+\": its declared facts do not count";
    assert!(explained.to_string().contains(reason), "{explained}");
}

#[test]
fn c02_trusted_uid_tag_honoured() {
    check(&with_declared("{uids: [0]}"), "{uid: 0, env_TEAM: trusted-team}", "team=\"trusted-team\" by tag");
}

#[test]
fn c03_no_trust_list_accepts_all() {
    // An empty section believes nobody; no section leaves it to each rule, and `check` warns of one that leaves it open.
    check(&with_declared("{uids: []}"), "{uid: 9999, env_TEAM: any-team}", NOBODY);
    let warnings: Vec<String> =
        load(JOBS).expect("they load").lint().iter().map(ToString::to_string).collect();
    let claimed = |rule: &str| {
        warnings.iter().any(|warning| warning.contains(rule) && warning.contains("anyone could claim it"))
    };
    assert!(
        claimed("rule \"tag\"") && claimed("rule \"parent's tag\"") && !claimed("rule \"job\""),
        "{warnings:?}"
    );
}

#[test]
fn c04_spoofed_scheduler_env() {
    let spoofed = "{uid: 1001, env_SLURM_JOB_ID: victim-job, env_SLURM_JOB_ACCOUNT: slurm-acct}";
    check(&with_declared("{uids: [0]}"), spoofed, NOBODY);
    check(JOBS, spoofed, NOBODY);
    assert_eq!(facts(spoofed).get(&Field::Scheduler), wattribute::facts::Fact::Absent);
}

#[test]
fn c09_environ_allowlist() {
    let wanted = load(JOBS).expect("they load").wanted_env().clone();
    assert_eq!(wanted.iter().collect::<Vec<_>>(), ["TEAM"]);
}

#[test]
fn c10_prefix_allowlist_keeps_own_api_key() {
    let rules =
        load("rules: [{name: a, match: ['env_PRODUCT_TEAM=\"a\"'], owner: {team: a}}]").expect("they load");
    assert_eq!(rules.wanted_env().iter().collect::<Vec<_>>(), ["PRODUCT_TEAM"]);
}

#[test]
fn d01_rule_match() {
    let rules = r#"
labels: [team, project]
rules:
  - {name: gpt4, match: ['cmdline=~"python.*gpt4_train.*"'], owner: {team: llm-infra, project: gpt4}}
  - {name: notebook, match: ['cmdline=~".*jupyter.*"'], owner: {team: research, project: notebook}}"#;
    check(
        rules,
        "{cmdline: python gpt4_train.py --lr 0.001}",
        "team=\"llm-infra\", project=\"gpt4\" by gpt4",
    );
}

#[test]
fn d02_higher_priority_wins() {
    // The order of the file is the priority.
    let rules = r#"
rules:
  - {name: high, match: ['cmdline=~"python.*"'], owner: {team: high-prio}}
  - {name: low, match: ['cmdline=~".*python.*"'], owner: {team: low-prio}}"#;
    check(rules, "{cmdline: python train.py}", "team=\"high-prio\" by high");
}

#[test]
fn d03_priority_tie_file_order() {
    let rules = r#"
rules:
  - {name: one, match: ['comm="a"'], owner: {team: first}}
  - {name: two, match: ['comm="a"'], owner: {team: second}}"#;
    check(rules, "{comm: a}", "team=\"first\" by one");
    let warnings = load(rules).expect("they load").lint();
    assert!(warnings.iter().any(|warning| warning.message.contains("it never matches")), "{warnings:?}");
}

#[test]
fn d06_invalid_regex_rejects_file() {
    let error = load(
        r#"
rules:
  - {name: one, match: ['comm=~"("'], owner: {team: x}}
  - {name: two, match: ['comm="ok"'], owner: {team: y}}
  - {name: three, match: ['comm="z"']}
  - {name: four, match: ['comm="q"'], owner: {team: t}, priority: high}"#,
    )
    .expect_err("it is refused whole");
    let places = [
        "teams.yaml:3: rule \"one\": match:",
        "teams.yaml:5: rule \"three\":",
        "teams.yaml:6: rule \"four\":",
    ];
    assert_eq!(error.lines().count(), 3, "{error}");
    assert!(places.iter().all(|place| error.contains(place)), "{error}");
}

#[test]
fn d07_unknown_key_rejected() {
    let error = load("rules: [{name: a, patern: a, match: ['comm=\"a\"'], owner: {team: first}}]");
    assert!(error.expect_err("it is refused").contains("patern"));
}

#[test]
fn d09_empty_pattern_is_not_match_all() {
    check(
        r#"rules: [{name: a, match: ['cmdline=~""'], owner: {team: everything}}]"#,
        "{cmdline: anything}",
        NOBODY,
    );
    assert!(load("rules: [{name: a, match: [], owner: {team: everything}}]").is_err());
    assert!(load("rules: [{name: a, match: [''], owner: {team: everything}}]").is_err());
}

#[test]
fn d11_yaml_rules() {
    let rules = load("rules:\n - {name: a, match: ['comm=\"a\"'], owner: {team: t}}").expect("they load");
    assert_eq!(rules.rule_count(), 1);
}

#[test]
fn d12_long_cmdline_tail() {
    let rules = r#"rules: [{name: alpha, match: ['cmdline=~".* --project=alpha"'], owner: {team: alpha}}]"#;
    let arguments = "-x ".repeat(1700);
    check(rules, &format!("{{cmdline: 'python {arguments} --project=alpha'}}"), "team=\"alpha\" by alpha");
}

#[test]
fn e03_empty_cmdline() {
    let rules = r#"rules: [{name: a, match: ['cmdline=~".*train.*"'], owner: {team: a}}]"#;
    check(rules, "{comm: x, cmdline: ''}", NOBODY);
}

const POD: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";

#[track_caller]
fn check_fact(cgroup: &str, (field, want): (Field, &str)) {
    assert_eq!(facts(&format!("{{cgroup: '{cgroup}'}}")).text(&field), want, "{cgroup}");
}

#[test]
fn f01_cgroup_v1_pod_uid() {
    check_fact(&format!("12:devices:/kubepods/burstable/pod{POD}/abc"), (Field::PodUid, POD));
}

#[test]
fn f02_cgroup_v2_underscores() {
    let uid = POD.replace('-', "_");
    let slice = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
    check_fact(&format!("0::/{slice}/cri-containerd-aa.scope"), (Field::PodUid, POD));
}

#[test]
fn f04_plain_docker() {
    let cgroup = "0::/system.slice/docker-0123456789ab.scope";
    check_fact(cgroup, (Field::PodUid, ""));
    check_fact(cgroup, (Field::ContainerId, "0123456789ab"));
}

#[test]
fn f05_k8s_team_label_then_namespace() {
    let rules = r#"
rules:
  - {name: label, match: ['pod_label_example_org_team=~".+"'], owner: {team: "${pod_label_example_org_team}"}}
  - {name: namespace, match: ['namespace=~".+"'], owner: {team: "${namespace}"}}"#;
    check(rules, "{namespace: ns1, pod_label_example_org_team: nlp}", "team=\"nlp\" by label");
    check(rules, "{namespace: ns2}", "team=\"ns2\" by namespace");
}

const KERNELS: &str = r#"
tables: {accounts: {astro: {team: physics}, chem: {team: chemistry}}}
rules:
  - {name: job, match: ['scheduler="slurm"'], lookup: {table: accounts, key: "${slurm_account}"}}
  - {name: pod, match: ['namespace=~"[a-z]+"'], owner: {team: "${namespace}"}}
  - {name: service, match: ['systemd_unit="llm.service"'], owner: {team: inference}}
  - {name: group, match: ['group=~"physics|chemistry"'], owner: {team: "${group}"}}
"#;

/// What eve may write of her own process, without being anybody else.
const LIES: &[&str] = &[
    "env_SLURM_JOB_ID: '7', env_SLURM_JOB_ACCOUNT: astro, env_TEAM: physics",
    "comm: llm.service, exe: /usr/bin/llm, cmdline: 'slurmstepd: [7.0] --account astro'",
    "ancestors: [{comm: slurmstepd, env_SLURM_JOB_ACCOUNT: astro}]",
    "cgroup: '0::/user.slice/user-1001.slice/user@1001.service/system.slice/slurmstepd.scope/job_7/step_0/user/task_0'",
    "cgroup: '0::/user.slice/user-1001.slice/user@1001.service/llm.service'",
    "cgroup: '0::/user.slice/user-1001.slice/user@1001.service/kubepods.slice/kubepods-pod3f2504e0_4f89_11d3_9a0c_0305e82c3301.slice'",
    "cgroup: '0::/user.slice/user-1001.slice/session-3.scope/slurm/uid_0/job_7'",
];

#[test]
fn no_lie_moves_a_joule_where_rules_ask_the_kernel_and_the_scheduler() {
    for lie in LIES {
        check(
            KERNELS,
            &format!("{{uid: 1001, user: eve, group: chemistry, {lie}}}"),
            "team=\"chemistry\" by group",
        );
        let job = format!("{{uid: 1001, {lie}, scheduler: slurm, job_id: '8', slurm_account: chem}}");
        check(KERNELS, &job, "team=\"chemistry\" by job");
    }
}

#[test]
fn every_case_has_its_line_in_the_docs_and_every_line_its_case() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let docs = fs::read_to_string(format!("{root}/docs/behaviour.md")).expect("the docs");
    let listed: BTreeSet<String> = docs
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| ")?.split(' ').next()?.to_owned()))
        .filter(|id| id.starts_with(|first: char| first.is_ascii_uppercase()) && id.contains('-'))
        .collect();
    assert!(listed.len() > 60, "{listed:?}");
    let sources = fs::read_to_string(file!().replace("attribution/", &format!("{root}/attribution/")));
    let tests = sources.expect("this file");
    for line in docs.lines().filter(|line| line.starts_with("| ") && line.contains("`behaviour.rs`")) {
        let id = line.trim_start_matches("| ").split(' ').next().unwrap_or_default();
        let name = id.to_lowercase().replace('-', "_");
        assert!(tests.contains(&format!("fn {name}()")), "{id} has no test {name}");
    }
    // The cases stand beside the repository, where there are any.
    let Ok(cases) = fs::read_to_string(format!("{root}/../shared/cases/behaviour.yaml")) else { return };
    let ids: BTreeSet<String> =
        cases.lines().filter_map(|line| line.strip_prefix("- id: ")).map(str::to_owned).collect();
    assert_eq!(listed, ids);
}
