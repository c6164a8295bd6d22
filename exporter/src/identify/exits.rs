//! The ends of processes, as the kernel tells them: one pidfd per process, one epoll for all, and a way to be
//! woken.

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use wattribute::facts::ProcessKey;

/// The token of the waker; processes get larger ones, each used once, so that an event of a pidfd that is
/// closed already is never taken for another process's.
const WAKER: u64 = 0;

/// How many events are taken at once.
const BATCH: usize = 256;

/// Wakes the thread that waits.
#[derive(Clone)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A full counter is the only refusal, and it wakes as well.
    pub(super) fn wake(&self) {
        _ = write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// The processes whose end the kernel will tell.
pub(super) struct Exits {
    epoll: OwnedFd,
    waker: Waker,
    /// How many at most, so that files remain for everything else.
    most: usize,
    last_token: u64,
    processes: HashMap<u64, ProcessKey>,
    pidfds: HashMap<ProcessKey, (u64, OwnedFd)>,
}

impl Exits {
    pub(super) fn new(most: usize) -> io::Result<(Self, Waker)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        epoll::add(&epoll, &*waker.0, epoll::EventData::new_u64(WAKER), epoll::EventFlags::IN)?;
        let (processes, pidfds) = (HashMap::new(), HashMap::new());
        Ok((Self { epoll, waker: waker.clone(), most, last_token: WAKER, processes, pidfds }, waker))
    }

    /// Has the kernel tell the end of the process that has this pid now. Compare its start time afterwards:
    /// only then it is certain to be the one that was meant.
    pub(super) fn add(&mut self, process: ProcessKey) -> Result<(), Errno> {
        if self.pidfds.contains_key(&process) {
            return Ok(());
        }
        if self.pidfds.len() >= self.most {
            return Err(Errno::MFILE);
        }
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let token = self.last_token + 1;
        epoll::add(&self.epoll, &pidfd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        self.last_token = token;
        self.processes.insert(token, process);
        self.pidfds.insert(process, (token, pidfd));
        Ok(())
    }

    /// No longer. Closing a pidfd would do, unless a child that is about to exec holds it too.
    pub(super) fn remove(&mut self, process: ProcessKey) {
        if let Some((token, pidfd)) = self.pidfds.remove(&process) {
            self.processes.remove(&token);
            _ = epoll::delete(&self.epoll, &pidfd);
        }
    }

    /// Waits until a process ends, somebody wakes, or the time is over; `None` is no limit. Gives the
    /// processes that ended; [`Exits::remove`] them, or they are given again.
    pub(super) fn wait(&mut self, limit: Option<Duration>) -> Result<Vec<ProcessKey>, Errno> {
        let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let tokens = events.iter().map(|event: &epoll::Event| event.data.u64());
        if tokens.clone().any(|token| token == WAKER) {
            _ = read(&*self.waker.0, &mut [0_u8; 8]);
        }
        Ok(tokens.filter_map(|token| self.processes.get(&token).copied()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_pidfds_than_allowed() {
        let (mut exits, _) = Exits::new(1).expect("an epoll");
        let me = ProcessKey { pid: std::process::id(), start: 0 };
        let same_pid = ProcessKey { start: 1, ..me };
        assert_eq!((exits.add(me), exits.add(me), exits.add(same_pid)), (Ok(()), Ok(()), Err(Errno::MFILE)));
        exits.remove(me);
        assert_eq!(exits.add(same_pid), Ok(()));
    }

    #[test]
    fn a_wake_up_is_taken_once() {
        let (mut exits, waker) = Exits::new(1).expect("an epoll");
        waker.wake();
        waker.wake();
        assert_eq!(exits.wait(None), Ok(Vec::new()));
        let begin = std::time::Instant::now();
        assert_eq!(exits.wait(Some(Duration::from_millis(20))), Ok(Vec::new()));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
