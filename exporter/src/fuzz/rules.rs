//! What administrators write: rules files with their matchers, templates and tables, prices and budgets.

use std::sync::LazyLock;

use wattribute::facts::{Facts, Field};
use wattribute::rules::{Decision, RuleSet, Source};

use super::{Outcome, Target, said, text};
use crate::money::{Budgets, Prices};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "rules", feed: rules, seeds: RULES, rounds: 80 },
    Target { name: "matcher", feed: matcher, seeds: MATCHERS, rounds: 300 },
    Target { name: "template", feed: template, seeds: TEMPLATES, rounds: 150 },
    Target { name: "table", feed: table, seeds: TABLES, rounds: 250 },
    Target { name: "facts", feed: facts, seeds: FACTS, rounds: 1000 },
    Target { name: "prices", feed: prices, seeds: &[PRICES], rounds: 200 },
    Target { name: "budgets", feed: budgets, seeds: &[BUDGETS], rounds: 300 },
];

const RULES: &[&[u8]] = &[
    include_bytes!("../../../rules/attribution/example.yaml"),
    include_bytes!("../../../rules/attribution/kubernetes.yaml"),
    include_bytes!("../../../attribution/tests/rules_errors/matchers.yaml"),
    include_bytes!("../../../attribution/tests/rules_errors/templates.yaml"),
    include_bytes!("../../../attribution/tests/rules_warnings/shadowed.yaml"),
];
const MATCHERS: &[&[u8]] = &[
    br#"namespace=~"(?P<dept>[a-z]+)-(?P<stage>dev|prod)""#,
    br#"cmdline=~".*(vllm|tritonserver).*""#,
    br#"ancestor_env_TEAM!="a\"b\\c\n""#,
    br#"pod_label_app!~"(?i)\p{Greek}{2,9}[^\d]?$""#,
    br#"uid="1000""#,
];
const TEMPLATES: &[&[u8]] = &[b"${dept}-${user}", b"$$5 ${slurm_account}", b"a", b"${env_TEAM}", b"x${"];
const TABLES: &[&[u8]] = &[
    include_bytes!("../../../rules/attribution/accounts.csv"),
    b"key,team\n\"a \"\"b\"\"\",physics\r\nb,\"x\ny\"\n",
];
const FACTS: &[&[u8]] =
    &[b"astro\0GPU-1\0dept-prod\0python3 -m vllm --port 1\0team-7", b"\0\0a-dev\0\0", b"\xff\xfe\0\n"];
const PRICES: &[u8] = include_bytes!("../../../rules/prices.yaml");
const BUDGETS: &[u8] = include_bytes!("../../../rules/budgets.yaml");

/// By which `facts` are judged: each way of using a field.
const JUDGE: &str = r#"
labels: [team, project]
ignore: ['comm=~"(dcgm|Xorg).*"']
tables: {accounts: {astro: {team: physics, project: p}}}
rules:
  - name: table
    match: ['gpu!=""']
    lookup: {table: accounts, key: "${slurm_account}"}
  - name: captures
    match: ['namespace=~"(?P<dept>[a-z]+)-(?P<stage>dev|prod)"', 'user!~"root|"']
    owner: {team: "${dept}", project: "${namespace}"}
  - name: needles
    match: ['cmdline=~".*(vllm|tritonserver).*"']
    owner: {team: inference, project: "${env_TEAM}"}
  - name: ancestors
    match: ['ancestor_cmdline=~"(?P<word>\\w+).*"']
    owner: {team: "${word}", project: ""}
"#;

fn load(text: String, table: &[u8]) -> Result<RuleSet, String> {
    let source = Source { name: "teams.yaml".into(), text };
    let mut read = |_: &str, _: &str| Ok(super::text(table));
    RuleSet::load(&[source], &mut read).map_err(|problems| problems.to_string())
}

