//! The two waits of an interval: for the verdicts of its processes, and until it may be seen.
//!
//! An interval is divided when all its verdicts are there, at the latest when it is due to be seen; what has no
//! verdict then is unattributed. From then on it is in the live book, and when it is due in the visible one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use wattribute::idle::Parts;
use wattribute::meter::Metered;
use wattribute::owner::Reserved;
use wattribute::split::{
    Allocation, Amounts, Basis, IdlePolicy, Interval, Occupant, Partition, Split, Utilizations,
};
use wattribute::units::{Microseconds, Millijoules};

use super::book::{Book, RuleKey, SeriesAmounts};
use super::claims::Billing;
use super::division;
use super::gpu::Presence;
use super::holdings::Part;
use super::place::Ticket;
use super::series::SeriesId;
use crate::sample::Mig;

/// A measured interval, with the tickets of those who were there.
#[derive(Debug)]
pub struct Draft {
    /// When it ended, on the monotonic clock.
    pub at: Microseconds,
    pub uuid: Arc<str>,
    pub metered: Metered,
    pub parts: Parts,
    pub policy: IdlePolicy,
    pub utilizations: Utilizations,
    pub occupants: Vec<(Presence, Ticket)>,
    /// What each allocation holds, and its ticket; `None` while a scheduler has yet to say for the first time what it
    /// has allocated.
    pub allocations: Option<Vec<(Part, Ticket)>>,
    /// How MIG divided the GPU.
    pub mig: Option<Mig>,
}

/// A divided interval.
#[derive(Debug)]
pub struct Settled {
    /// When it ended, on the monotonic clock.
    pub at: Microseconds,
    pub uuid: Arc<str>,
    pub elapsed: Microseconds,
    pub basis: Basis,
    /// How many processes and allocations had no verdict in time.
    pub expired: u64,
    pub book: Rc<Book>,
}

impl Draft {
    fn is_ready(&self) -> bool {
        self.allocations.is_some() && self.tickets().all(|ticket| ticket.get().is_some())
    }

    fn allocations(&self) -> &[(Part, Ticket)] {
        self.allocations.as_deref().unwrap_or_default()
    }

    fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        let processes = self.occupants.iter().map(|(_, ticket)| ticket);
        processes.chain(self.allocations().iter().map(|(_, ticket)| ticket))
    }

    /// Divides the interval with the verdicts that are there; who has none is unattributed.
    fn settle(&self) -> Settled {
        let nobody = Billing::unattributed([None; 2]);
        let billings: Vec<&Billing> = self.tickets().map(|ticket| ticket.get().unwrap_or(&nobody)).collect();
        let (processes, holders) = billings.split_at(self.occupants.len());
        let presences = self.occupants.iter().map(|(presence, _)| presence);
        let occupants: Vec<Occupant<'_>> = presences.zip(processes).map(occupant).collect();
        let parts = self.allocations().iter().map(|(part, _)| *part);
        let allocations: Vec<Allocation<'_>> = parts.zip(holders).map(allocation).collect();
        let instances = self.mig.as_ref().map(division::instances).unwrap_or_default();
        let divided = |mig: &Mig| Partition { slices: mig.slices, instances: &instances };
        let partition = self.mig.as_ref().map(divided);
        let interval = Interval {
            elapsed: self.metered.elapsed,
            active: self.parts.active,
            idle: self.parts.idle,
            policy: self.policy,
            utilizations: self.utilizations,
            occupants: &occupants,
            allocations: &allocations,
            partition,
        };
        let split = interval.split();
        let mut book = Book::default();
        book.ledger.note(&self.uuid, &self.metered);
        if let Err(imbalance) = book.ledger.book(&self.uuid, &interval, &split) {
            tracing::error!(%imbalance, "an interval could not be divided: please report this");
            book.ledger.book_whole(&self.uuid, self.metered.energy, Reserved::Unattributed);
        }
        for (billing, amounts) in billings.iter().zip(split.occupants.iter().chain(&split.allocations)) {
            book_payer(&mut book, billing, *amounts);
        }
        *book.rules.entry(RuleKey::default()).or_default() += reserved_energy(&split);
        let expired = self.tickets().filter(|ticket| ticket.get().is_none()).count() as u64;
        Settled {
            at: self.at,
            uuid: Arc::clone(&self.uuid),
            elapsed: self.metered.elapsed,
            basis: split.basis,
            expired,
            book: Rc::new(book),
        }
    }
}

fn occupant<'a>((presence, billing): (&Presence, &&'a Billing)) -> Occupant<'a> {
    let Presence { process, instance, memory, busy, seen } = *presence;
    Occupant { process, instance, owner: &billing.owner, role: billing.role, memory, busy, seen }
}

fn allocation<'a>((part, billing): (Part, &&'a Billing)) -> Allocation<'a> {
    Allocation { owner: &billing.owner, instance: part.instance, weight: part.replicas }
}

fn book_payer(book: &mut Book, billing: &Billing, amounts: Amounts) {
    *book.rules.entry(billing.rule.clone()).or_default() += amounts.active + amounts.idle;
    for id in billing.series.into_iter().flatten() {
        *book.series.entry(id).or_default() += SeriesAmounts::from(amounts);
    }
}

