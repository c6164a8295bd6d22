//! Facts out of a /proc made of plain files, and out of the real one with real children.
#![cfg(feature = "procfs")]
#![expect(clippy::expect_used, clippy::disallowed_methods, reason = "a test may fail, and reads files")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command};
use wattribute::facts::{Fact, Field, ProcessKey};
use wattribute::procfs::{Names, Part, ReadError, Reader, Reading};

/// A /proc made of plain files.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("a folder");
        Self(root)
    }

    fn file(&self, pid: u32, file: &str) -> PathBuf {
        self.0.join(pid.to_string()).join(file)
    }

    fn write(&self, pid: u32, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(pid, file), content).expect("a file");
    }

    fn stat(&self, pid: u32, parent: u32, start: u64) {
        let line = format!("{pid} (p{pid} :) x) S {parent} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {start} 0 0\n");
        self.write(pid, "stat", line);
    }

    /// A process of a user, with a command line and an environment.
    fn process(&self, (pid, parent): (u32, u32), start: u64, uid: u32) {
        fs::create_dir_all(self.file(pid, "")).expect("a folder");
        self.stat(pid, parent, start);
        self.write(pid, "status", format!("Name:\tp\nUid:\t{uid}\t0\t0\t0\nGid:\t100\t0\t0\t0\n"));
        self.write(pid, "cmdline", format!("p{pid}\0--flag\0"));
        self.write(pid, "environ", format!("SECRET=s{pid}\0TEAM=t{pid}\0"));
        self.write(pid, "cgroup", "0::/system.slice/train.service\n");
        symlink(format!("/bin/p{pid}"), self.file(pid, "exe")).expect("a link");
    }

    fn reader(&self) -> Reader {
        Reader::with_names(&self.0, Names::from_text("alice:x:1000:100::/:\n", "users:x:100:\n"))
    }

    fn facts(&self, pid: u32) -> Result<Reading, ReadError> {
        let mut reader = self.reader();
        let key = reader.key(pid)?;
        reader.facts(key, &team())
    }
}

fn team() -> BTreeSet<String> {
    ["TEAM".to_owned()].into()
}

#[track_caller]
fn check(reading: &Reading, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(reading.facts.text(&Field::parse(name).expect("a field")), *value, "{name}");
    }
}

#[track_caller]
fn check_ancestors(reading: &Reading, field: &Field, want: &[&str]) {
    assert_eq!(reading.facts.of_ancestors(field).collect::<Vec<_>>(), want);
}

#[test]
fn every_fact_of_a_process_is_read() {
    let root = Root::new("every_fact");
    root.process((7, 1), 50, 1000);
    let reading = root.facts(7).expect("facts");
    check(&reading, &[("uid", "1000"), ("user", "alice"), ("gid", "100"), ("group", "users")]);
    check(&reading, &[("comm", "p7 :) x"), ("exe", "/bin/p7"), ("cmdline", "p7 --flag"), ("env_TEAM", "t7")]);
    check(&reading, &[("cgroup", "0::/system.slice/train.service"), ("systemd_unit", "train.service")]);
    assert_eq!((reading.unread.len(), reading.ending), (0, false));
    assert!(!format!("{reading:?}").contains("s7"), "a variable that nobody wants is kept");
}

#[test]
fn what_is_not_there_is_absent_and_what_cannot_be_read_is_pending() {
    let root = Root::new("absent");
    root.process((7, 1), 50, 1000);
    for file in ["exe", "environ", "cmdline"] {
        fs::remove_file(root.file(7, file)).expect("a file");
    }
    fs::create_dir(root.file(7, "environ")).expect("a folder, which cannot be read");
    let reading = root.facts(7).expect("facts");
    check(&reading, &[("exe", ""), ("cmdline", ""), ("user", "alice")]);
    let [exe, env] = [Field::Exe, Field::Env("TEAM".into())].map(|field| reading.facts.get(&field));
    assert_eq!((exe, env), (Fact::Absent, Fact::Pending));
    assert_eq!(reading.unread, [Part::Environ].into());
}

