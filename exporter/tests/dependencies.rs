//! What we build on: nothing banned, nothing twice where it matters, from the registry alone, under licences that we may
//! ship, and not much. Whether a crate has a known hole is for `tests/audit`, which needs the network.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Abandoned, or in need of a C compiler's friends.
const BANNED: &[&str] = &[
    "serde_yml",
    "serde_yaml",
    "rustls-pemfile",
    "backoff",
    "instant",
    "openssl-sys",
    "native-tls",
    "aws-lc-sys",
    "cmake",
    "prost-build",
];
/// Two versions of these would be two places to look at for one hole.
const ONCE: &[&str] = &["h2", "hyper", "ring", "rustls", "rustls-webpki", "tokio", "tokio-rustls"];
/// Under which a binary may be given away with notices alone.
const LICENCES: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];
/// Crates in the binary, ours among them. More takes a reason, and a reviewer who reads it.
const MOST_CRATES: usize = 130;
const REGISTRY: &str = "registry+";

/// The packages of `Cargo.lock`: name, version, source.
fn locked() -> Vec<(String, String, Option<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let text = fs::read_to_string(root.join("Cargo.lock")).expect("a lock file");
    let field = |package: &str, name: &str| {
        let begin = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&begin)?.trim_end_matches('"').to_owned()))
    };
    let package = |text: &str| {
        let (name, version) = (field(text, "name"), field(text, "version"));
        (name.expect("a name"), version.expect("a version"), field(text, "source"))
    };
    text.split("[[package]]").skip(1).map(package).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(["--locked", "--offline"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn nothing_banned_is_locked() {
    let found: Vec<_> = locked().into_iter().filter(|(name, ..)| BANNED.contains(&&**name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_guards_us_is_there_once() {
    for name in ONCE {
        let versions: Vec<_> = locked().into_iter().filter(|(own, ..)| own == name).collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
    }
}

#[test]
fn everything_is_ours_or_from_the_registry() {
    let ours: BTreeSet<_> =
        locked().into_iter().filter(|(_, _, source)| source.is_none()).map(|one| one.0).collect();
    let want = ["fake-kube", "fake-nvml", "wattribute", "wattribute-e2e", "wattribute-exporter"];
    assert_eq!(ours, want.map(String::from).into());
    let odd = |source: &Option<String>| source.as_ref().is_some_and(|source| !source.starts_with(REGISTRY));
    let found: Vec<_> = locked().into_iter().filter(|(_, _, source)| odd(source)).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Whether one may choose licences of ours only.
fn is_allowed(licence: &str) -> bool {
    licence.split(" AND ").all(|part| {
        let mut choices = part.trim_matches(['(', ')']).split(" OR ").flat_map(|choice| choice.split('/'));
        choices.any(|choice| LICENCES.contains(&choice.trim()))
    })
}

#[test]
fn every_licence_is_one_that_we_may_ship() {
    let host = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = cargo(&["metadata", "--format-version=1", &host]);
    let metadata: Value = serde_json::from_str(&text).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "{}", packages.len());
    let is_odd = |package: &&Value| !package["license"].as_str().is_some_and(is_allowed);
    let odd: Vec<String> = packages
        .iter()
        .filter(is_odd)
        .map(|package| format!("{}: {}", package["name"], package["license"]))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn a_licence_is_judged_by_its_choices() {
    assert!(is_allowed("MIT OR Apache-2.0") && is_allowed("GPL-3.0/MIT") && is_allowed("(MIT OR X) AND ISC"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed(""));
}

#[test]
fn the_binary_is_made_of_few_crates() {
    let text = cargo(&["tree", "--package=wattribute-exporter", "--edges=normal", "--prefix=none"]);
    let crates: BTreeSet<&str> = text.lines().filter_map(|line| line.split(" (").next()).collect();
    assert!(crates.len() > 20 && crates.len() <= MOST_CRATES, "{}: {crates:#?}", crates.len());
}
