//! Whose declared facts count, and that nobody profits from the silence of those that do not.

use wattribute::rules::Decision;

use super::{facts, facts_pending, load};

const RULES: &str = r#"
labels: [team, project]
declared:
  uids: [0, 1000-1999]
  gids: [50]
  cgroups: [/system.slice/llm.service]
ignore: ['comm="Xorg"', 'user="gdm"']
tables: {projects: {cars: {team: vision}, job-: {team: trap}}}
rules:
  - {name: not a shell, match: ['user="a"', 'comm!="bash"'], owner: {team: x}}
  - {name: nothing said, match: ['user="b"', 'env_T=""'], owner: {team: x}}
  - {name: whatever it is, match: ['user="c"', 'comm=~".*"'], owner: {team: x}}
  - {name: no such parent, match: ['user="d"', 'ancestor_comm!~"bash|sh"'], owner: {team: x}}
  - {name: label, match: ['user="e"'], owner: {team: kernel, project: "p-${env_P}"}}
  - {name: team, match: ['user="f"'], owner: {team: "t-${env_P}"}}
  - {name: key, match: ['user="g"'], lookup: {table: projects, key: "job-${env_P}"}}
  - {name: rest, match: ['uid=~".+"'], owner: {team: rest}}
"#;

#[track_caller]
fn check(process: &str, want: &str) {
    let rules = load(RULES).unwrap_or_else(|problems| panic!("{problems}"));
    let Decision::Verdict(verdict) = rules.decide(&facts(process)) else { panic!("nothing is pending") };
    assert_eq!(
        format!("{} by {}", verdict.owner, verdict.rule.as_deref().unwrap_or("no rule")),
        want,
        "{process}"
    );
}

#[test]
fn no_matcher_on_a_fact_that_does_not_count_holds_a_negative_one_neither() {
    for (user, rule) in
        [("a", "not a shell"), ("b", "nothing said"), ("c", "whatever it is"), ("d", "no such parent")]
    {
        check(&format!("{{uid: 1000, user: {user}, comm: x}}"), &format!("team=\"x\" by {rule}"));
        check(&format!("{{uid: 2000, user: {user}, comm: x}}"), "team=\"rest\" by rest");
    }
}

#[test]
fn a_template_that_names_one_is_empty() {
    check("{uid: 0, user: e, env_P: y}", "team=\"kernel\", project=\"p-y\" by label");
    check("{uid: 7, user: e, env_P: y}", "team=\"kernel\" by label");
    check("{uid: 0, user: f, env_P: y}", "team=\"t-y\" by team");
    check("{uid: 7, user: f, env_P: y}", "team=\"unattributed\" by team");
    check("{uid: 0, user: g}", "team=\"trap\" by key");
    check("{uid: 7, user: g}", "team=\"rest\" by rest");
}

#[test]
fn nobody_is_ignored_by_his_own_word() {
    let rules = load(RULES).expect("they load");
    assert!(rules.ignores(&facts("{uid: 0, comm: Xorg}")));
    assert!(!rules.ignores(&facts("{uid: 7, comm: Xorg}")));
    assert!(rules.ignores(&facts("{uid: 7, user: gdm}")));
}

#[test]
fn the_control_group_names_a_service_and_its_children_only() {
    let user = |cgroup: &str| format!("{{uid: 7, user: a, comm: x, cgroup: '{cgroup}'}}");
    check(&user("0::/system.slice/llm.service/worker"), "team=\"x\" by not a shell");
    check(
        &user("0::/user.slice/user-7.slice/user@7.service/system.slice/llm.service"),
        "team=\"rest\" by rest",
    );
    check(&user("0::/system.slice/llm.service.d"), "team=\"rest\" by rest");
}

#[test]
fn in_a_container_ids_are_chosen_by_who_starts_it() {
    check("{uid: 0, user: a, comm: x, container_runtime: docker}", "team=\"rest\" by rest");
    check("{uid: 7, gid: 50, user: a, comm: x}", "team=\"x\" by not a shell");
}

#[test]
fn a_fact_that_does_not_count_is_not_waited_for() {
    let rules = load(RULES).expect("they load");
    let process = facts_pending("{uid: 7, user: a}", "comm");
    assert!(matches!(rules.decide(&process), Decision::Verdict(_)));
}

#[test]
fn the_section_stands_in_one_file() {
    let text = "declared: {uids: [0]}\nrules: []";
    let source = |name: &str| wattribute::rules::Source { name: name.into(), text: text.into() };
    let problems = wattribute::rules::RuleSet::load(&[source("a.yaml"), source("b.yaml")], &mut |_, _| {
        Err(String::new())
    });
    let want = "b.yaml:1: declared stands already in a.yaml:1 (keep it in one of the files)";
    assert_eq!(problems.expect_err("it is refused").to_string(), want);
}
