//! What the documents say of this repository: the files and metrics they name exist. Their commands and rules are tested
//! beside the command line.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Pages that belong to no folder of pages.
const PAGES: &[&str] = &["ARCHITECTURE.md", "CHANGELOG.md", "README.md", "SECURITY.md", "tests/README.md"];
/// Folders of which every page counts.
const PAGE_FOLDERS: &[&str] = &["dashboards", "docs", "examples", "packaging", "tests/pictures"];
/// Where files may be that a page names without saying where.
const FOLDERS: &[&str] =
    &["attribution", "dashboards", "docs", "examples", "exporter", "packaging", "rules", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).expect(page)
}

/// All files and folders below a folder, itself included.
fn walk(folder: PathBuf, found: &mut Vec<PathBuf>) {
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            walk(entry.expect("an entry").path(), found);
        }
    }
    found.push(folder);
}

fn pages() -> Vec<String> {
    let mut found = Vec::new();
    for folder in PAGE_FOLDERS.iter().map(|folder| root().join(folder)).filter(|folder| folder.is_dir()) {
        walk(folder, &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    let found = found.iter().map(|path| path.strip_prefix(root()).expect("below").display().to_string());
    found.chain(PAGES.iter().map(|&page| page.to_owned())).collect()
}

/// The lines of a page outside of blocks of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").step_by(2).flat_map(str::lines).filter(|line| !line.starts_with("    "))
}

/// What stands in backticks.
fn codes(page: &str) -> impl Iterator<Item = &str> {
    prose(page).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Where links lead.
fn links(page: &str) -> impl Iterator<Item = &str> {
    prose(page).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn is_path(code: &str) -> bool {
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte));
    let file = [".rs", ".md", ".toml"].iter().any(|ending| code.ends_with(ending));
    plain
        && code.starts_with(|first: char| first.is_ascii_alphanumeric())
        && (file || code.ends_with('/') || root().join(code.split('/').next().unwrap_or_default()).is_dir())
}

#[test]
fn every_path_that_a_page_names_exists() {
    let mut known = Vec::new();
    FOLDERS.iter().for_each(|folder| walk(root().join(folder), &mut known));
    let exists = |path: &str| root().join(path).exists() || known.iter().any(|one| one.ends_with(path));
    let mut count = 0;
    for page in pages() {
        for path in codes(&read(&page)).filter(|code| is_path(code)) {
            assert!(exists(path), "{page} names `{path}`");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} paths were found: does this test still read the pages?");
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut count = 0;
    for page in pages() {
        let folder = root().join(&page).parent().expect("a folder").to_owned();
        for link in links(&read(&page)).filter(|link| !link.starts_with("http")) {
            let (file, _) = link.split_once('#').unwrap_or((link, ""));
            assert!(folder.join(file).exists(), "{page} links to {link}");
            count += 1;
        }
    }
    assert!(count > 10, "only {count} links were found: does this test still read the pages?");
}

#[test]
fn every_metric_that_a_page_names_is_exported() {
    let metrics = read("docs/metrics.md");
    for page in pages() {
        let page_text = read(&page);
        let words = page_text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        for name in words.filter(|word| word.len() > 11 && word.starts_with("wattribute_")) {
            assert!(metrics.contains(&format!("| `{name}` |")), "{page} names {name}");
        }
    }
}
