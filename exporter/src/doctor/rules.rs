//! The rules files: whether they load, what the lint says of them, and whether their own tests hold.

use super::finding::{Finding, count};
use crate::rules_file;
use crate::settings::{Serve, Source};

const CHECK: &str = "rules";
/// So many warnings are named; all of them says `check`.
const SHOWN: usize = 3;

pub fn examine(settings: &Serve) -> Vec<Finding> {
    if settings.rules_files.is_empty() {
        return vec![match settings.source {
            Source::Demo => Finding::ok(CHECK, "none are given: the demo has its own"),
            _ => Finding::warning(
                CHECK,
                "none are given: all energy will be unattributed",
                "write a rules file (docs/rules.md) and give it by --rules.file",
            ),
        }];
    }
    let rules = match rules_file::load(&settings.rules_files) {
        Ok(rules) => rules,
        Err(errors) => {
            return vec![Finding::failure(
                CHECK,
                errors,
                "mend the file; wattribute check FILE says the same",
            )];
        }
    };
    let held =
        [count(rules.rule_count(), "rule", "rules"), count(rules.test_count(), "test", "tests")].join(", ");
    let failures: Vec<String> = rules.check().iter().map(ToString::to_string).collect();
    if !failures.is_empty() {
        let found = format!("{held}: {} fail\n{}", failures.len(), failures.join("\n"));
        return vec![Finding::failure(
            CHECK,
            found,
            "mend the rules or their tests, so that wattribute check passes",
        )];
    }
    let warnings = rules.lint();
    if warnings.is_empty() {
        return vec![Finding::ok(CHECK, format!("{held}: all hold"))];
    }
    let shown: Vec<String> = warnings.iter().take(SHOWN).map(ToString::to_string).collect();
    let found =
        format!("{held}: all hold, {}\n{}", count(warnings.len(), "warning", "warnings"), shown.join("\n"));
    vec![Finding::warning(CHECK, found, "see them all: wattribute check FILE; what they mean: docs/rules.md")]
}
