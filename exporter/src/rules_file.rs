//! Reads rules files and folders from disk, and keeps which are in force while the exporter runs.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wattribute::rules::{RuleSet, Source};

/// How much of a file is read, in bytes. Of rules the library takes less; tables may be long.
const LARGEST: u64 = 64 << 20;

/// Loads the rules at these paths as one set; no path at all is the set without rules.
///
/// # Errors
/// Everything that is wrong, a line each.
pub fn load(paths: &[PathBuf]) -> Result<RuleSet, String> {
    if paths.is_empty() {
        return Ok(RuleSet::default());
    }
    let mut errors = Vec::new();
    let mut sources = Vec::new();
    for path in paths {
        match read(path) {
            Ok(read) => sources.extend(read),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    RuleSet::load(&sources, &mut read_table).map_err(|problems| problems.to_string())
}

/// The file at this path, or the `*.yaml` of the folder in byte order, read.
fn read(path: &Path) -> Result<Vec<Source>, String> {
    let say = |path: &Path, error: &io::Error| format!("{}: {error}: see --rules.file", path.display());
    files(path)?.iter().map(|file| read_source(file).map_err(|error| say(file, &error))).collect()
}

/// The file at this path, or the `*.yaml` of the folder in byte order.
///
/// # Errors
/// Where a folder cannot be read, or has none.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let say = |path: &Path, error: &io::Error| format!("{}: {error}: see --rules.file", path.display());
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| say(path, &error))?;
    let mut files: Vec<PathBuf> =
        entries.iter().map(fs::DirEntry::path).filter(|file| is_rules(file)).collect();
    files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    if files.is_empty() {
        return Err(format!("{}: no *.yaml in this folder: see --rules.file", path.display()));
    }
    Ok(files)
}

fn is_rules(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}

fn read_source(path: &Path) -> io::Result<Source> {
    Ok(Source { name: path.display().to_string(), text: read_text(path)? })
}

/// The text of a file, which may be a device without an end.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {} MiB", LARGEST >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// A table's file is named relative to the rules file that names it.
fn read_table(rules_file: &str, table: &str) -> Result<String, String> {
    let folder = Path::new(rules_file).parent().unwrap_or(Path::new("."));
    read_text(&folder.join(table)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wattribute-rules-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
        folder
    }

    #[test]
    fn a_folder_is_read_in_byte_order_and_tables_beside_it() {
        let rule = |name: &str| {
            format!(
                "rules:\n  - name: {name}\n    match: ['comm=\"x\"']\n    lookup: {{table: {name}, key: \"a\"}}\n"
            )
        };
        let files = [
            ("b.yaml", rule("second") + "tables:\n  second: {file: t.csv}\n"),
            ("B.yaml", rule("first") + "tables:\n  first: {file: t.csv}\n"),
            ("t.csv", "key,team\na,x\n".into()),
            ("notes.txt", "{".into()),
        ];
        let path = folder("order", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let rules = load(std::slice::from_ref(&path)).unwrap();
        let explained = rules.explain(&wattribute::facts::Facts::default()).to_string();
        assert!(explained.find("first") < explained.find("second"), "{explained}");
        fs::remove_dir_all(path).unwrap();
    }

    #[track_caller]
    fn refused(paths: &[&Path], want: &str) {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        let error = load(&paths).unwrap_err();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        refused(&[Path::new("/nonexistent.yaml")], "/nonexistent.yaml: No such file");
        refused(&[Path::new("/dev/zero")], "/dev/zero: larger than 64 MiB");
        let path = folder("empty", &[]);
        refused(&[&path], "no *.yaml in this folder");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn no_path_is_no_rules() {
        assert_eq!(load(&[]).unwrap().labels().len(), 1);
    }
}
