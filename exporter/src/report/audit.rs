//! `verify`: whether folders of reports are as they were written, and follow each other.

use std::fs;
use std::path::Path;

use ring::signature::{ED25519, UnparsedPublicKey};

use super::manifest::{CHECKSUM, MANIFEST, Manifest, SIGNATURE, Signature, hashes, read};
use crate::cli::Verify;

/// What is wrong, a line each; and what was looked at, a line each.
pub struct Findings {
    /// What was changed.
    pub wrong: Vec<String>,
    /// What is as it was.
    pub right: Vec<String>,
}

/// Looks at every folder, and at their order.
pub fn audit(typed: &Verify) -> Findings {
    let mut findings = Findings { wrong: vec![], right: vec![] };
    let mut before: Vec<(Manifest, String)> = vec![];
    for folder in &typed.folders {
        let name = folder.display();
        let (manifest, hash) = match read(folder) {
            Ok(read) => read,
            Err(error) => {
                findings.wrong.push(error);
                continue;
            }
        };
        let mut wrong = files(folder, &manifest);
        wrong.extend(checksum(folder, &hash));
        let signed = match signature(folder, typed.public_key.as_deref()) {
            Ok(signed) => signed,
            Err(error) => {
                wrong.push(error);
                ""
            }
        };
        wrong.extend(order(&manifest, &before));
        if wrong.is_empty() {
            let [from, to] = &manifest.period;
            findings.right.push(format!("{name}: {from} to {to}: as it was written{signed}"));
        }
        findings.wrong.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
        before.push((manifest, hash));
    }
    findings
}

/// Files that changed, are missing, or were added.
fn files(folder: &Path, manifest: &Manifest) -> Vec<String> {
    let found = match hashes(folder) {
        Ok(found) => found,
        Err(error) => return vec![error],
    };
    let kept = manifest.files.iter().filter_map(|(name, hash)| match found.get(name) {
        None => Some(format!("{name}: it is missing")),
        Some(now) if now != hash => Some(format!("{name}: it was changed")),
        Some(_) => None,
    });
    let added = found.keys().filter(|name| !manifest.files.contains_key(*name));
    kept.chain(added.map(|name| format!("{name}: it was added"))).collect()
}

fn checksum(folder: &Path, hash: &str) -> Option<String> {
    let written = fs::read_to_string(folder.join(CHECKSUM)).unwrap_or_default();
    let want = format!("{hash}  {MANIFEST}\n");
    (written != want).then(|| format!("{MANIFEST}: it was changed, or {CHECKSUM} was"))
}

/// How it is signed, for people; an error where it is signed by another, or not at all and should be.
fn signature(folder: &Path, wanted: Option<&str>) -> Result<&'static str, String> {
    let path = folder.join(SIGNATURE);
    if !path.exists() {
        return match wanted {
            Some(_) => Err("it is not signed".into()),
            None => Ok(""),
        };
    }
    let text = fs::read(&path).map_err(|error| format!("{SIGNATURE}: {error}"))?;
    let signature: Signature =
        serde_json::from_slice(&text).map_err(|error| format!("{SIGNATURE}: no signature ({error})"))?;
    if wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&signature.public_key)) {
        return Err(format!("{SIGNATURE}: it is signed by another key, {}", signature.public_key));
    }
    let bytes = unhex(&signature.public_key).zip(unhex(&signature.signature));
    let (key, signed) = bytes.ok_or_else(|| format!("{SIGNATURE}: it was changed"))?;
    let manifest = fs::read(folder.join(MANIFEST)).map_err(|error| format!("{MANIFEST}: {error}"))?;
    let holds = signature.algorithm == "ed25519"
        && UnparsedPublicKey::new(&ED25519, key).verify(&manifest, &signed).is_ok();
    match (holds, wanted) {
        (false, _) => Err(format!("{SIGNATURE}: the signature does not hold")),
        (true, Some(_)) => Ok(", signed by the key"),
        (true, None) => Ok(", signed by a key that nobody vouches for: see --public-key"),
    }
}

/// Whether a manifest follows those before it.
fn order(manifest: &Manifest, before: &[(Manifest, String)]) -> Vec<String> {
    let mut wrong = vec![];
    if let Some(amended) = &manifest.amends {
        match before.iter().find(|(_, hash)| hash == amended) {
            Some((other, _)) if other.period != manifest.period => {
                wrong.push("it amends a report of another period".into());
            }
            Some(_) => {}
            None => wrong.push("the report that it amends is not before it, or was changed".into()),
        }
    }
    if let Some((_, hash)) = before.last()
        && manifest.previous.as_ref() != Some(hash)
    {
        wrong.push(
            "the report before it is another than when it was written: one was changed, left out or moved"
                .into(),
        );
    }
    if manifest.amends.is_none() && before.iter().any(|(other, _)| overlap(&other.period, &manifest.period)) {
        wrong.push("its period overlaps one before it".into());
    }
    wrong
}

/// Whether two periods have time in common; RFC 3339 in UTC sorts as time does.
pub fn overlap(one: &[String; 2], other: &[String; 2]) -> bool {
    one[0] < other[1] && other[0] < one[1]
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
