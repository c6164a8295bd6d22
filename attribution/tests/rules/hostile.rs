//! Texts made to hurt: refused at once, with a message that says what to do.

use std::time::Duration;

use super::{load, took};

/// What is refused late takes minutes or all memory; a debug build on a busy machine is allowed half a minute.
#[track_caller]
fn check(text: &str, want: &str) {
    let mut problems = String::new();
    let took = took(|| problems = load(text).expect_err("it is refused").to_string());
    assert!(problems.lines().next().is_some_and(|first| first.contains(want)), "{problems:.300}");
    assert!(took < Duration::from_secs(30), "took {took:?}");
}

#[test]
fn brackets() {
    check(&"[".repeat(200 << 10), "teams.yaml:1: nested deeper than 64");
    check(&"{".repeat(200 << 10), "teams.yaml:1: nested deeper than 64");
    check(&format!("rules: {}", "{a: ".repeat(50_000)), "nested deeper than 64");
    check(&"[\n".repeat(100_000), "nested deeper than 64");
}

#[test]
fn block_nesting() {
    check(&"- ".repeat(100_000), "nested deeper than 64");
    check(&"? ".repeat(100_000), "nested deeper than 64");
    let steps: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(&steps, "teams.yaml:65: nested deeper than 64");
}

#[test]
fn billion_laughs() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    check(&text, "anchors and aliases stand for too much");
}

#[test]
fn a_million_aliases() {
    check(
        &format!("x: &x y\nrules: [{}]", "*x,".repeat(1_000_000)),
        "anchors and aliases stand for too much",
    );
    check(
        &format!("x: &x y\nrules:\n{}", "- *x\n".repeat(800_000)),
        "anchors and aliases stand for too much",
    );
    check(&"- &a b\n".repeat(500_000), "anchors and aliases stand for too much");
}

#[test]
fn a_long_text_many_times() {
    let text = format!("x: &x {}\nrules: [{}]", "y".repeat(1 << 20), "*x,".repeat(15_000));
    check(&text, "teams.yaml:2: anchors and aliases stand for too much");
}

#[test]
fn a_ladder_of_aliases_is_as_deep_as_what_it_stands_for() {
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    check(&format!("a: &a {}\nb: {}", deep("x"), deep("*a")), "teams.yaml:2: nested deeper than 64");
}

#[test]
fn a_large_file() {
    check(&"# padding\n".repeat(500_000), "the file has 5000000 bytes, over the limit of 4 MiB");
}

#[test]
fn a_hungry_expression() {
    check("rules: [{name: a, match: ['comm=~\"(\\w{100}){100}\"'], owner: {team: a}}]", "needs more than");
    check(
        "rules: [{name: a, match: ['comm=~\"((((a{99}){99}){99}){99})\"'], owner: {team: a}}]",
        "needs more than",
    );
    let nested = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    check(
        &format!("rules: [{{name: a, match: ['comm=~\"{nested}\"'], owner: {{team: a}}}}]"),
        "regular expression",
    );
}

#[test]
fn a_long_text_is_cut_in_messages() {
    let text = format!("rules: [{{name: a, match: ['{}'], owner: {{team: a}}}}]", "x".repeat(1 << 20));
    check(&text, "…");
    assert!(load(&text).expect_err("it is refused").to_string().len() < 1000);
}

/// Each problem is one line, also of a file with other characters in it.
#[test]
fn control_characters_are_shown_escaped() {
    let text = "rules: [{name: a, match: ['user=\"a\"'], owner: {team: \"${\\x0es\\n\\er}\"}}]";
    check(text, "unknown name ${\\u{e}s\\n\\u{1b}r}");
    check("rules: [{name: a, match: [\"user=\\\"a\\0\"], owner: {team: a}}]", "'user=\"a\\0…'");
}
