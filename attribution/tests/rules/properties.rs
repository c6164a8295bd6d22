//! What holds for every text and every process.

use proptest::prelude::*;

use super::{facts, load};

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
            process.set(wattribute::facts::Field::parse(field).expect("a field"), value);
        }
        prop_assert_eq!(rules.decide(&process), again.decide(&process.clone()));
        prop_assert_eq!(rules.explain(&process).decision, rules.decide(&process));
    }
}
