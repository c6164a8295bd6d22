//! What the accountant does once per round of samples: sees who has fallen silent, divides what is ready, clears what
//! has gone, and makes the snapshot.

use std::sync::Arc;

use wattribute::rules::Refusal;
use wattribute::units::Microseconds;

use super::Progress;
use super::accountant::{Accountant, LOOK, Seat, micros};
use super::gpu::Who;
use super::occupant::{self, Detail};
use super::snapshot::{self, Snapshot};
use crate::clock::Now;

/// How long a series of a process or workload stays after its end.
const SERIES_LINGER: Microseconds = Microseconds(300_000_000);
/// Samples in a row in which the driver's processes are unknown to this machine before it is called a mismatch.
const MISMATCHES: u32 = 3;
/// The reason under which it is counted that a scheduler did not speak.
const NEVER_SPOKE: &str = "allocations_never_came";

impl Accountant {
    /// Whether a GPU has changed between answering and not.
    pub(super) fn note_silence(&mut self, now: Microseconds) -> bool {
        let patience = Microseconds(micros(self.config.interval).0 * 2 + micros(LOOK).0 / 2);
        let mut changed = false;
        for seat in self.gpus.values_mut() {
            let up = seat.complete && now.saturating_sub(seat.heard) <= patience;
            let uuid = &*seat.gpu.card.uuid;
            match (seat.view.up, up) {
                (false, true) => tracing::info!(uuid, "the gpu answers"),
                (true, false) => {
                    tracing::warn!(
                        uuid,
                        "the gpu no longer answers: its energy waits until it does; see dmesg for NVRM and Xid"
                    );
                }
                _ => continue,
            }
            changed = true;
            seat.view.up = up;
        }
        changed
    }

    /// Whether every GPU that answers has been sampled since the last snapshot.
    pub(super) fn has_heard_all(&self) -> bool {
        let mut seats = self.gpus.values();
        seats.clone().any(|seat| seat.has_news) && seats.all(|seat| seat.has_news || !seat.view.up)
    }

    /// A scheduler that has not spoken in the first exposition delay is not waited for any longer.
    fn hear_out(&mut self, now: Microseconds) {
        let is_over = now.saturating_sub(self.config.begins) >= micros(self.config.delay);
        if is_over && self.holdings.stop_waiting() {
            *self.claims.court.failures.entry(NEVER_SPOKE).or_default() += 1;
            tracing::warn!(
                "a scheduler does not say what it has allocated: until it does, processes hold the gpus; wattribute \
                 doctor says which"
            );
            self.delay.allot(|uuid| self.holdings.tickets(uuid));
        }
    }

    pub(crate) fn publish(&mut self, now: Now) {
        self.hear_out(now.monotonic);
        self.due = now.monotonic + micros(self.config.interval * 5 / 4);
        for settled in self.delay.advance(now.monotonic) {
            if settled.expired > 0 {
                *self.claims.court.failures.entry(Refusal::FactsNeverCame.name()).or_default() +=
                    settled.expired;
            }
            if let Some(seat) = self.gpus.get_mut(&settled.uuid) {
                seat.view.basis = Some(settled.basis);
                seat.view.watts = snapshot::watts(&settled);
            }
        }
        for key in self.claims.sweep() {
            self.neighbours.identify.forget(key);
        }
        self.holdings.sweep(&mut self.claims, now.monotonic);
        let linger = SERIES_LINGER.max(micros(self.config.delay * 2));
        let gone = self.claims.register.expire(now.monotonic.saturating_sub(linger));
        self.delay.forget(&gone);
        for seat in self.gpus.values_mut() {
            seat.has_news = false;
            let claims = &self.claims;
            let spot = |instance| (Arc::clone(&seat.gpu.card.uuid), instance);
            let billing = |(process, instance): Who| claims.billing(process, &spot(instance));
            seat.view.refresh(&seat.gpu, now, billing);
            if seat.view.up && self.config.detail == Detail::Processes {
                seat.view.occupants = occupant::list(&seat.gpu, now, claims);
            }
        }
        let snapshot = self.snapshot();
        self.complaints.mismatch(snapshot.pid_namespace_mismatch);
        (self.neighbours.publish)(snapshot);
    }

    /// How much is held of everything that could pile up.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 6] {
        let [processes, places, series] = self.claims.held();
        let [waiting, maturing, accounts] = self.delay.held();
        [processes, places, series, waiting, maturing, accounts]
    }

    fn snapshot(&mut self) -> Snapshot {
        let progress = |seat: &Seat| {
            let (last, idle_power) = seat.gpu.progress();
            (Arc::clone(&seat.gpu.card.uuid), Progress { last, idle_power })
        };
        let left = self.left.iter().map(|(uuid, progress)| (Arc::clone(uuid), *progress));
        Snapshot {
            visible: self.delay.visible().clone(),
            hidden: self.delay.remainder(),
            series: self.claims.register.labelled(),
            gpus: self.gpus.values().map(|seat| seat.view.clone()).collect(),
            rules: Arc::clone(&self.claims.court.rules),
            progress: self.gpus.values().map(progress).chain(left).collect(),
            failures: self.claims.court.failures.clone(),
            calls: self.calls.clone(),
            pid_namespace_mismatch: self.gpus.values().any(|seat| seat.mismatches >= MISMATCHES),
            ready: !self.gpus.is_empty() && self.gpus.values().any(|seat| seat.view.latest.is_some()),
        }
    }
}
