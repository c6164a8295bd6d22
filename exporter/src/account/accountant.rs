//! The accountant: the thread that owns the books, and what it does with each event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use wattribute::facts::{Facts, ProcessKey};
use wattribute::ledger::Payers;
use wattribute::meter::Metered;
use wattribute::owner::Reserved;
use wattribute::rules::RuleSet;
use wattribute::split::Utilizations;
use wattribute::units::Microseconds;

use super::book::{Book, RuleKey, SeriesAmounts};
use super::claims::{Billing, Claims, Court, NO_INDEX, Opened, Site};
use super::complaints::Complaints;
use super::delay::{Delay, Draft};
use super::division;
use super::gpu::{Attendance, Gpu, Listed, Measured, Presence, Who};
use super::holdings::{Holdings, Scene};
use super::place::Ticket;
use super::series::{SeriesId, SeriesLabels};
use super::snapshot::GpuView;
use super::{Calls, Config, Event, Inheritance, Neighbours, Progress};
use crate::clock::{self, Now};
use crate::identify;
use crate::sample::{self, Card, Processes, Running, Sample};

/// How often the accountant looks whether a GPU has fallen silent, or a new snapshot is due.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Who is on a GPU where the driver cannot say who: nobody that could be billed, but not nobody.
const SOMEBODY: Listed =
    Listed { process: ProcessKey { pid: 0, start: 0 }, instance: None, memory: None, age: None };
/// How many events are taken at most between two looks at the clock.
const BATCH: usize = 4096;

/// Keeps the books.
pub struct Accountant {
    pub(super) config: Config,
    pub(super) neighbours: Neighbours,
    pub(super) generation: u64,
    pub(super) gpus: BTreeMap<Arc<str>, Seat>,
    pub(super) claims: Claims,
    pub(super) holdings: Holdings,
    pub(super) calls: Calls,
    pub(super) delay: Delay,
    pub(super) complaints: Complaints,
    /// What an earlier run left of GPUs that have not been seen yet.
    pub(super) left: BTreeMap<Arc<str>, Progress>,
    /// When the next snapshot is due.
    pub(super) due: Microseconds,
}

/// A GPU and what the accountant remembers of it.
pub(super) struct Seat {
    pub gpu: Gpu,
    pub view: GpuView,
    pub heard: Microseconds,
    /// Whether it was sampled since the last snapshot.
    pub has_news: bool,
    pub complete: bool,
    pub mismatches: u32,
}

impl Accountant {
    /// Begins with what an earlier run left: `inherit` is given what takes over the labels of its series.
    pub fn new(
        config: Config,
        neighbours: Neighbours,
        rules: Arc<RuleSet>,
        inherit: impl FnOnce(&mut dyn FnMut(SeriesLabels) -> Option<SeriesId>) -> Inheritance,
    ) -> Self {
        neighbours.identify.want(&rules, 0);
        let (payers, failures, host) = (Payers::default(), BTreeMap::new(), config.host.clone());
        let court = Court { rules, host, payers, failures };
        let mut claims = Claims::new(court, [config.process_series, config.workload_series]);
        let now = config.begins;
        let Inheritance { visible, hidden, gpus: left } =
            inherit(&mut |labels| claims.register.restore(labels, now));
        for (_, account) in visible.ledger.gpus().chain(hidden.ledger.gpus()) {
            account.owners.keys().for_each(|owner| drop(claims.court.payers.admit(owner, usize::MAX)));
        }
        let delay = Delay::resume(micros(config.delay), visible, hidden, now);
        let holdings = Holdings::awaiting(config.schedulers.clone());
        Self {
            config,
            neighbours,
            generation: 0,
            gpus: BTreeMap::new(),
            claims,
            holdings,
            calls: Calls::default(),
            delay,
            complaints: Complaints::default(),
            left,
            due: now,
        }
    }

