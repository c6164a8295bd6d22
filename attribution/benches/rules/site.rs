//! The rules, tables and command lines of a large site, made up by count and the same each time.

use std::fmt::Write;

use wattribute::rules::{Problems, RuleSet, Source};

/// A rule that asks a table in a file of its own.
pub const LOOKUP: &str = "  - {name: account, match: ['scheduler=\"slurm\"'], \
    lookup: {table: accounts, key: \"${slurm_account}\"}}\ntables:\n  accounts: {file: accounts.csv}\n";

const WORDS: [&str; 12] = [
    "--nproc_per_node=8",
    "--config=/data/configs/base.yaml",
    "--epochs=300",
    "--lr=3e-4",
    "--output-dir=/scratch/runs/2026-11-21",
    "--mixed-precision=bf16",
    "--seed=1337",
    "--batch-size=64",
    "--resume=auto",
    "--num-workers=12",
    "--master-addr=10.0.0.17",
    "--log-level=info",
];

/// Loads rules whose tables in files have this text.
pub fn load(rules: &str, csv: &str) -> Result<RuleSet, Problems> {
    let source = Source { name: "site.yaml".into(), text: rules.into() };
    RuleSet::load(&[source], &mut |_, _| Ok(csv.into()))
}

/// A rules file of so many rules, of the three shapes by turns.
pub fn rules(count: usize) -> String {
    let mut text = String::from("labels: [team, project]\nrules:\n");
    for number in 0..count {
        let literal = literal(number);
        let pattern = match number % 3 {
            0 => format!(".*{literal}.*"),
            1 => format!("python3.*{literal}.*"),
            _ => format!(".*(a|b){literal}.*"),
        };
        let team = number % 100;
        writeln!(
            text,
            "  - name: rule {number}\n    match: ['cmdline=~\"{pattern}\"']\n    owner: {{team: team-{team}, project: p{number}}}"
        )
        .unwrap_or_default();
    }
    text
}

/// What the rule of this number asks for.
fn literal(number: usize) -> String {
    format!("proj-{:04}/train_{}", number * 7919 % 10_000, number % 17)
}

/// A table of so many rows, in a file of its own.
pub fn csv(rows: usize) -> String {
    let row = |number| format!("account-{number},team-{},project-{number}\n", number % 300);
    (0..rows).map(row).fold("key,team,project\n".into(), |text, row| text + &row)
}

/// The same inside the rules file.
pub fn inline(rows: usize) -> String {
    let row = |number| {
        format!("    account-{number}: {{team: team-{}, project: project-{number}}}\n", number % 300)
    };
    (0..rows).map(row).fold("tables:\n  accounts:\n".into(), |text, row| text + &row)
}

/// So many command lines of 80 to 400 bytes; two of three hold what a rule out of `rules` asks for.
pub fn command_lines(count: usize, rules: usize) -> Vec<String> {
    let mut random = Random(42);
    (0..count).map(|number| command_line(number, rules, &mut random)).collect()
}

fn command_line(number: usize, rules: usize, random: &mut Random) -> String {
    let length = 80 + random.below(321);
    let mut line = String::from("python3 -m torch.distributed.run ");
    if number % 3 < 2 {
        write!(line, "/home/b{} ", literal(random.below(rules))).unwrap_or_default();
    }
    while line.len() < length {
        line.push_str(WORDS[random.below(WORDS.len())]);
        line.push(' ');
    }
    line.truncate(length);
    line
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}