#[test]
fn what_cannot_be_read_of_an_ancestor_is_pending_for_its_descendants() {
    let root = Root::new("unread_ancestor");
    root.process((7, 6), 50, 1000);
    root.process((6, 1), 40, 1000);
    fs::remove_file(root.file(6, "environ")).expect("a file");
    fs::create_dir(root.file(6, "environ")).expect("a folder, which cannot be read");
    let reading = root.facts(7).expect("facts");
    let fact = |field: Field| reading.facts.get(&field) == Fact::Pending;
    assert!(fact(Field::AncestorEnv("TEAM".into())) && !fact(Field::Env("TEAM".into())));
    assert!(!fact(Field::AncestorComm));
}

#[test]
fn an_unknown_user_has_a_number_and_no_name() {
    let root = Root::new("unknown_user");
    root.process((7, 1), 50, 4242);
    check(&root.facts(7).expect("facts"), &[("uid", "4242"), ("user", "")]);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let root = Root::new("no_text");
    root.process((7, 1), 50, 1000);
    root.write(7, "stat", b"7 (\xff\n) R) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 50 0 0\n");
    root.write(7, "status", b"Name:\t\xff\\n\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\t0\t0\n");
    root.write(7, "cmdline", [b'x'; 100_000]);
    let reading = root.facts(7).expect("facts");
    check(&reading, &[("comm", "\u{fffd}\n) R"), ("user", "alice")]);
    assert_eq!(reading.facts.text(&Field::Cmdline).len(), 32 * 1024);
}

#[test]
fn a_reused_pid_is_another_process() {
    let root = Root::new("reused");
    root.process((7, 1), 50, 1000);
    let old = ProcessKey { pid: 7, start: 49 };
    assert_eq!(root.reader().facts(old, &team()), Err(ReadError::Vanished));
    assert_eq!(root.reader().key(8), Err(ReadError::Vanished));
}

#[test]
fn a_pid_reused_while_it_is_read_gives_no_mixed_facts() {
    let root = Root::new("reused_meanwhile");
    root.process((7, 1), 50, 1000);
    let pipe = root.file(7, "cgroup");
    fs::remove_file(&pipe).expect("a file");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = fs::File::create(&pipe);
            root.stat(7, 1, 51);
            drop(writer);
        });
        assert_eq!(root.facts(7), Err(ReadError::Vanished));
    });
}

#[test]
fn a_stat_cut_short_is_unreadable() {
    let root = Root::new("cut");
    root.process((7, 1), 50, 1000);
    for content in ["", "7", "7 (x)", "7 (x) S 1"] {
        root.write(7, "stat", content);
        assert_eq!(root.reader().key(7), Err(ReadError::Unreadable), "{content:?}");
    }
}

#[test]
fn ancestors_are_the_users_own_nearest_first() {
    let root = Root::new("ancestors");
    root.process((10, 9), 90, 1000);
    root.process((9, 8), 80, 1000);
    root.process((8, 7), 80, 1000);
    root.process((7, 6), 70, 0);
    root.process((6, 1), 60, 1000);
    let reading = root.facts(10).expect("facts");
    check_ancestors(&reading, &Field::AncestorCmdline, &["p9 --flag", "p8 --flag"]);
    check_ancestors(&reading, &Field::AncestorEnv("TEAM".into()), &["t9", "t8"]);
    check_ancestors(&reading, &Field::AncestorExe, &["/bin/p9", "/bin/p8"]);
    check_ancestors(&reading, &Field::AncestorComm, &["p9 :) x", "p8 :) x"]);
    check(&reading, &[("env_TEAM", "t10")]);
}

#[test]
fn an_ancestor_of_several_is_read_once_in_a_round() {
    let root = Root::new("round");
    root.process((9, 1), 40, 1000);
    root.process((7, 9), 50, 1000);
    root.process((8, 9), 50, 1000);
    let (mut reader, wanted) = (root.reader(), team());
    let mut round = reader.round(&wanted);
    let mut cmdline = |pid, want| {
        let reading = round.facts(ProcessKey { pid, start: 50 }).expect("facts");
        check_ancestors(&reading, &Field::AncestorCmdline, &[want]);
    };
    cmdline(7, "p9 --flag");
    root.write(9, "cmdline", "other\0");
    cmdline(8, "p9 --flag");
    check_ancestors(&root.facts(8).expect("facts"), &Field::AncestorCmdline, &["other"]);
    // Under another name it runs another program.
    root.write(9, "stat", "9 (other) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 40 0 0\n");
    root.process((6, 9), 50, 1000);
    cmdline(6, "other");
}

