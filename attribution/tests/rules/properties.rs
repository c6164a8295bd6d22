//! What holds for every text and every process.

use std::time::Duration;

use proptest::prelude::*;
use wattribute::facts::{Facts, Field};
use wattribute::rules::{Decision, Outcome, RuleSet};

use super::{facts, load, took};

/// Pieces of rules files, so that random texts get past the first line.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "rules:",
        "labels:",
        "tests:",
        "tables:",
        "ignore:",
        "idle_watts:",
        "name:",
        "match:",
        "owner:",
        "lookup:",
        "process:",
        "team",
        "key",
        "[",
        "]",
        "{",
        "}",
        "- ",
        ": ",
        ", ",
        "\n",
        "\n  ",
        "\n    ",
        "'",
        "\"",
        "#",
        "&a ",
        "*a",
        "comm=~\"",
        "(?P<x>",
        "${x}",
        "$",
        "\t",
        "\r\n",
        "|",
        ">",
        "!",
        "%",
        "@",
        "---",
        "...",
        "\u{feff}",
        "é",
    ]);
    prop::collection::vec(prop_oneof![9 => piece.prop_map(str::to_owned), 1 => any::<String>()], 0..40)
        .prop_map(|pieces| pieces.concat())
}

const EXAMPLE: &str = include_str!("../../../rules/attribution/example.yaml");

const RULES: &str = r#"
rules:
  - {name: a, match: ['comm=~"(?P<x>[a-c]+).*"', 'user!="d"'], owner: {team: "${x}"}}
  - {name: b, match: ['cmdline=~".*b.*"'], owner: {team: "${user}"}}
  - {name: c, match: ['comm!=""'], owner: {team: "${comm}"}}
"#;

const FIELDS: [&str; 8] =
    ["uid", "user", "group", "namespace", "slurm_account", "comm", "env_T", "ancestor_comm"];

/// Values that rules and facts have in common, so that they meet.
fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "ab", "ba", "0", "7", "a b"])
}

fn pattern() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        ".*", ".+", "", "a|b", "a.*", ".*b", ".*a.*", "[ab]+", "[0-9]", "(ab)?", "ab.*", ".*(a|b)", "(?i)A",
        "a b",
    ])
}

fn matcher() -> impl Strategy<Value = String> {
    let field = prop::sample::select(FIELDS.to_vec());
    prop_oneof![
        (field.clone(), prop::sample::select(vec!["=", "!="]), value())
            .prop_map(|(field, op, value)| format!("{field}{op}\"{value}\"")),
        (field, prop::sample::select(vec!["=~", "!~"]), pattern())
            .prop_map(|(field, op, pattern)| format!("{field}{op}\"{pattern}\"")),
    ]
}

/// A rule's action: a team, a template, or a look-up.
fn action() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "owner: {team: x}",
        "owner: {team: 't-${user}'}",
        "owner: {team: '${env_T}'}",
        "lookup: {table: t, key: '${user}'}",
        "lookup: {table: t, key: '${env_T}'}",
    ])
}

/// A file of random rules, and whether it says whose word counts.
fn rules() -> impl Strategy<Value = String> {
    let rule = (prop::collection::vec(matcher(), 1..4), action());
    let declared = prop::sample::select(vec!["", "declared: {uids: [0]}\n", "declared: {}\n"]);
    (declared, prop::collection::vec(rule, 1..6)).prop_map(|(declared, rules)| {
        let rules = rules.iter().enumerate().map(|(number, (matchers, action))| {
            let matchers: Vec<String> = matchers.iter().map(|matcher| format!("'{matcher}'")).collect();
            format!("  - {{name: r{number}, match: [{}], {action}}}\n", matchers.join(", "))
        });
        format!(
            "{declared}tables: {{t: {{a: {{team: y}}, ab: {{team: z}}}}}}\nrules:\n{}",
            rules.collect::<String>()
        )
    })
}

/// Values of the fields in their order, the last of an ancestor; and which of them are pending.
fn values() -> impl Strategy<Value = (Vec<&'static str>, Vec<bool>)> {
    (
        prop::collection::vec(value(), FIELDS.len()),
        prop::collection::vec(prop::bool::weighted(0.1), FIELDS.len()),
    )
}

/// The facts, set in this order or the other way round.
fn process((values, pending): &(Vec<&str>, Vec<bool>), order: impl Iterator<Item = usize>) -> Facts {
    let mut facts = Facts::default();
    for index in order {
        let field = Field::parse(FIELDS[index]).expect("a field");
        match (field.is_of_ancestors(), pending[index]) {
            (true, _) => facts.push_ancestor([(field, values[index].to_owned())].into()),
            (false, true) => facts.set_pending(field),
            // The kernel gives a number.
            (false, false) if field == Field::Uid => facts.set(field, values[index].len().to_string()),
            (false, false) => facts.set(field, values[index]),
        }
    }
    facts
}

