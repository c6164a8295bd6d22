//! The driver's utilisation samples of processes: those newer than the last accepted, without what nobody should
//! believe. Two calls tell them; on some GPUs only one of the two ever has anything to say.
//!
//! The driver keeps the samples of some seconds, so no burst between two ticks is missed. But of a process it gives one
//! sample for all the time since the newest that was accepted, a mean, and who came and went between two ticks stands in
//! no list. So while processes come and go the driver is glanced at between two ticks, about as often as it samples, as
//! long as that costs little.

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use wattribute::units::Microseconds;

use super::answers::Log;
use super::raw::{self, ProcessSample};
use super::{Running, SmSample};
use crate::clock;

/// After so many silent ticks the other call is heard too.
const SILENT_TICKS: u32 = 10;

/// No glance while so many samples wait for the next tick.
const GLANCED: usize = 100_000;

/// So long after somebody came or went there are glances.
const LIVELY: Duration = Duration::from_secs(60);

/// What glances may cost at most: this part of the time.
const GLANCE_COST: u32 = 100;

/// The two calls that tell the utilisation of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UtilizationCall {
    Classic,
    /// Since driver 550.
    Newer,
}

impl UtilizationCall {
    fn other(self) -> Self {
        match self {
            Self::Classic => Self::Newer,
            Self::Newer => Self::Classic,
        }
    }
}

/// Reads the utilisation of one GPU's processes.
pub struct Utilization {
    /// The newest sample accepted, Unix time.
    last_seen: Microseconds,
    /// The pids of the last sample.
    listed: BTreeSet<u32>,
    /// Those of the sample before it: the driver may speak a tick late of who has left.
    before: BTreeSet<u32>,
    /// How many samples to make room for.
    room: usize,
    /// The call that answered best so far.
    preferred: UtilizationCall,
    silent: u32,
    /// What was glanced since the last tick.
    glanced: Vec<SmSample>,
    /// No glance before this.
    rests_until: Option<Instant>,
    /// When somebody last came or went.
    changed: Option<Instant>,
}

/// Samples that may be believed, if it is known whose they are.
pub struct Fresh {
    since: Microseconds,
    samples: Vec<SmSample>,
}

impl Utilization {
    /// Begins with what is sampled from now on.
    pub fn new() -> Self {
        let (last_seen, preferred) = (clock::unix(), UtilizationCall::Classic);
        let (listed, before, glanced) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self {
            last_seen,
            listed,
            before,
            room: 0,
            preferred,
            silent: 0,
            glanced,
            rests_until: None,
            changed: None,
        }
    }

    /// Whether somebody has come or gone of late.
    pub fn is_lively(&self) -> bool {
        !self.listed.is_empty() && self.changed.is_some_and(|at| at.elapsed() < LIVELY)
    }

    /// Looks between two ticks, if the driver is quick about it; says whether it spoke of somebody new.
    pub fn glance(&mut self, device: &Device<'_>, log: &mut Log, now: Microseconds) -> bool {
        let begin = Instant::now();
        let is_resting = self.rests_until.is_some_and(|until| begin < until);
        if !self.is_lively() || self.glanced.len() >= GLANCED || is_resting {
            return false;
        }
        let looked = self.look(device, log, now);
        self.rest(begin);
        let Some(Fresh { mut samples, .. }) = looked else { return false };
        let has_strangers = samples.iter().any(|one| !self.listed.contains(&one.pid));
        self.glanced.append(&mut samples);
        self.accept_glanced();
        has_strangers
    }

    fn accept_glanced(&mut self) {
        let known = self.glanced.iter().filter(|one| self.knows(one.pid, &self.listed));
        self.last_seen = known.map(|one| one.at).fold(self.last_seen, Microseconds::max);
    }

    /// After a glance that took from then until now there is none for a while.
    pub fn rest(&mut self, begin: Instant) {
        self.rests_until = Some(Instant::now() + begin.elapsed().saturating_mul(GLANCE_COST));
    }

    /// Nobody can say who is on the GPU: what was glanced is nobody's.
    pub fn forget(&mut self) {
        self.listed.clear();
        self.before.clear();
        self.glanced.clear();
    }

    /// Those of these who are new; from now on they are not.
    pub fn admit(&mut self, running: Vec<Running>) -> Vec<Running> {
        let new: Vec<Running> = running.into_iter().filter(|one| self.listed.insert(one.pid)).collect();
        self.accept_glanced();
        if !new.is_empty() {
            self.changed = Some(Instant::now());
        }
        new
    }

    /// What was sampled since the last that was accepted; `None` where it cannot be had.
    pub fn read(&mut self, device: &Device<'_>, log: &mut Log, now: Microseconds) -> Option<Fresh> {
        let mut fresh = self.look(device, log, now)?;
        fresh.samples.append(&mut self.glanced);
        Some(fresh)
    }

    fn look(&mut self, device: &Device<'_>, log: &mut Log, now: Microseconds) -> Option<Fresh> {
        let since = self.since(now);
        let is_new =
            |one: &ProcessSample| one.timestamp > since.0 && one.timestamp <= now.0 + Microseconds::SECOND.0;
        let samples = self.samples(device, log, since)?;
        let is_sane = |one: &ProcessSample| one.sm_percent <= 100 && is_new(one);
        let to_sample = |one: ProcessSample| SmSample {
            pid: one.pid,
            at: Microseconds(one.timestamp),
            since: Some(since),
            percent: one.sm_percent,
        };
        Some(Fresh { since, samples: samples.into_iter().filter(is_sane).map(to_sample).collect() })
    }

