//! Who gets what, and why: each test a line of rules, a process and the verdict.

use wattribute::facts::Field;
use wattribute::rules::{Decision, Refusal, RuleSet, Verdict};
use wattribute::split::IdlePolicy;
use wattribute::units::Milliwatts;

use super::{facts, facts_pending, load};

fn shown(decision: &Decision) -> String {
    match decision {
        Decision::Pending(field) => format!("waits for {field}"),
        Decision::Verdict(Verdict { owner, rule, evidence, refusal }) => {
            let evidence = evidence.map(|evidence| format!(" {evidence}")).unwrap_or_default();
            let refusal = refusal.map(|refusal| format!(" {refusal}")).unwrap_or_default();
            format!("{} {}{evidence}{refusal}", owner.team(), rule.as_deref().unwrap_or("-"))
        }
    }
}

#[track_caller]
fn set(rules: &str) -> RuleSet {
    load(rules).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn check(rules: &str, process: &str, want: &str) {
    assert_eq!(shown(&set(&format!("rules: [{rules}]")).decide(&facts(process))), want);
}

#[track_caller]
fn check_pending(rules: &str, (process, pending): (&str, &str), want: &str) {
    assert_eq!(shown(&set(rules).decide(&facts_pending(process, pending))), want);
}

#[test]
fn the_first_rule_that_matches_wins() {
    let both = r#"{name: one, match: ['comm="a"'], owner: {team: x}}, {name: two, match: ['comm=~".*"'], owner: {team: y}}"#;
    check(both, "{comm: a}", "x one declared");
    check(both, "{comm: b}", "y two declared");
}

#[test]
fn without_a_file_everything_is_unattributed() {
    let rules = RuleSet::load(&[], &mut |_, _| Err(String::new())).expect("nothing is wrong with nothing");
    assert_eq!(shown(&rules.decide(&facts("{comm: a}"))), "unattributed - no_rule");
    assert_eq!(rules.labels(), ["team".into()]);
    assert_eq!(rules.owner_limit(), 1000);
}

#[test]
fn a_set_of_rules_is_shared_between_threads() {
    let rules = std::sync::Arc::new(set("rules: []"));
    let elsewhere = std::sync::Arc::clone(&rules);
    let decision =
        std::thread::spawn(move || elsewhere.decide(&facts("{comm: a}"))).join().expect("a decision");
    assert_eq!(decision, rules.decide(&facts("{comm: a}")));
}

#[test]
fn all_matchers_must_hold() {
    let rule = r#"{name: r, match: ['comm="a"', 'user!="b"'], owner: {team: x}}"#;
    check(rule, "{comm: a, user: c}", "x r declared");
    check(rule, "{comm: a, user: b}", "unattributed - no_rule");
    check(rule, "{comm: a}", "x r declared");
}

#[test]
fn evidence_is_the_weakest_of_what_the_rule_used() {
    check(r#"{name: r, match: ['uid="0"'], owner: {team: x}}"#, "{uid: 0}", "x r kernel");
    check(
        r#"{name: r, match: ['uid="0"'], owner: {team: "${namespace}"}}"#,
        "{uid: 0, namespace: n}",
        "n r scheduler",
    );
    check(r#"{name: r, match: ['uid="0"', 'env_T=""'], owner: {team: x}}"#, "{uid: 0}", "x r declared");
    check(
        r#"{name: r, match: ['uid="0"'], owner: {team: "${env_T}"}}"#,
        "{uid: 0, env_T: e}",
        "e r declared",
    );
}

#[test]
fn evidence_of_a_lookup_is_that_of_its_key() {
    let rules =
        "tables: {t: {alice: {team: x}}}\nrules: [{name: r, lookup: {table: t, key: '${slurm_user}'}}]";
    assert_eq!(shown(&set(rules).decide(&facts("{slurm_user: alice}"))), "x r scheduler");
    assert_eq!(shown(&set(rules).decide(&facts("{slurm_user: bob}"))), "unattributed - no_rule");
    assert_eq!(shown(&set(rules).decide(&facts("{uid: 0}"))), "unattributed - no_rule");
}

#[test]
fn what_a_template_may_not_yield_is_unattributed_with_the_reason() {
    let rule = r#"{name: r, match: ['uid="0"'], owner: {team: "${user}"}}"#;
    check(rule, "{uid: 0}", "unattributed r kernel empty_team");
    check(rule, "{uid: 0, user: unallocated}", "unattributed r kernel reserved_team");
    check(rule, &format!("{{uid: 0, user: {}}}", "u".repeat(129)), "unattributed r kernel value_too_long");
    check(rule, &format!("{{uid: 0, user: {}}}", "u".repeat(128)), &format!("{} r kernel", "u".repeat(128)));
}

#[test]
fn a_refused_owner_keeps_no_label() {
    let rules = set(
        r#"{labels: [team, project], rules: [{name: r, match: ['uid="0"'], owner: {team: "${user}", project: p}}]}"#,
    );
    let Decision::Verdict(verdict) = rules.decide(&facts("{uid: 0}")) else { panic!("nothing is pending") };
    assert_eq!(verdict.owner.to_string(), r#"team="unattributed""#);
    assert_eq!(verdict.refusal, Some(Refusal::EmptyTeam));
}

#[test]
fn a_tag_counts_only_from_whom_the_rule_trusts() {
    let rule = r#"{name: tag, match: ['uid=~"0|1000"', 'env_TEAM=~".+"'], owner: {team: "${env_TEAM}"}}"#;
    check(rule, "{uid: 1001, env_TEAM: malicious}", "unattributed - no_rule");
    check(rule, "{uid: 0, env_TEAM: trusted}", "trusted tag declared");
}

#[test]
fn a_tag_is_inherited_and_ones_own_comes_first() {
    let rules = r#"
        {name: own, match: ['env_TEAM=~".+"'], owner: {team: "${env_TEAM}"}},
        {name: inherited, match: ['ancestor_env_TEAM=~".+"'], owner: {team: "${ancestor_env_TEAM}"}}"#;
    check(rules, "{ancestors: [{comm: sh}, {env_TEAM: near}, {env_TEAM: far}]}", "near inherited declared");
    check(rules, "{env_TEAM: child, ancestors: [{env_TEAM: parent}]}", "child own declared");
    check(rules, "{comm: x, ancestors: []}", "unattributed - no_rule");
}

#[test]
fn a_long_command_line_is_matched_to_its_end() {
    let rule = r#"{name: r, match: ['cmdline=~".*--project=(?P<p>[a-z]+)"'], owner: {team: "${p}"}}"#;
    check(rule, &format!("{{cmdline: 'python {} --project=alpha'}}", "-v ".repeat(5000)), "alpha r declared");
}

const PENDING: &str = r#"
rules:
  - {name: job, match: ['scheduler="slurm"', 'slurm_account="astro"'], owner: {team: physics}}
  - {name: user, match: ['user="alice"'], owner: {team: alice}}
"#;

#[test]
fn a_verdict_waits_for_what_it_must_read_and_nothing_else() {
    check_pending(PENDING, ("{scheduler: slurm, user: alice}", "slurm_account"), "waits for slurm_account");
    check_pending(PENDING, ("{user: alice}", "slurm_account"), "alice user kernel");
    check_pending(PENDING, ("{scheduler: slurm, slurm_account: astro}", "user"), "physics job scheduler");
    check_pending(PENDING, ("{slurm_account: x, user: alice}", "scheduler"), "alice user kernel");
}

#[test]
fn templates_and_keys_wait_too() {
    let owner = r#"rules: [{name: r, match: ['uid="0"'], owner: {team: "${namespace}"}}]"#;
    check_pending(owner, ("{uid: 0}", "namespace"), "waits for namespace");
    let lookup = "tables: {t: {}}\nrules: [{name: r, lookup: {table: t, key: '${slurm_account}'}}]";
    check_pending(lookup, ("{uid: 0}", "slurm_account"), "waits for slurm_account");
}

#[test]
fn ignored_processes_are_named_by_any_matcher() {
    let rules = set(r#"ignore: ['comm="Xorg"', 'comm=~"dcgm.*"', 'namespace="monitoring"']"#);
    assert!(rules.ignores(&facts("{comm: Xorg}")));
    assert!(rules.ignores(&facts("{comm: dcgm-exporter}")));
    assert!(!rules.ignores(&facts("{comm: python}")));
    let pending = facts_pending("{comm: python}", "namespace");
    assert!(!rules.ignores(&pending));
    assert_eq!(rules.ignore_waits_for(&pending), Some(&Field::Namespace));
    assert_eq!(rules.ignore_waits_for(&facts_pending("{comm: Xorg}", "namespace")), None);
    assert_eq!(rules.ignore_waits_for(&facts("{comm: python}")), None);
}

#[test]
fn settings_are_read() {
    let rules = set(r#"
labels: [team, project]
idle_policy: separate
idle_watts: {"NVIDIA H100.*": 72.5, "NVIDIA.*": 30}
limits: {owners: 7}
"#);
    assert_eq!(rules.labels(), ["team".into(), "project".into()]);
    assert_eq!(rules.idle_policy(), IdlePolicy::Separate);
    assert_eq!(rules.idle_watts("NVIDIA H100 80GB HBM3"), Some(Milliwatts(72_500)));
    assert_eq!(rules.idle_watts("NVIDIA L4"), Some(Milliwatts(30_000)));
    assert_eq!(rules.idle_watts("Quadro"), None);
    assert_eq!(rules.owner_limit(), 7);
}

#[test]
fn variables_are_wanted_by_exact_name_wherever_they_stand() {
    let rules = set(r#"
ignore: ['env_A="1"']
tables: {t: {}}
rules:
  - {name: a, match: ['env_B="1"', 'ancestor_env_C!="2"'], owner: {team: "${env_D}"}}
  - {name: b, lookup: {table: t, key: "${ancestor_env_E}"}}
"#);
    assert_eq!(rules.wanted_env().iter().collect::<Vec<_>>(), ["A", "B", "C", "D", "E"]);
}

#[test]
fn an_explanation_says_why_for_every_rule() {
    let rules = set(r#"
tables: {accounts: {astro: {team: physics}}}
rules:
  - {name: account, match: ['scheduler="slurm"'], lookup: {table: accounts, key: "${slurm_account}"}}
  - {name: namespace, match: ['user="alice"', 'namespace=~".+"'], owner: {team: n}}
  - {name: user, match: ['user="alice"'], owner: {team: alice}}
  - {name: shell, match: ['ancestor_comm="bash"'], owner: {team: shell}}
  - {name: anyone, match: ['uid=~".*"'], owner: {team: rest}}
"#);
    let explanation = rules
        .explain(&facts("{scheduler: slurm, slurm_account: chess, user: alice, ancestors: [{comm: sh}]}"));
    let want = "\
account    no       the table has no key \"chess\"
namespace  no       namespace=~\".+\": no namespace
user       matches
shell      no       ancestor_comm=\"bash\": it is \"sh\"
anyone     matches  but rule \"user\" comes first
verdict: team=\"alice\" by rule \"user\", evidence kernel";
    assert_eq!(explanation.to_string(), want);
}

#[test]
fn a_failing_test_says_what_differs() {
    let rules = set(r#"
rules: [{name: train, match: ['user="a"'], owner: {team: x}}]
tests:
  - {name: wrong, process: {user: a}, facts: {user: b, group: ""}, owner: {team: y}, rule: ""}
  - {name: right, process: {user: b}, facts: {group: ""}, owner: {team: unattributed}, rule: ""}
"#);
    let failures: Vec<String> = rules.check().iter().map(ToString::to_string).collect();
    let want = [
        r#"teams.yaml:4: test "wrong": user: expected "b", got "a""#,
        r#"teams.yaml:4: test "wrong": owner: expected team="y", got team="x" by rule "train""#,
        r#"teams.yaml:4: test "wrong": expected no rule, got rule "train""#,
    ];
    assert_eq!(failures, want);
    assert_eq!(rules.test_count(), 2);
}
