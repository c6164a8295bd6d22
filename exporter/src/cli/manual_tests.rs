//! The commands that the documents show are ones that this program takes, and the rules they show hold.

use super::Cli;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use wattribute::rules::{RuleSet, Source};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Every page, by its path from the root.
fn pages() -> Vec<(String, String)> {
    let mut folders = vec![root()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a page");
                pages.push((path.strip_prefix(root()).expect("below").display().to_string(), text));
            }
        }
    }
    pages
}

/// The commands in a page's blocks of code, continued lines joined, without comments, `sudo` and what follows a pipe.
fn commands(page: &str) -> Vec<Vec<String>> {
    let code = page.replace("\\\n", " ");
    let lines = code.lines().scan(false, |fenced, line| {
        *fenced ^= line.trim_start().starts_with("```");
        Some((*fenced || line.starts_with("    ")).then_some(line))
    });
    lines.flatten().filter_map(|line| command(line.trim())).collect()
}

/// The words after the program's name, if the line calls it.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("sudo ").unwrap_or(line).split(" # ").next()?.split("  #").next()?;
    let line = line.split(" | ").next()?.trim_end_matches('&');
    let rest = ["wattribute ", "target/release/wattribute ", "cargo run --release -- "]
        .iter()
        .find_map(|program| line.strip_prefix(program))?;
    Some(words(rest))
}

/// Words as a shell takes them, with single and double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == ' ' => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_in_the_documents_is_one_that_this_program_takes() {
    let mut count = 0;
    for (page, text) in pages() {
        for words in commands(&text) {
            let line = std::iter::once("wattribute").chain(words.iter().map(String::as_str));
            if let Err(error) = Cli::try_parse_from(line) {
                panic!("{page}: wattribute {}: {error}", words.join(" "));
            }
            count += 1;
        }
    }
    assert!(count > 15, "only {count} commands were found: does this test still read the pages?");
}

#[test]
fn every_rules_file_in_the_documents_holds() {
    let mut count = 0;
    for (page, text) in pages().iter().filter(|(page, _)| page == "README.md" || page.starts_with("docs/")) {
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)) {
            if !block.starts_with("labels:") && !block.starts_with("rules:") {
                continue;
            }
            let source = Source { name: page.clone(), text: block.into() };
            let table = &mut |_: &str, _: &str| Ok("key,team,project\nastro,physics,sky\n".to_owned());
            let rules = RuleSet::load(&[source], table).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(rules.check(), [], "{page}");
            count += 1;
        }
    }
    assert!(count > 2, "only {count} rules files were found: does this test still read the pages?");
}

#[test]
fn commands_are_found_in_blocks_alone() {
    let page = "wattribute no\n\n    sudo wattribute check a \\\n        'b c' | head  # yes\n\n```\nwattribute serve &\n```\n";
    assert_eq!(commands(page), [vec!["check", "a", "b c"], vec!["serve"]]);
}
