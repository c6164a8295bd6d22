//! Passwords: who may come in, and whether this is them.
//!
//! bcrypt is slow by design, so what was right once is remembered, one password is checked at a time, off the threads that
//! serve, and few may wait. A wrong password takes as long as any other, whether or not there is such a user. Not done here:
//! what is answered ([`super::door`]).

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use bcrypt::HashParts;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

/// bcrypt of this cost takes some seconds, which no scrape waits for.
const MOST_COST: u32 = 16;
/// More than so many are not kept waiting for the one that is checked.
const MOST_WAITING: usize = 16;
/// How many right passwords are remembered: by users, and changes of their passwords.
const MOST_REMEMBERED: usize = 256;

/// The bcrypt hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: String,
    cost: u32,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash {{ cost: {} }}", self.cost)
    }
}

impl Hash {
    /// A hash as `htpasswd -B` writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Option<HashParts> =
            text.parse().ok().filter(|_| text.len() == 60 && text.starts_with("$2"));
        match parts.map(|parts| parts.get_cost()) {
            None => Err("the password is no bcrypt hash".into()),
            Some(cost @ 4..=MOST_COST) => Ok(Self { text: text.into(), cost }),
            Some(cost) => Err(format!("bcrypt of cost {cost} is not checked, but that of 4 to {MOST_COST}")),
        }
    }

    /// That of nobody's password.
    fn nobody(cost: u32) -> Self {
        Self { text: format!("$2b${cost:02}${}", ".".repeat(53)), cost }
    }

    fn is_of(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Hash>);

impl FromIterator<(String, Hash)> for Users {
    fn from_iter<I: IntoIterator<Item = (String, Hash)>>(users: I) -> Self {
        Self(users.into_iter().collect())
    }
}

impl Users {
    /// Whether there are none: then everybody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be computed for this user, be there one or not.
    fn work(&self, user: &str) -> Work {
        let most = self.0.values().map(|hash| hash.cost).max().unwrap_or(MOST_COST);
        match self.0.get(user) {
            // 2^c + 2^c + 2^(c+1) + … + 2^(m-1) = 2^m
            Some(hash) => Work { hash: hash.clone(), is_known: true, padding: (hash.cost..most).collect() },
            None => Work { hash: Hash::nobody(most), is_known: false, padding: Vec::new() },
        }
    }
}

/// What is computed to check a password: for all users of a file the same, unless it is right.
struct Work {
    hash: Hash,
    is_known: bool,
    /// The costs of what is computed in vain.
    padding: Vec<u32>,
}

impl Work {
    fn finds_right(&self, password: &[u8]) -> bool {
        let is_right = self.hash.is_of(password) && self.is_known;
        if !is_right {
            for cost in &self.padding {
                black_box(Hash::nobody(*cost).is_of(password));
            }
        }
        is_right
    }
}

/// What is said of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is that user's.
    Right,
    /// It is not, or there is no such user.
    Wrong,
    /// Too many are being checked.
    Busy,
}