fn reserved_energy(split: &Split) -> Millijoules {
    split.reserved.values().map(|amounts| amounts.active + amounts.idle).sum()
}

/// A draft that waits, and what it came to when it began to: final, if all its verdicts were there by then.
#[derive(Debug)]
struct Waiting {
    draft: Draft,
    provisional: Settled,
}

/// Holds intervals until they may be seen.
#[derive(Debug, Default)]
pub struct Delay {
    delay: Microseconds,
    waiting: Vec<Waiting>,
    /// The sum of what those that wait would come to.
    provisional: Book,
    /// Divided and not yet visible, by when they are due; the number tells GPUs apart.
    maturing: BTreeMap<(Microseconds, u64), Rc<Book>>,
    number: u64,
    /// Divided, and still to be booked.
    settled: Vec<Settled>,
    live: Book,
    visible: Book,
}

impl Delay {
    /// Begins with what an earlier run had made visible, and what it had not, which is due `delay` after `now`.
    pub fn resume(delay: Microseconds, visible: Book, remainder: Book, now: Microseconds) -> Self {
        let mut this = Self { delay, live: visible.clone(), visible, ..Self::default() };
        this.book(now + delay, Rc::new(remainder));
        this
    }

    /// A measured interval: divided now if its verdicts are there, else when they are.
    pub fn push(&mut self, draft: Draft) {
        let settled = draft.settle();
        if draft.is_ready() {
            self.settled.push(settled);
        } else {
            self.wait(draft, settled);
        }
    }

    /// The accounts that it would need without its verdicts are opened now: when it can wait no longer, they must have
    /// been seen at zero.
    fn wait(&mut self, draft: Draft, provisional: Settled) {
        self.open(&provisional.book);
        self.provisional.add(&provisional.book);
        self.waiting.push(Waiting { draft, provisional });
    }

    /// All schedulers have spoken: who holds what is known from here on, and taken to have been so in what waits.
    pub fn allot(&mut self, tickets: impl Fn(&Arc<str>) -> Vec<(Part, Ticket)>) {
        for Waiting { mut draft, provisional } in std::mem::take(&mut self.waiting) {
            if draft.allocations.is_some() {
                self.waiting.push(Waiting { draft, provisional });
            } else {
                self.provisional.subtract(&provisional.book);
                draft.allocations = Some(tickets(&draft.uuid));
                let provisional = draft.settle();
                self.wait(draft, provisional);
            }
        }
    }

    /// Something that ended at `at` and needs no division.
    pub fn push_whole(&mut self, at: Microseconds, book: Book) {
        self.book(at + self.delay, Rc::new(book));
    }

    fn book(&mut self, due: Microseconds, book: Rc<Book>) {
        self.live.add(&book);
        self.visible.open(&book);
        self.number += 1;
        self.maturing.insert((due, self.number), book);
    }

    /// When an interval is due to be seen. One whose verdict came late may need series that nobody has seen yet: they
    /// are shown at zero for half the delay first.
    fn due(&self, at: Microseconds, now: Microseconds) -> Microseconds {
        let half = Microseconds(self.delay.0 / 2);
        let is_late = at + half < now;
        let usual = at + self.delay;
        if is_late { usual.max(now + half) } else { usual }
    }

    /// Accounts that will be needed: they are visible at zero from now on.
    pub fn open(&mut self, accounts: &Book) {
        self.live.open(accounts);
        self.visible.open(accounts);
    }

