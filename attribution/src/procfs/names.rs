//! The names of users and groups, asked once per number.

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};
use std::collections::BTreeMap;

/// Names of users and groups. Answers are kept, also that there is no name, until [`Names::forget`].
#[derive(Debug)]
pub struct Names {
    users: Directory,
    groups: Directory,
}

/// The name service could not answer. Not kept: the next question asks it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

impl Names {
    /// The names that this system knows, by its name service (files, LDAP, sssd). The first question about a
    /// number may block for as long as the service does.
    #[must_use]
    pub fn system() -> Self {
        let user = |uid| Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name));
        let group = |gid| Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name));
        Self { users: Directory::asking(user), groups: Directory::asking(group) }
    }

    /// The names in the text of a passwd and of a group file, and no others.
    #[must_use]
    pub fn from_text(passwd: &str, group: &str) -> Self {
        Self { users: Directory::of(passwd), groups: Directory::of(group) }
    }

    /// The name of a user, if it has one.
    ///
    /// # Errors
    /// Where the name service failed.
    pub fn user(&mut self, uid: u32) -> Result<Option<String>, NoAnswer> {
        self.users.name(uid)
    }

    /// The name of a group, if it has one.
    ///
    /// # Errors
    /// Where the name service failed.
    pub fn group(&mut self, gid: u32) -> Result<Option<String>, NoAnswer> {
        self.groups.name(gid)
    }

    /// Drops the kept answers, so that users made or renamed since are found.
    pub fn forget(&mut self) {
        self.users.forget();
        self.groups.forget();
    }
}

type Ask = fn(u32) -> Result<Option<String>, Errno>;

#[derive(Debug)]
struct Directory {
    known: BTreeMap<u32, Option<String>>,
    ask: Option<Ask>,
}

impl Directory {
    fn asking(ask: Ask) -> Self {
        Self { known: BTreeMap::new(), ask: Some(ask) }
    }

    /// Of lines `name:password:number:…`. As in the system's own search, the first line of a number counts.
    fn of(text: &str) -> Self {
        let mut known = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.split(':');
            let (name, number) = (parts.next(), parts.nth(1).and_then(|number| number.parse().ok()));
            if let (Some(name), Some(number)) = (name, number) {
                known.entry(number).or_insert_with(|| Some(name.to_owned()));
            }
        }
        Self { known, ask: None }
    }

    fn name(&mut self, number: u32) -> Result<Option<String>, NoAnswer> {
        if let (Some(ask), false) = (self.ask, self.known.contains_key(&number)) {
            self.known.insert(number, ask(number).map_err(|_| NoAnswer)?);
        }
        Ok(self.known.get(&number).cloned().flatten())
    }

    fn forget(&mut self) {
        if self.ask.is_some() {
            self.known.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_of_the_files() {
        let mut names = Names::from_text(
            "root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:\nalso:x:1000:",
            "broken\nwheel:x:10:a,b",
        );
        names.forget();
        assert_eq!((names.user(1000), names.user(7)), (Ok(Some("alice".into())), Ok(None)));
        assert_eq!((names.group(10), names.group(1000)), (Ok(Some("wheel".into())), Ok(None)));
    }

    #[test]
    fn an_answer_is_asked_once_and_a_failure_again() {
        let mut directory = Directory::asking(|number| if number == 0 { Ok(None) } else { Err(Errno::EIO) });
        assert_eq!((directory.name(0), directory.name(1).is_err()), (Ok(None), true));
        assert_eq!(directory.known.len(), 1, "no name is an answer, a failure is not");
        directory.forget();
        assert!(directory.known.is_empty());
    }

    #[test]
    fn the_system_knows_root() {
        assert_eq!(Names::system().user(0), Ok(Some("root".into())));
    }
}