    /// What the driver is asked for: what is newer than this. A clock that was set back must not make every new sample
    /// look old, and what was sampled before that has no time any more.
    fn since(&mut self, now: Microseconds) -> Microseconds {
        if self.last_seen > now + Microseconds::SECOND {
            self.last_seen = now.saturating_sub(Microseconds::SECOND);
            self.glanced.clear();
        }
        self.last_seen.min(now)
    }

    /// Whether samples speak of somebody who is in no list.
    pub fn has_strangers(&self, fresh: &Fresh, listed: &BTreeSet<u32>) -> bool {
        fresh.samples.iter().any(|one| !self.knows(one.pid, listed))
    }

    /// The samples of those who are listed; and whether there were others only.
    pub fn accept(&mut self, fresh: Option<Fresh>, listed: BTreeSet<u32>) -> (Option<Vec<SmSample>>, bool) {
        let Some(Fresh { since, samples }) = fresh else {
            self.replace(listed);
            return (None, false);
        };
        let (all, has_samples) = (samples.len(), !samples.is_empty());
        let known = samples.into_iter().filter(|one| self.knows(one.pid, &listed));
        let accepted: Vec<SmSample> = known.collect();
        let strangers_only = accepted.is_empty() && has_samples;
        if accepted.len() < all {
            self.changed = Some(Instant::now());
        }
        self.last_seen = accepted.iter().map(|sample| sample.at).max().unwrap_or(since);
        self.replace(listed);
        (Some(accepted), strangers_only)
    }

    fn replace(&mut self, listed: BTreeSet<u32>) {
        if listed != self.listed {
            self.changed = Some(Instant::now());
        }
        self.before = mem::replace(&mut self.listed, listed);
    }

    /// Who has just left may have been busy until then.
    fn knows(&self, pid: u32, listed: &BTreeSet<u32>) -> bool {
        [listed, &self.listed, &self.before].iter().any(|pids| pids.contains(&pid))
    }

    /// What the driver says since then, by whichever call answers; empty where the GPU was idle. Now and then the other
    /// is heard too, and preferred if it knows more.
    fn samples(
        &mut self,
        device: &Device<'_>,
        log: &mut Log,
        since: Microseconds,
    ) -> Option<Vec<ProcessSample>> {
        let first = self.ask((self.preferred, since), device, log);
        let is_silent = first.as_ref().is_some_and(Vec::is_empty);
        self.silent = if is_silent { self.silent + 1 } else { 0 };
        if first.is_some() && self.silent % SILENT_TICKS != 1 {
            return first;
        }
        let other = self.preferred.other();
        let second = self.ask((other, since), device, log);
        if second.as_ref().is_some_and(|samples| !samples.is_empty()) || first.is_none() {
            self.preferred = other;
            return second;
        }
        first
    }

    fn ask(
        &mut self,
        (by, since): (UtilizationCall, Microseconds),
        device: &Device<'_>,
        log: &mut Log,
    ) -> Option<Vec<ProcessSample>> {
        let room = self.room;
        let answer = match by {
            UtilizationCall::Classic => log.call("nvmlDeviceGetProcessUtilization", || {
                none_is_idle(raw::utilization(device, since.0, room))
            }),
            UtilizationCall::Newer => log.call("nvmlDeviceGetProcessesUtilizationInfo", || {
                none_is_idle(raw::utilization_info(device, since.0, room))
            }),
        };
        let samples = answer.value()?;
        self.room = room.max(samples.len());
        Some(samples)
    }
}

/// `NOT_FOUND` means that nobody used the GPU.
fn none_is_idle<T>(samples: Result<Vec<T>, NvmlError>) -> Result<Vec<T>, NvmlError> {
    match samples {
        Err(NvmlError::NotFound) => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pid: u32) -> SmSample {
        SmSample { pid, at: Microseconds(5), since: None, percent: 50 }
    }

    #[test]
    fn who_has_left_is_known_for_two_ticks() {
        let mut utilization = Utilization::new();
        utilization.accept(None, BTreeSet::from([7]));
        let mut is_accepted = || {
            let fresh = Fresh { since: Microseconds(1), samples: vec![sample(7)] };
            let (accepted, strangers_only) = utilization.accept(Some(fresh), BTreeSet::new());
            assert_eq!(strangers_only, accepted == Some(vec![]));
            !strangers_only
        };
        assert_eq!([is_accepted(), is_accepted(), is_accepted()], [true, true, false]);
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut utilization = Utilization::new();
        let second = Microseconds::SECOND;
        let now = Microseconds(100 * second.0);
        utilization.last_seen = now + second;
        utilization.glanced = vec![sample(7)];
        assert_eq!((utilization.since(now), utilization.glanced.len()), (now, 1));
        utilization.last_seen = now + second + second;
        assert_eq!(utilization.since(now), now.saturating_sub(second));
        assert!(utilization.glanced.is_empty());
    }
}
