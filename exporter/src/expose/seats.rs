//! The connections that are open, of which there are only so many: when all places are taken, the one that has asked for
//! nothing for longest must leave for the newcomer. So whoever holds connections open shuts nobody out.
//!
//! Called by [`super::http`], which accepts, and by [`super::connection`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long to wait for one to leave before another is asked to.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much clients may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are open at once.
    pub connections: usize,
    /// How long a connection may be open since its last request began, unless that is still being answered. Within it
    /// an answer must have been read, too. Longer than the usual scrape interval.
    pub idle: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, idle: Duration::from_secs(75), handshake: Duration::from_secs(10) }
    }
}

/// All places.
pub struct Seats {
    limits: Limits,
    free: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    next: u64,
    all: BTreeMap<u64, Arc<Guest>>,
}

struct Guest {
    state: Mutex<State>,
    leave: Notify,
}

struct State {
    /// When its last request began; before that, when it came.
    since: Instant,
    /// How many of its requests are being answered.
    answering: usize,
}

impl Guest {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// All are free.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limits.connections));
        Arc::new(Self { limits, free, guests: Mutex::default() })
    }

    /// Takes a place as soon as there is one, and makes somebody leave if there is none.
    pub async fn take(self: &Arc<Self>) -> Seat {
        loop {
            if self.free.available_permits() == 0 {
                self.dismiss();
            }
            let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await;
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = permit {
                return self.seat(permit);
            }
        }
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Seat {
        let state = Mutex::new(State { since: Instant::now(), answering: 0 });
        let guest = Arc::new(Guest { state, leave: Notify::new() });
        let mut guests = self.guests();
        let number = guests.next;
        guests.next += 1;
        guests.all.insert(number, Arc::clone(&guest));
        Seat { number, guest, seats: Arc::clone(self), _permit: permit }
    }

    /// Tells the one that has asked for nothing for longest to leave. One that is being answered stays.
    fn dismiss(&self) {
        let guests = self.guests();
        let waiting = guests.all.values().filter_map(|guest| {
            let state = guest.state();
            (state.answering == 0).then_some((state.since, guest))
        });
        if let Some((_, guest)) = waiting.min_by_key(|(since, _)| *since) {
            guest.leave.notify_one();
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, which is free again when this is dropped.
pub struct Seat {
    number: u64,
    guest: Arc<Guest>,
    seats: Arc<Seats>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// What clients may hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.seats.limits
    }

    /// Counts the requests that are being answered here.
    #[must_use]
    pub fn desk(&self) -> Desk {
        Desk(Arc::clone(&self.guest))
    }

    /// Waits until the place must be left: for another, or because nothing has been asked for too long.
    pub async fn must_be_left(&self) {
        let idle = self.seats.limits.idle;
        loop {
            let since = self.guest.state().since;
            let timeout = tokio::time::sleep_until(since + idle);
            tokio::select! {
                () = self.guest.leave.notified() => return,
                () = timeout => {}
            }
            let mut state = self.guest.state();
            if state.answering > 0 {
                state.since = Instant::now();
            } else if state.since == since {
                return;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.guests().all.remove(&self.number);
    }
}

/// Counts the requests of one connection that are being answered.
#[derive(Clone)]
pub struct Desk(Arc<Guest>);

impl Desk {
    /// One is, until what is returned is dropped.
    #[must_use]
    pub fn begin(&self) -> Answering {
        let mut state = self.0.state();
        state.since = Instant::now();
        state.answering += 1;
        drop(state);
        Answering(Arc::clone(&self.0))
    }
}

/// A request that is being answered.
pub struct Answering(Arc<Guest>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.state().answering -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(connections: usize) -> Arc<Seats> {
        Seats::new(Limits { connections, idle: Duration::from_secs(75), ..Limits::default() })
    }

    async fn leaves(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::from_millis(1), seat.must_be_left()).await.is_ok()
    }

    #[tokio::test]
    async fn who_has_asked_for_nothing_for_longest_makes_room() {
        let seats = seats(3);
        let (first, second, third) = (seats.take().await, seats.take().await, seats.take().await);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let busy = second.desk().begin();
        drop(first.desk().begin());
        let seats = &seats;
        let newcomer = async { seats.take().await };
        let others = async {
            third.must_be_left().await;
            assert!(!leaves(&first).await && !leaves(&second).await);
            drop(third);
        };
        let (newcomer, ()) = tokio::join!(newcomer, others);
        drop((busy, newcomer));
    }

    #[tokio::test]
    async fn nobody_leaves_while_being_answered() {
        let seats = seats(1);
        let only = seats.take().await;
        let busy = only.desk().begin();
        assert!(tokio::time::timeout(PATIENCE * 3, seats.take()).await.is_err());
        assert!(!leaves(&only).await);
        drop(busy);
        let (_, ()) = tokio::join!(seats.take(), async {
            only.must_be_left().await;
            drop(only);
        });
    }
}
