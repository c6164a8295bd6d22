//! What a process takes of the machine at a moment: read from its /proc, by nobody but the soak.

use std::time::Duration;
use std::{fs, io};

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Since the run began.
    pub at: Duration,
    /// Resident memory, in kB of 1024 bytes.
    pub resident_kb: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors of all kinds.
    pub descriptors: u64,
    /// Of these, sockets.
    pub sockets: u64,
}

impl Usage {
    /// Of a process, now.
    ///
    /// # Errors
    /// When it has gone.
    pub fn of(pid: u32, at: Duration) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).and_then(number);
        let (mut descriptors, mut sockets) = (0, 0);
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One that was closed meanwhile is not open.
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            descriptors += 1;
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
        let missing = || io::Error::other("no such line in its status");
        let resident_kb = field("VmRSS:").ok_or_else(missing)?;
        Ok(Self { at, resident_kb, threads: field("Threads:").ok_or_else(missing)?, descriptors, sockets })
    }
}

fn number(rest: &str) -> Option<u64> {
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sees_oneself_and_a_socket_more() {
        let look = || Usage::of(std::process::id(), Duration::ZERO).expect("this process runs");
        let before = look();
        assert!(before.resident_kb > 100 && before.threads > 0 && before.descriptors > 2, "{before:?}");
        let sockets: Vec<_> = (0..50).map(|_| std::net::UdpSocket::bind("127.0.0.1:0")).collect();
        // Other tests of this program have sockets, too.
        assert!(look().sockets > before.sockets + 25, "{before:?} {:?}", look());
        drop(sockets);
    }
}