/// What was loaded can also be used, and says what it thinks of itself.
fn rules(bytes: &[u8]) -> Outcome {
    let loaded = load(text(bytes), b"key,team\na,b\n");
    if let Ok(rules) = &loaded {
        let _ = rules.check();
        let _ = rules.lint();
        let _ = rules.explain(&some_facts(["a", "b", "c-dev", "python3 -m vllm", "e"]));
    }
    said(loaded)
}

/// As a rule's only matcher, and as a word of the file's `ignore`. JSON is YAML, and quotes anything.
fn matcher(bytes: &[u8]) -> Outcome {
    let quoted = serde_json::Value::from(text(bytes)).to_string();
    let rule = format!("rules: [{{name: a, match: [{quoted}], owner: {{team: a}}}}]\nignore: [{quoted}]\n");
    let loaded = load(rule, b"");
    if let Ok(rules) = &loaded {
        let facts = some_facts(["a", "b", "c-dev", "python3 -m vllm", "e"]);
        let _ = rules.decide(&facts);
        let _ = rules.ignores(&facts);
    }
    said(loaded)
}

fn template(bytes: &[u8]) -> Outcome {
    let quoted = serde_json::Value::from(text(bytes)).to_string();
    let rule = format!(
        "tables: {{t: {{a: {{team: b}}}}}}\nrules:\n- {{name: a, match: ['namespace=~\"(?P<dept>.+)-dev\"'], owner: {{team: {quoted}}}}}\n\
         - {{name: b, match: ['user!=\"\"'], lookup: {{table: t, key: {quoted}}}}}\n"
    );
    let loaded = load(rule, b"");
    if let Ok(rules) = &loaded {
        return decide(rules, &some_facts(["a", "b", "c-dev", "d", "e"]));
    }
    said(loaded)
}

fn table(bytes: &[u8]) -> Outcome {
    let rule = "labels: [team, project]\ntables: {t: {file: t.csv}}\n\
                rules: [{name: a, match: ['user!=\"\"'], lookup: {table: t, key: \"${user}\"}}]\n";
    said(load(rule.into(), bytes))
}

/// The input is values of facts, divided by zero bytes.
fn facts(bytes: &[u8]) -> Outcome {
    let text = text(bytes);
    let mut words = text.split('\0');
    let values = [(); 5].map(|()| words.next().unwrap_or_default());
    // Read once: it takes longer than all that is done with it.
    static RULES: LazyLock<Result<RuleSet, String>> = LazyLock::new(|| load(JUDGE.into(), b""));
    match &*RULES {
        Ok(rules) => decide(rules, &some_facts(values)),
        Err(_) => Outcome::Broken("the rules of this target do not load"),
    }
}

fn decide(rules: &RuleSet, facts: &Facts) -> Outcome {
    let _ = rules.explain(facts);
    let Decision::Verdict(verdict) = rules.decide(facts) else { return Outcome::Read };
    let is_bounded = verdict.owner.labels().all(|(_, value)| value.len() <= 128);
    let reserved = ["unallocated", "shared_idle", "unobserved", "overflow", ""];
    match verdict.owner.labels().next() {
        Some((_, team)) if reserved.contains(&team) => Outcome::Broken("a reserved team was given by a rule"),
        _ if !is_bounded => Outcome::Broken("an owner label is too long"),
        _ => Outcome::Read,
    }
}

fn some_facts([account, gpu, namespace, cmdline, other]: [&str; 5]) -> Facts {
    let mut facts = Facts::default();
    facts.set(Field::SlurmAccount, account);
    facts.set(Field::Gpu, gpu);
    facts.set(Field::Namespace, namespace);
    facts.set(Field::Cmdline, cmdline);
    facts.set(Field::User, other);
    facts.set(Field::Comm, other);
    facts.set(Field::Env("TEAM".into()), other);
    facts.push_ancestor([(Field::AncestorCmdline, other.to_owned())].into());
    facts
}

fn prices(bytes: &[u8]) -> Outcome {
    said(Prices::read("prices.yaml", &text(bytes)))
}

fn budgets(bytes: &[u8]) -> Outcome {
    said(Budgets::read("budgets.yaml", &text(bytes)))
}