    /// Takes events until told to stop or nobody is left to send any.
    pub fn run(mut self, events: &Receiver<Event>) {
        self.publish(clock::now());
        loop {
            let wait = Duration::from_micros(self.due.saturating_sub(clock::monotonic()).0);
            match events.recv_timeout(LOOK.min(wait)) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.take(event, clock::now()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // What else has come, before anything is published: else events could pile up behind slow snapshots.
            for event in events.try_iter().take(BATCH) {
                if matches!(event, Event::Stop) {
                    return self.publish(clock::now());
                }
                self.take(event, clock::now());
            }
            let now = clock::now();
            if self.note_silence(now.monotonic) || self.has_heard_all() || now.monotonic >= self.due {
                self.publish(now);
            }
        }
        self.publish(clock::now());
    }

    pub(crate) fn take(&mut self, event: Event, now: Now) {
        match event {
            Event::Source(sample::Event::Called(calls)) => self.calls.count(&calls),
            Event::Source(sample::Event::Opened(card)) => self.open(card, now.monotonic),
            Event::Source(sample::Event::DriverRestarted) => {
                self.gpus.values_mut().for_each(|seat| seat.gpu.restart_counter());
            }
            Event::Source(sample::Event::Arrived { uuid, running }) => self.arrived(&uuid, &running, now),
            Event::Source(sample::Event::Sampled { uuid, sample }) => self.sampled(&uuid, &sample, now),
            Event::Identity(identify::Event::Facts { process, generation, facts }) => {
                if generation == self.generation {
                    self.learn(process, facts);
                }
            }
            Event::Identity(identify::Event::Failed { process, reason }) => {
                *self.claims.court.failures.entry(reason).or_default() += 1;
                self.claims.give_up(process);
                self.complaints.failed(reason);
            }
            Event::Identity(identify::Event::Missing { part, .. }) => {
                *self.claims.court.failures.entry(part).or_default() += 1;
                self.complaints.unread(part, &self.claims.court.rules);
            }
            Event::Identity(identify::Event::Ended { process }) => {
                let cards = cards(&self.gpus);
                let opened = self.claims.end(process, now.monotonic, &cards);
                opened.iter().for_each(|opened| open_accounts(&mut self.delay, opened));
            }
            Event::Allocations(said) => {
                let scene = Scene { cards: &cards(&self.gpus), at: now.monotonic };
                let awaited = self.holdings.awaits_word();
                let opened = self.holdings.hear(said, &mut self.claims, scene);
                opened.iter().for_each(|opened| open_accounts(&mut self.delay, opened));
                if awaited && !self.holdings.awaits_word() {
                    self.delay.allot(|uuid| self.holdings.tickets(uuid));
                }
            }
            Event::Rules(rules) => self.adopt(rules),
            Event::Stop => {}
        }
    }

    fn open(&mut self, card: Card, now: Microseconds) {
        let uuid = Arc::clone(&card.uuid);
        // Indices move when the driver is loaded anew: who had this one has it no more, and says its own when it comes.
        let others = self.gpus.values_mut().filter(|seat| seat.gpu.card.uuid != uuid);
        others
            .filter(|seat| seat.gpu.card.index == card.index)
            .for_each(|seat| seat.gpu.card.index = NO_INDEX);
        if let Some(seat) = self.gpus.get_mut(&uuid) {
            // It was opened again: its meters go on, and the first interval covers the time without it.
            let is_moved = seat.gpu.card.index != card.index;
            seat.gpu.reopen(card.clone());
            seat.view.card = card;
            if is_moved {
                self.arrange(now);
            }
            return;
        }
        let mut gpu = Gpu::new(card.clone());
        if let Some(progress) = self.left.remove(&uuid) {
            gpu.resume(progress.last, progress.idle_power);
        }
        let mut accounts = Book::default();
        accounts.ledger.gpu(&uuid);
        self.delay.open(&accounts);
        let (view, heard) = (GpuView::new(card), Microseconds::ZERO);
        self.gpus.insert(uuid, Seat { gpu, view, heard, has_news: false, complete: false, mismatches: 0 });
        self.arrange(now);
    }

    /// Brings what schedulers have allocated up to the GPUs that are here.
    fn arrange(&mut self, now: Microseconds) {
        let scene = Scene { cards: &cards(&self.gpus), at: now };
        let opened = self.holdings.arrange(&mut self.claims, scene);
        opened.iter().for_each(|opened| open_accounts(&mut self.delay, opened));
    }

    /// The rules were replaced: every verdict is reached anew, with the facts that they want.
    fn adopt(&mut self, rules: Arc<RuleSet>) {
        self.generation += 1;
        self.neighbours.identify.want(&rules, self.generation);
        self.complaints.adopt(&rules);
        self.claims.court.rules = rules;
        self.claims.reopen();
        self.holdings.reopen(self.generation);
    }

    fn learn(&mut self, process: ProcessKey, facts: Arc<Facts>) {
        let opened = self.claims.learn(process, facts, &cards(&self.gpus));
        opened.iter().for_each(|opened| open_accounts(&mut self.delay, opened));
    }

    fn sampled(&mut self, uuid: &Arc<str>, sample: &Sample, now: Now) {
        self.calls.count(&sample.calls);
        let Some(seat) = self.gpus.get_mut(uuid) else { return };
        seat.heard = sample.at;
        seat.has_news = true;
        // The others of this round get a moment to come, and no more: one may be slow.
        self.due = self.due.min(now.monotonic + micros(self.config.interval / 10));
        seat.complete = sample.is_complete();
        let Some(processes) = sample.processes.as_ref().filter(|_| seat.complete) else { return };
        let listed = self.list(uuid, processes, now.boot);
        let Some(seat) = self.gpus.get_mut(uuid) else { return };
        let claims = &self.claims;
        let attendance = Attendance { listed: &listed, ended: &|key| claims.ended(key) };
        let configured = self.claims.court.rules.idle_watts(&seat.gpu.card.model);
        let before: Vec<Who> = seat.gpu.present().collect();
        let is_divided_anew = !division::is_same(seat.gpu.mig(), sample.mig.as_ref());
        let measured = seat.gpu.measure(sample, &attendance, configured);
        if is_divided_anew {
            self.divide(uuid, now.monotonic);
        }
        let is_drafted = matches!(measured, Some(Measured::Interval { .. }));
        match measured {
            Some(Measured::Gap(metered)) => self.book_gap(uuid, now.monotonic, metered),
            Some(measured @ Measured::Interval { .. }) => self.draft(uuid, now.monotonic, measured),
            None => {}
        }
        let stays = |who: &Who| self.gpus.get(uuid).is_some_and(|seat| seat.gpu.is_present(*who));
        let gone: Vec<Who> = before.into_iter().filter(|who| !stays(who)).collect();
        for (process, instance) in gone {
            self.claims.leave(process, &(Arc::clone(uuid), instance), sample.at);
        }
        // An interval has taken the tickets of all who are listed.
        for one in listed.iter().filter(|_| !is_drafted) {
            if self.gpus.get(uuid).is_some_and(|seat| seat.gpu.is_present(one.who())) {
                self.ticket(uuid, one.who());
            }
        }
    }

    /// Processes came between two samples, and may not stay until the next: who they are is found out now.
    fn arrived(&mut self, uuid: &Arc<str>, running: &[Running], now: Now) {
        for running in running {
            let Some(process) = self.key(uuid, running.pid) else { continue };
            let Some(seat) = self.gpus.get_mut(uuid) else { return };
            let age = Some(now.boot.saturating_sub(clock::started(process)));
            let one = Listed { process, instance: running.instance, memory: running.memory, age };
            if !seat.gpu.is_present(one.who()) {
                seat.gpu.arrive(&one, now);
                if seat.gpu.is_present(one.who()) {
                    self.ticket(uuid, one.who());
                }
            }
        }
    }

    /// The processes that the driver lists, with what tells them from others that had their pids.
    fn list(&mut self, uuid: &Arc<str>, processes: &Processes, boot: Microseconds) -> Vec<Listed> {
        let Some(running) = &processes.running else { return vec![SOMEBODY] };
        let mut unknown = 0;
        let mut listed = Vec::with_capacity(running.len());
        for running in running {
            let key = self.key(uuid, running.pid);
            unknown += usize::from(key.is_none());
            let process = key.unwrap_or(ProcessKey { pid: running.pid, start: 0 });
            let age = key.map(|key| boot.saturating_sub(clock::started(key)));
            listed.push(Listed { process, instance: running.instance, memory: running.memory, age });
        }
        if let Some(seat) = self.gpus.get_mut(uuid) {
            let strange = processes.strangers_only || (unknown > 0 && unknown == listed.len());
            seat.mismatches = if strange { seat.mismatches.saturating_add(1) } else { 0 };
        }
        listed
    }

    /// Which process has this pid. One that has ended but that the driver still lists stays itself.
    fn key(&mut self, uuid: &Arc<str>, pid: u32) -> Option<ProcessKey> {
        if let Some(key) = self.claims.living(pid) {
            return Some(key);
        }
        let gpu = &self.gpus.get(uuid)?.gpu;
        let lingering = gpu.present_with(pid);
        let found = (self.neighbours.key_of)(pid);
        if found.is_none() || found == lingering {
            return lingering;
        }
        found.inspect(|key| {
            self.claims.begin(*key);
            self.neighbours.identify.watch(*key);
        })
    }

    /// A GPU is divided by MIG in another way than before: allocations may be of instances that are new, or gone.
    fn divide(&mut self, uuid: &Arc<str>, now: Microseconds) {
        self.holdings.divide(uuid, self.gpus.get(uuid).and_then(|seat| seat.gpu.mig()));
        self.arrange(now);
    }

    fn book_gap(&mut self, uuid: &Arc<str>, at: Microseconds, metered: Metered) {
        let mut book = Book::default();
        book.ledger.note(uuid, &metered);
        book.ledger.book_whole(uuid, metered.energy, Reserved::Unobserved);
        *book.rules.entry(RuleKey::default()).or_default() += metered.energy;
        self.delay.push_whole(at, book);
    }

    fn draft(&mut self, uuid: &Arc<str>, at: Microseconds, measured: Measured) {
        let Measured::Interval { metered, parts, presences, utilization_known, mig } = measured else {
            return;
        };
        let occupants =
            presences.into_iter().map(|one| (one, self.ticket(uuid, (one.process, one.instance))));
        let occupants: Vec<(Presence, Ticket)> = occupants.collect();
        let utilizations = if utilization_known { Utilizations::Known } else { Utilizations::Unavailable };
        let policy = self.claims.court.rules.idle_policy();
        self.delay.push(Draft {
            at,
            uuid: Arc::clone(uuid),
            metered,
            parts,
            policy,
            utilizations,
            occupants,
            allocations: (!self.holdings.awaits_word()).then(|| self.holdings.tickets(uuid)),
            mig,
        });
    }

    /// The ticket of a process on a GPU; its accounts are opened as soon as they are known.
    fn ticket(&mut self, uuid: &Arc<str>, (process, instance): Who) -> Ticket {
        let Some(Seat { gpu, .. }) = self.gpus.get(uuid) else { return Ticket::default() };
        let site = Site { card: &gpu.card, instance, mig_uuid: gpu.mig_uuid(instance) };
        let (ticket, opened) = self.claims.ticket(process, &site);
        if process.start == 0 {
            ticket.get_or_init(|| Billing::unattributed([None; 2]));
        }
        opened.iter().for_each(|opened| open_accounts(&mut self.delay, opened));
        ticket
    }
}

pub(super) fn cards(gpus: &BTreeMap<Arc<str>, Seat>) -> Vec<&Card> {
    gpus.values().map(|seat| &seat.gpu.card).collect()
}

fn open_accounts(delay: &mut Delay, (uuid, billing): &Opened) {
    let mut accounts = Book::default();
    accounts.ledger.gpu(uuid).owners.entry(billing.owner.clone()).or_default();
    accounts.rules.entry(billing.rule.clone()).or_default();
    accounts.series = billing.series.into_iter().flatten().map(|id| (id, SeriesAmounts::default())).collect();
    delay.open(&accounts);
}

pub(super) fn micros(duration: Duration) -> Microseconds {
    Microseconds(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
