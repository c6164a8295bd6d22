//! The formats of `/proc/<pid>/*`, out of bytes that the process itself had a hand in. Reading them: the
//! parent module.
//!
//! The parsers of the crate `procfs` are not used here: they give up on a status whose name is not UTF-8 (a
//! process could hide its uid so), and panic on a stat cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

/// The longest command line kept, in bytes.
pub(super) const MAX_CMDLINE: usize = 32 * 1024;

/// The longest environment variable the kernel lets a program start with, in bytes; longer ones are absent.
const MAX_VARIABLE: usize = 128 * 1024;

/// The kernel's flag of a task that is about to end and has given up its memory: no command line, no
/// environment.
const PF_EXITING: u64 = 0x4;

/// What is needed of `/proc/<pid>/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name, which may hold spaces, parentheses and line breaks.
    pub(super) comm: String,
    /// Whether the process is ending, or ended and not yet waited for.
    pub(super) ending: bool,
    /// The parent's pid.
    pub(super) parent: u32,
    /// Clock ticks since boot.
    pub(super) start: u64,
}

/// Field numbers as in proc(5), counted from the state, the third.
pub(super) fn stat(bytes: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(bytes);
    let (head, tail) = text.rsplit_once(')')?;
    let (_, comm) = head.split_once(" (")?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let (state, parent, flags, start) = (fields.first()?, fields.get(1)?, fields.get(6)?, fields.get(19)?);
    let ending = matches!(*state, "Z" | "X" | "x") || flags.parse::<u64>().ok()? & PF_EXITING != 0;
    Some(Stat { comm: comm.to_owned(), ending, parent: parent.parse().ok()?, start: start.parse().ok()? })
}

/// The real uid and gid out of `/proc/<pid>/status`.
pub(super) fn ids(status: &[u8]) -> Option<(u32, u32)> {
    let real = |name: &[u8]| {
        let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
    };
    Some((real(b"Uid:")?, real(b"Gid:")?))
}

/// The arguments joined by single spaces, as text, cut to [`MAX_CMDLINE`]. NULs at the end are no arguments:
/// programs that rewrite their title leave many.
pub(super) fn cmdline(bytes: &[u8]) -> String {
    let arguments: Vec<u8> = bytes.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut text = String::from_utf8_lossy(&arguments[..used]).into_owned();
    let limit = MAX_CMDLINE.min(text.len());
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or_default());
    text
}

/// The wanted variables, by exact name; as with getenv, the first of a name counts. No other is kept.
pub(super) fn environ(
    mut from: impl BufRead,
    wanted: &BTreeSet<String>,
) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut variable = Vec::new();
    while found.len() < wanted.len() && from.read_until(0, &mut variable)? > 0 {
        if let Some((name, value)) = wanted_variable(&variable, wanted) {
            found.entry(name.to_owned()).or_insert(value);
        }
        variable.clear();
    }
    Ok(found)
}

fn wanted_variable<'a>(variable: &[u8], wanted: &'a BTreeSet<String>) -> Option<(&'a str, String)> {
    let variable = variable.strip_suffix(b"\0").unwrap_or(variable);
    let equals = variable.iter().position(|byte| *byte == b'=').filter(|_| variable.len() <= MAX_VARIABLE)?;
    let name = wanted.get(std::str::from_utf8(&variable[..equals]).ok()?)?;
    Some((name, String::from_utf8_lossy(&variable[equals + 1..]).into_owned()))
}

/// What `/proc/<pid>/exe` points to. The mark of a file that was replaced since does not belong to the name:
/// an update of a package must not change a verdict.
pub(super) fn exe(target: &str) -> &str {
    target.strip_suffix(" (deleted)").unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_stat(comm: &str, state: char, flags: u32) -> Stat {
        let text = format!("7 ({comm}) {state} 5 7 7 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 1 0 4711 8 9\n");
        stat(text.as_bytes()).expect("a stat")
    }

    #[test]
    fn a_hostile_name_moves_no_field() {
        for comm in ["a b", ")", "x) R 1 (y", "a\nUid:\t0", ""] {
            let want = Stat { comm: comm.into(), ending: false, parent: 5, start: 4711 };
            assert_eq!(check_stat(comm, 'S', 0x40_0040), want);
        }
        assert_eq!(stat(b"7 (\xff) S 5"), None);
    }

    #[test]
    fn zombies_and_exiting_processes_are_ending() {
        assert!(check_stat("a", 'Z', 0).ending);
        assert!(check_stat("a", 'R', 0x40_0044).ending);
        assert!(!check_stat("kworker/0:1", 'I', 0x20_8040).ending);
    }

    #[test]
    fn the_real_ids_count() {
        let status = b"Name:\t\xff\\nUid:\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t100\t5\t5\t5\n";
        assert_eq!(ids(status), Some((1000, 100)));
        assert_eq!(ids(b"Name:\tx\n"), None);
    }

    #[test]
    fn arguments_are_joined_by_single_spaces() {
        assert_eq!(cmdline(b"python\0a b\0\0--x\0"), "python a b  --x");
        assert_eq!(cmdline(b"title\0\0\0\0"), "title");
        assert_eq!(cmdline(b""), "");
        assert_eq!(cmdline(b"a\xff\0"), "a\u{fffd}");
        assert_eq!(cmdline(&[0xff; MAX_CMDLINE]).len(), MAX_CMDLINE / 3 * 3);
    }

    #[track_caller]
    fn check_environ(bytes: &[u8], want: &[(&str, &str)]) {
        let wanted = ["SLURM_JOB_ID", "TEAM"].map(String::from).into();
        let want = want.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        assert_eq!(environ(bytes, &wanted).expect("memory does not fail"), want);
    }

    #[test]
    fn only_wanted_variables_are_kept() {
        let both = [("SLURM_JOB_ID", "42"), ("TEAM", "nlp")];
        check_environ(b"PATH=/usr/bin\0SLURM_JOB_ID=42\0TEAM=nlp\0", &both);
        check_environ(b"TEAM=nlp\0AWS_SECRET_ACCESS_KEY=s\0TEAM_X=y\0TEAM=later\0", &[("TEAM", "nlp")]);
        check_environ(b"TEAM=a=b\xff", &[("TEAM", "a=b\u{fffd}")]);
        check_environ(b"TEAM\0=TEAM\0XTEAM=a\0", &[]);
        check_environ(&[b"TEAM=".as_slice(), &vec![b'x'; MAX_VARIABLE]].concat(), &[]);
    }

    #[test]
    fn a_replaced_program_keeps_its_name() {
        assert_eq!(exe("/usr/bin/python3 (deleted)"), "/usr/bin/python3");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            stat(&bytes);
            ids(&bytes);
            cmdline(&bytes);
            prop_assert!(environ(bytes.as_slice(), &["A".to_owned()].into()).is_ok());
        }
    }
}
