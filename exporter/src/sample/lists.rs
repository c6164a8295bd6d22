//! The driver's lists of processes: compute, graphics and MPS, merged into one.
//!
//! A process may stand in only one of them. The two that are empty on most machines are asked every fifth time while
//! they are, and at once where a sample names somebody whom no list has.

use std::collections::BTreeMap;

use nvml_wrapper::Device;
use wattribute::split::InstanceId;

use super::Running;
use super::answers::{Answer, Log};
use super::raw::{self, Kind};

/// The lists; the first is asked every time.
const LISTS: [(&str, Kind); 3] = [
    ("nvmlDeviceGetComputeRunningProcesses_v3", Kind::Compute),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", Kind::Graphics),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", Kind::Mps),
];
/// A list that was empty is left out so many times.
const LEFT_OUT: u32 = 4;
/// After so many failures in a row a list is done without, so that the others still count.
const FAILURES: u32 = 5;

/// Who is on a GPU.
pub enum Listing {
    Known(Vec<Running>),
    /// The driver has no list at all, or none that says anything.
    None,
    /// A list could not be had this time.
    Failed,
}

/// What is remembered of a list.
#[derive(Clone, Copy, Default)]
struct Past {
    /// How often it has failed in a row.
    failures: u32,
    was_empty: bool,
    /// How often it has been left out since it was asked.
    left_out: u32,
}

/// Reads the lists of one GPU.
#[derive(Default)]
pub struct Lists {
    past: [Past; LISTS.len()],
    /// How many processes to make room for.
    room: usize,
}

/// A process, on a MIG instance if there are any: it may be on several.
type Place = (u32, Option<InstanceId>);

/// What the lists said together.
#[derive(Default)]
struct Merged {
    /// Each process, with its memory.
    all: BTreeMap<Place, Option<u64>>,
    /// Whether the driver has any list.
    has_list: bool,
    /// Whether one was done without since it keeps failing.
    has_gap: bool,
}

impl Merged {
    /// Where a list is missing, that the others are empty does not mean that nobody is there.
    fn listing(self) -> Listing {
        if !self.has_list || (self.has_gap && self.all.is_empty()) {
            return Listing::None;
        }
        let running = |((pid, instance), memory)| Running { pid, instance, memory };
        Listing::Known(self.all.into_iter().map(running).collect())
    }
}

impl Lists {
    /// The processes of all kinds, each once.
    pub fn read(&mut self, device: &Device<'_>, log: &mut Log) -> Listing {
        for (index, past) in self.past.iter_mut().enumerate() {
            let is_needless = index > 0 && past.was_empty && past.left_out < LEFT_OUT;
            past.left_out = if is_needless { past.left_out + 1 } else { 0 };
        }
        self.ask(device, log)
    }

    /// The same with all lists, if any was left out the last time.
    pub fn complete(&mut self, device: &Device<'_>, log: &mut Log) -> Option<Listing> {
        self.past.iter().any(|past| past.left_out > 0).then(|| {
            self.past.iter_mut().for_each(|past| past.left_out = 0);
            self.ask(device, log)
        })
    }

    fn ask(&mut self, device: &Device<'_>, log: &mut Log) -> Listing {
        let mut merged = Merged::default();
        for (past, (name, kind)) in self.past.iter_mut().zip(LISTS) {
            if past.left_out > 0 {
                merged.has_list = true;
                continue;
            }
            let list = match log.call(name, || raw::running(device, kind, self.room)) {
                Answer::Value(list) => list,
                Answer::Unsupported => continue,
                Answer::Failed if past.failures >= FAILURES => {
                    merged.has_gap = true;
                    continue;
                }
                Answer::Failed => {
                    past.failures += 1;
                    return Listing::Failed;
                }
            };
            merged.has_list = true;
            (past.failures, past.was_empty) = (0, list.is_empty());
            self.room = self.room.max(list.len());
            for process in list {
                // In several lists at once, a process has the same memory in each.
                let memory = merged.all.entry((process.pid, process.instance)).or_default();
                *memory = (*memory).max(process.memory);
            }
        }
        merged.listing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are listed where these pids were found; `None` where nobody can say.
    #[track_caller]
    fn check(pids: &[u32], [has_list, has_gap]: [bool; 2], want: Option<usize>) {
        let all = pids.iter().map(|&pid| ((pid, None), None)).collect();
        let listed = match (Merged { all, has_list, has_gap }).listing() {
            Listing::Known(running) => Some(running.len()),
            Listing::None | Listing::Failed => None,
        };
        assert_eq!(listed, want);
    }

    #[test]
    fn a_gpu_is_empty_only_where_no_list_is_missing() {
        check(&[], [true, false], Some(0));
        check(&[], [true, true], None);
        check(&[7], [true, true], Some(1));
        check(&[], [false, false], None);
    }
}