#[test]
fn a_pid_reused_in_a_round_is_another_ancestor() {
    let root = Root::new("round_reused");
    root.process((9, 1), 40, 1000);
    root.process((7, 9), 50, 1000);
    root.process((8, 9), 50, 1000);
    let (mut reader, wanted) = (root.reader(), team());
    let mut round = reader.round(&wanted);
    let mut facts = |pid| round.facts(ProcessKey { pid, start: 50 }).expect("facts");
    check_ancestors(&facts(7), &Field::AncestorEnv("TEAM".into()), &["t9"]);
    fs::remove_dir_all(root.file(9, "")).expect("a folder");
    root.process((9, 1), 45, 1000);
    root.write(9, "environ", "TEAM=another\0");
    check_ancestors(&facts(8), &Field::AncestorEnv("TEAM".into()), &["another"]);
}

#[test]
fn the_walk_ends_before_the_first_process() {
    let root = Root::new("first");
    root.process((5, 1), 50, 0);
    root.process((1, 0), 1, 0);
    check_ancestors(&root.facts(5).expect("facts"), &Field::AncestorComm, &[]);
}

#[test]
fn the_walk_ends_at_a_parent_that_is_younger_or_gone_or_itself() {
    let root = Root::new("younger");
    root.process((10, 9), 90, 1000);
    root.process((9, 1), 91, 1000);
    root.process((20, 19), 90, 1000);
    root.process((30, 30), 90, 1000);
    for pid in [10, 20, 30] {
        check_ancestors(&root.facts(pid).expect("facts"), &Field::AncestorComm, &[]);
    }
}

#[test]
fn the_walk_is_at_most_eight_levels_long_even_in_a_circle() {
    let root = Root::new("eight");
    for pid in 10..30 {
        root.process((pid, pid - 1), 50, 1000);
    }
    root.process((40, 41), 50, 1000);
    root.process((41, 40), 50, 1000);
    for pid in [29, 40] {
        assert_eq!(root.facts(pid).expect("facts").facts.of_ancestors(&Field::AncestorComm).count(), 8);
    }
}

/// A child that is ended when it goes out of scope.
struct Running(Child);

impl Running {
    /// Starts it and waits until its arguments are in place, which is a moment after `spawn` returns.
    fn start(command: &mut Command) -> Self {
        let child = Self(command.spawn().expect("a child"));
        let cmdline = format!("/proc/{}/cmdline", child.0.id());
        while fs::read(&cmdline).expect("a file").is_empty() {
            std::thread::yield_now();
        }
        child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn a_real_child_is_read() {
    let child = Running::start(Command::new("sleep").arg("100").env("TEAM", "nlp").env("SECRET", "hush"));
    let mut reader = Reader::new("/proc");
    let key = reader.key(child.0.id()).expect("a key");
    let reading = reader.facts(key, &team()).expect("facts");
    check(&reading, &[("comm", "sleep"), ("cmdline", "sleep 100"), ("env_TEAM", "nlp")]);
    assert!(reading.facts.text(&Field::Exe).starts_with('/'));
    assert!(!format!("{reading:?}").contains("hush"));
    let me = std::env::current_exe().expect("a path");
    assert_eq!(reading.facts.of_ancestors(&Field::AncestorExe).next(), me.to_str());
    let nothing = reader.facts(key, &BTreeSet::new()).expect("facts");
    assert_eq!(nothing.facts.get(&Field::Env("TEAM".into())), Fact::Absent);
}

#[test]
fn a_zombie_is_ending_and_then_vanished() {
    let mut child = Command::new("true").spawn().expect("a child");
    let mut reader = Reader::new("/proc");
    let key = reader.key(child.id()).expect("a key");
    let ending = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        reader.facts(key, &team()).expect("a zombie has facts").ending
    });
    assert!(ending);
    child.wait().expect("a status");
    assert_eq!(reader.facts(key, &team()), Err(ReadError::Vanished));
}

#[test]
fn a_kernel_thread_has_a_name_and_little_else() {
    let mut reader = Reader::new("/proc");
    let Ok(key) = reader.key(2) else { return };
    let reading = reader.facts(key, &team()).expect("facts");
    if reading.facts.text(&Field::Comm) == "kthreadd" {
        check(&reading, &[("uid", "0"), ("cmdline", ""), ("exe", ""), ("env_TEAM", "")]);
        assert!(!reading.ending);
    }
}