    /// Divides what can wait no longer, books what is divided, and makes visible what is due. Gives what was divided.
    pub fn advance(&mut self, now: Microseconds) -> Vec<Settled> {
        let horizon = now.saturating_sub(self.delay);
        let is_due = |waiting: &Waiting| waiting.draft.is_ready() || waiting.draft.at <= horizon;
        let (due, waiting): (Vec<Waiting>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = waiting;
        for Waiting { draft, provisional } in due {
            self.provisional.subtract(&provisional.book);
            self.settled.push(if provisional.expired == 0 { provisional } else { draft.settle() });
        }
        let settled = std::mem::take(&mut self.settled);
        for one in &settled {
            self.book(self.due(one.at, now), Rc::clone(&one.book));
        }
        while let Some(entry) = self.maturing.first_entry().filter(|entry| entry.key().0 <= now) {
            self.visible.add(&entry.remove());
        }
        settled
    }

    /// What may be seen.
    pub fn visible(&self) -> &Book {
        &self.visible
    }

    /// How many intervals wait for a verdict.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many intervals wait and mature, and how many accounts and series the books have.
    #[cfg(test)]
    pub fn held(&self) -> [usize; 3] {
        let books = [&self.live, &self.visible, &self.provisional];
        let size = |book: &Book| {
            let owners: usize = book.ledger.gpus().map(|(_, account)| account.owners.len()).sum();
            owners + book.series.len() + book.rules.len()
        };
        [self.waiting.len(), self.maturing.len(), books.into_iter().map(size).sum()]
    }

    /// Everything divided so far.
    #[cfg(test)]
    pub fn live(&self) -> &Book {
        &self.live
    }

    /// What is not yet visible; of intervals that still wait for a verdict, what they would come to without it.
    pub fn remainder(&self) -> Book {
        let mut remainder = self.live.clone();
        remainder.subtract(&self.visible);
        remainder.add(&self.provisional);
        remainder
    }

    /// Removes series that have gone.
    pub fn forget(&mut self, gone: &BTreeSet<SeriesId>) {
        if gone.is_empty() {
            return;
        }
        for book in [&mut self.live, &mut self.visible, &mut self.provisional] {
            book.series.retain(|id, _| !gone.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattribute::facts::ProcessKey;
    use wattribute::meter::EnergySource;
    use wattribute::owner::Owner;
    use wattribute::split::Role;

    const DELAY: u64 = 60;

    fn seconds(seconds: u64) -> Microseconds {
        Microseconds(seconds * 1_000_000)
    }

    fn draft(second: u64, ticket: &Ticket) -> Draft {
        let elapsed = Microseconds::SECOND;
        let (energy, source) = (Millijoules(1000), EnergySource::Counter);
        let process = ProcessKey { pid: 1, start: 1 };
        let presence =
            Presence { process, instance: None, memory: Some(1), busy: Microseconds(5), seen: elapsed };
        Draft {
            at: seconds(second),
            uuid: "GPU-0".into(),
            metered: Metered { elapsed, energy, source, reset: false, disbelieved: Millijoules::ZERO },
            parts: Parts { idle: Millijoules::ZERO, active: energy },
            policy: IdlePolicy::Holders,
            utilizations: Utilizations::Known,
            occupants: vec![(presence, Ticket::clone(ticket))],
            allocations: Some(Vec::new()),
            mig: None,
        }
    }

    fn delay() -> Delay {
        Delay::resume(seconds(DELAY), Book::default(), Book::default(), Microseconds::ZERO)
    }

    fn ticket(team: &str) -> Ticket {
        let (owner, rule) = (Owner::new([("team", team)]), RuleKey::default());
        Ticket::new(Billing { owner, rule, role: Role::Holder, series: [None; 2] }.into())
    }

    /// The active energy of each team in a book.
    #[track_caller]
    fn check(book: &Book, want: &[(&str, u64)]) {
        let owners = book.ledger.gpus().flat_map(|(_, account)| &account.owners);
        let got: Vec<(&str, u64)> = owners.map(|(owner, amounts)| (owner.team(), amounts.active.0)).collect();
        let got: Vec<(&str, u64)> = got.into_iter().filter(|(team, _)| *team != "unallocated").collect();
        assert_eq!(got, want);
        assert!(book.ledger.gpus().all(|(_, account)| account.residual() == 0));
    }

    #[test]
    fn an_interval_is_live_at_once_and_visible_at_zero_until_it_is_due() {
        let mut delay = delay();
        delay.push(draft(1, &ticket("a")));
        delay.advance(seconds(1));
        check(delay.live(), &[("a", 1000)]);
        check(delay.visible(), &[("a", 0)]);
        delay.advance(seconds(60));
        check(delay.visible(), &[("a", 0)]);
        delay.advance(seconds(61));
        check(delay.visible(), &[("a", 1000)]);
    }

    #[test]
    fn a_verdict_that_comes_late_bills_the_time_it_was_waited_for() {
        let (mut delay, late) = (delay(), Ticket::default());
        delay.push(draft(1, &late));
        assert!(delay.advance(seconds(60)).is_empty());
        check(delay.visible(), &[("unattributed", 0)]);
        check(&delay.remainder(), &[("unattributed", 1000)]);
        late.set(ticket("a").get().unwrap().clone()).unwrap();
        delay.advance(seconds(60));
        check(&delay.remainder(), &[("a", 1000), ("unattributed", 0)]);
    }

    #[test]
    fn a_verdict_that_never_comes_is_nobodys() {
        let (mut delay, never) = (delay(), Ticket::default());
        delay.push(draft(1, &never));
        assert_eq!(delay.advance(seconds(61)).iter().map(|one| one.expired).sum::<u64>(), 1);
        check(delay.visible(), &[("unattributed", 0)]);
        delay.advance(seconds(91));
        check(delay.visible(), &[("unattributed", 1000)]);
    }

    #[test]
    fn a_restart_shows_what_was_visible_and_the_rest_when_it_is_due() {
        let mut before = delay();
        before.push(draft(1, &ticket("a")));
        before.advance(seconds(1));
        before.advance(seconds(61));
        before.push(draft(62, &ticket("a")));
        before.advance(seconds(62));
        let mut after =
            Delay::resume(seconds(DELAY), before.visible().clone(), before.remainder(), seconds(100));
        check(after.visible(), &[("a", 1000)]);
        after.advance(seconds(159));
        check(after.visible(), &[("a", 1000)]);
        after.advance(seconds(160));
        check(after.visible(), &[("a", 2000)]);
    }
}