/// Checks passwords, one at a time.
pub struct Checker {
    /// Of this process alone, so that what is remembered tells nobody anything.
    key: hmac::Key,
    right: Mutex<HashSet<Vec<u8>>>,
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Checker {
    /// Nothing is remembered.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            key: key.map_err(|_| "the kernel gives no random numbers")?,
            right: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        })
    }

    /// Whether the password is this user's.
    pub async fn check(&self, users: &Users, user: &str, password: &[u8]) -> Finding {
        let work = users.work(user);
        let tag = self.tag(&work.hash, user, password);
        if self.remembers(&tag) {
            return Finding::Right;
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else { return Finding::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Finding::Busy };
        if self.remembers(&tag) {
            return Finding::Right;
        }
        let password = password.to_vec();
        // The turn ends with the work, also where the client has hung up to guess again.
        let working = tokio::task::spawn_blocking(move || {
            let _busy = (place, turn);
            work.finds_right(&password)
        });
        if !working.await.unwrap_or(false) {
            return Finding::Wrong;
        }
        self.remember(tag);
        Finding::Right
    }

    fn tag(&self, hash: &Hash, user: &str, password: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        // Of fixed length first, and the name by its length, so that no two can be read alike.
        context.update(hash.text.as_bytes());
        context.update(&user.len().to_le_bytes());
        context.update(user.as_bytes());
        context.update(password);
        context.sign().as_ref().to_vec()
    }

    fn remembers(&self, tag: &[u8]) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn remember(&self, tag: Vec<u8>) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST_REMEMBERED {
            right.clear();
        }
        right.insert(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt of "secret", of costs 4 and 6.
    fn users() -> Users {
        let hash = |cost| Hash::parse(&bcrypt::hash("secret", cost).unwrap()).unwrap();
        [("ann".to_owned(), hash(4)), ("ben".to_owned(), hash(6))].into_iter().collect()
    }

    #[test]
    fn hashes_are_bcrypt_of_a_cost_that_can_be_waited_for() {
        for form in ["2a", "2b", "2y"] {
            let hash = bcrypt::hash("secret", 4).unwrap().replace("$2b$", &format!("${form}$"));
            assert!(Hash::parse(&hash).unwrap().is_of(b"secret"), "{form}");
        }
        let of_cost = |cost| Hash::parse(&Hash::nobody(cost).text).map(|hash| hash.cost);
        assert_eq!(of_cost(16), Ok(16));
        assert_eq!(of_cost(17), Err("bcrypt of cost 17 is not checked, but that of 4 to 16".into()));
        for wrong in ["", "secret", "$2b$10$short", "$1$abcdefgh$abcdefghijklmnopqrstuv"] {
            assert_eq!(Hash::parse(wrong), Err("the password is no bcrypt hash".into()), "{wrong:?}");
        }
    }

    #[test]
    fn a_wrong_password_costs_the_same_for_every_user_and_for_nobody() {
        let sum = |user| {
            let work = users().work(user);
            (1_u64 << work.hash.cost) + work.padding.iter().map(|cost| 1_u64 << cost).sum::<u64>()
        };
        assert_eq!(["ann", "ben", "nobody", ""].map(sum), [64; 4]);
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_user_is_right_and_only_that_is_remembered() {
        let (checker, users) = (Checker::new().unwrap(), users());
        for (user, password, want) in [
            ("ann", "secret", Finding::Right),
            ("ann", "secret", Finding::Right),
            ("ann", "Secret", Finding::Wrong),
            ("ben", "secret", Finding::Right),
            ("ann", "", Finding::Wrong),
            ("nobody", "secret", Finding::Wrong),
            ("", "", Finding::Wrong),
        ] {
            assert_eq!(checker.check(&users, user, password.as_bytes()).await, want, "{user} {password}");
        }
        assert_eq!(checker.right.lock().unwrap().len(), 2);
        // A password that was changed is no longer right, be it remembered or not.
        let other = Hash::parse(&bcrypt::hash("other", 4).unwrap()).unwrap();
        let changed: Users = [("ann".to_owned(), other)].into_iter().collect();
        assert_eq!(checker.check(&changed, "ann", b"secret").await, Finding::Wrong);
        assert_eq!(checker.check(&changed, "ben", b"secret").await, Finding::Wrong);
    }

    #[tokio::test]
    async fn few_wait_and_what_is_remembered_waits_for_nobody() {
        let (checker, users) = (Checker::new().unwrap(), users());
        assert_eq!(checker.check(&users, "ann", b"secret").await, Finding::Right);
        let all = u32::try_from(MOST_WAITING).unwrap();
        let _queue = checker.waiting.try_acquire_many(all).unwrap();
        assert_eq!(checker.check(&users, "ann", b"guess").await, Finding::Busy);
        assert_eq!(checker.check(&users, "ann", b"secret").await, Finding::Right);
    }

    #[tokio::test]
    async fn who_hangs_up_has_not_made_room_for_another_guess() {
        let (checker, users) = (Checker::new().unwrap(), users());
        {
            let guess = std::pin::pin!(checker.check(&users, "ann", b"guess"));
            drop(tokio::time::timeout(std::time::Duration::ZERO, guess).await);
        }
        // It is over when the work is: then, and not before, the turn is free.
        drop(checker.turn.acquire().await.unwrap());
        assert_eq!(checker.waiting.available_permits(), MOST_WAITING);
    }
}