/// The rules of which a warning says that they never match.
fn never(rules: &RuleSet) -> Vec<String> {
    let warnings = rules.lint().into_iter().filter(|warning| {
        ["never matches", "never holds", "cannot both hold", "so no rule can match"]
            .iter()
            .any(|words| warning.message.contains(words))
    });
    let named = warnings.filter_map(|warning| warning.within);
    named.filter_map(|within| Some(within.strip_prefix("rule \"")?.strip_suffix('"')?.to_owned())).collect()
}

#[test]
fn time_is_linear_in_the_value() {
    let rules = load("rules: [{name: a, match: ['cmdline=~\"(a*)*(a|aa)+(.*a){8}b\"'], owner: {team: a}}]")
        .expect("they load");
    let process = |length: usize| facts(&format!("{{cmdline: {}}}", "a".repeat(length)));
    // Time that doubles with every character would not end at thirty.
    let long = process(32 << 10);
    let spent = took(|| assert!(matches!(rules.decide(&long), Decision::Verdict(_))));
    assert!(spent < Duration::from_secs(30), "took {spent:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn an_explanation_agrees_with_the_verdict_and_the_order_of_facts_is_none(text in rules(), values in values()) {
        let rules = load(&text).expect("they load");
        let process = [process(&values, 0..FIELDS.len()), process(&values, (0..FIELDS.len()).rev())];
        let explained = rules.explain(&process[0]);
        prop_assert_eq!(&explained.decision, &rules.decide(&process[0]));
        prop_assert_eq!(rules.decide(&process[0]), rules.decide(&process[1]));
        let first = explained.rules.iter().find(|line| line.outcome != Outcome::Fails);
        match (first.map(|line| (line.outcome, &line.rule)), &explained.decision) {
            (Some((Outcome::Waits, _)), Decision::Pending(_)) => {}
            (Some((Outcome::Matches, rule)), Decision::Verdict(verdict)) => {
                prop_assert_eq!(Some(rule), verdict.rule.as_ref());
            }
            (None, Decision::Verdict(verdict)) => prop_assert_eq!(&verdict.rule, &None),
            (first, decision) => prop_assert!(false, "{first:?} against {decision:?}\n{text}"),
        }
    }

    #[test]
    fn a_rule_of_which_it_is_said_never_wins(text in rules(), many in prop::collection::vec(values(), 20)) {
        let rules = load(&text).expect("they load");
        let never = never(&rules);
        for values in &many {
            let process = process(values, 0..FIELDS.len());
            let Decision::Verdict(verdict) = rules.decide(&process) else { continue };
            let winner = verdict.rule.map(|rule| rule.to_string()).unwrap_or_default();
            prop_assert!(!never.contains(&winner), "{winner} wins\n{text}{values:?}");
        }
    }

    #[test]
    fn whose_word_does_not_count_may_say_what_he_likes(text in rules(), values in values(), lie in values()) {
        let rules = load(&text.replacen("tables:", "declared: {uids: [42]}\ntables:", usize::from(!text.starts_with("declared"))));
        let rules = rules.expect("they load");
        let (mut honest, mut lying) = (values.clone(), lie);
        for index in 0..5 {
            // What the kernel and the scheduler say is the same of both, and no user that is named.
            (lying.0[index], lying.1[index]) = (values.0[index], values.1[index]);
        }
        (honest.0[0], lying.0[0]) = ("7", "7");
        (honest.1[0], lying.1[0]) = (false, false);
        let all = 0..FIELDS.len();
        prop_assert_eq!(rules.decide(&process(&honest, all.clone())), rules.decide(&process(&lying, all)), "{}", text);
    }
}

/// Expressions with literals in them, and values in which they are now and then.
fn scaled_pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ".*",
        ".*",
        "vllm",
        "train",
        "(a|b)train",
        "(?i)vllm",
        "(train|vllm|x)",
        "[a-z]+",
        "(?P<n>[0-9])",
        "(train)?",
        "(?:vl){1,2}lm",
        "é",
        "k",
        r"\bvllm",
    ]);
    prop::collection::vec(piece, 1..5).prop_map(|pieces| {
        let mut names = 0..;
        pieces
            .into_iter()
            .map(|piece| piece.replace("<n>", &format!("<n{}>", names.next().unwrap_or(0))))
            .collect()
    })
}

fn scaled_value() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["vllm", "VLLM", "train", "atrain", "vlvllm", "x", "7", "é", " ", "K", "k"]);
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A file of rules that mostly demand a literal.
fn scaled_rules() -> impl Strategy<Value = String> {
    let fields = prop::sample::select(vec!["comm", "cmdline", "ancestor_cmdline", "namespace"]);
    let matcher = prop_oneof![
        8 => (fields.clone(), prop::sample::select(vec!["=~", "=~", "=~", "!~"]), scaled_pattern())
            // A negative one may not capture.
            .prop_filter("a capture", |(_, op, pattern)| *op == "=~" || !pattern.contains("?P"))
            .prop_map(|(field, op, pattern)| format!("{field}{op}\"{pattern}\"")),
        2 => (fields, prop::sample::select(vec!["=", "!="]), scaled_value())
            .prop_map(|(field, op, value)| format!("{field}{op}\"{value}\"")),
    ];
    let rule = prop::collection::vec(matcher, 1..3)
        // Of two captures one would need another name.
        .prop_filter("captures", |matchers| {
            matchers.iter().filter(|matcher| matcher.contains("?P")).count() < 2
        });
    let declared = prop::sample::select(vec!["", "declared: {uids: [0]}\n"]);
    (declared, prop::collection::vec(rule, 1..40)).prop_map(|(declared, rules)| {
        let rules = rules.iter().enumerate().map(|(number, matchers)| {
            let matchers: Vec<String> = matchers.iter().map(|matcher| format!("'{matcher}'")).collect();
            format!("  - {{name: r{number}, match: [{}], owner: {{team: x}}}}\n", matchers.join(", "))
        });
        format!("{declared}rules:\n{}", rules.collect::<String>())
    })
}

/// A process with these values, some of them pending.
fn scaled_process() -> impl Strategy<Value = Facts> {
    let value = || (scaled_value(), prop::bool::weighted(0.1));
    (prop::array::uniform3(value()), prop::collection::vec(scaled_value(), 0..3), any::<bool>()).prop_map(
        |(values, ancestors, is_root)| {
            let mut facts = Facts::default();
            facts.set(Field::Uid, if is_root { "0" } else { "7" });
            for (field, (value, is_pending)) in
                [Field::Comm, Field::Cmdline, Field::Namespace].into_iter().zip(values)
            {
                match is_pending {
                    true => facts.set_pending(field),
                    false => facts.set(field, value),
                }
            }
            for value in ancestors {
                facts.push_ancestor([(Field::AncestorCmdline, value)].into());
            }
            facts
        },
    )
}

/// What the first rule says that does not fail by itself: an explanation asks all of them.
fn by_asking_all(rules: &RuleSet, facts: &Facts) -> Option<(Outcome, String)> {
    let explained = rules.explain(facts).rules;
    let first = explained.into_iter().find(|line| line.outcome != Outcome::Fails);
    first.map(|line| (line.outcome, line.rule.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_rules_that_are_not_asked_would_all_have_failed(
        text in scaled_rules(),
        processes in prop::collection::vec(scaled_process(), 20),
    ) {
        let rules = load(&text).expect("they load");
        for facts in &processes {
            let want = by_asking_all(&rules, facts);
            let got = match rules.decide(facts) {
                Decision::Pending(_) => want.clone().filter(|(outcome, _)| *outcome == Outcome::Waits),
                Decision::Verdict(verdict) => verdict.rule.map(|rule| (Outcome::Matches, rule.to_string())),
            };
            prop_assert_eq!(got, want, "{}\n{:?}", text, facts);
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in prop_oneof![pieces(), any::<String>()]) {
        if let Err(problems) = load(&text) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().contains('\n') || problems.0.len() > 1, "{}", problems);
        }
    }

    #[test]
    fn no_damage_to_a_good_file_makes_loading_panic(at in 0..EXAMPLE.len(), cut in 0..20_usize, piece in pieces()) {
        let at = (0..=at).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or_default();
        let rest = (at + cut..EXAMPLE.len()).find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(EXAMPLE.len());
        let _ = load(&format!("{}{piece}{}", &EXAMPLE[..at], &EXAMPLE[rest..]));
    }

    #[test]
    fn the_same_facts_get_the_same_verdict(comm in "[a-e]{0,4}", user in "[a-e]{0,4}", cmdline in ".{0,200}") {
        let rules = load(RULES).expect("they load");
        let again = load(RULES).expect("they load");
        let mut process = facts("{host: h}");
        for (field, value) in [("comm", comm), ("user", user), ("cmdline", cmdline)] {
            process.set(Field::parse(field).expect("a field"), value);
        }
        prop_assert_eq!(rules.decide(&process), again.decide(&process.clone()));
        prop_assert_eq!(rules.explain(&process).decision, rules.decide(&process));
    }
}
