//! Faults: what goes wrong, where and when. The driver asks which are in force; tests write them.

use serde::{Deserialize, Serialize};
use serde_yaml::with::singleton_map;

use crate::code::Code;
use crate::scenario::{Scenario, Seconds};

/// Something that goes wrong on one GPU, or all, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Position of the GPU in the scenario; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<usize>,
    /// When it begins.
    pub from_s: Seconds,
    /// When it is over; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<Seconds>,
    /// What happens.
    #[serde(with = "singleton_map")]
    pub effect: Effect,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// A list grows between the sizing call and the next: that one needs room for `by` more than it was told.
    GrowingList {
        /// How many more.
        by: u32,
    },
    /// Utilisation samples of pid 0, of an unknown pid in the future, above 100 %, and older than asked for.
    Garbage,
    /// Calls answer a code. Naming the call for energy or power strikes its fields too. Without names: every call that
    /// names the GPU. Calls on no GPU (`nvmlInit_v2`) must be
    /// named, in a fault without `gpu`.
    Error {
        /// Names of the C functions.
        #[serde(default)]
        calls: Vec<String>,
        /// The answer.
        code: Code,
    },
    /// No process's memory is known (all ones).
    MemoryUnavailable,
    /// The energy counter begins at zero, at `from_s`.
    CounterReset,
    /// The energy counter gains this much at `from_s`, in mJ.
    CounterJump {
        /// Millijoules; negative: it falls back, at most to zero.
        mj: i64,
    },
    /// The energy counter stands still, and has caught up afterwards.
    CounterFrozen,
    /// Calls do not return before the fault is over. `calls` as in [`Effect::Error`].
    Hang {
        /// Names of the C functions.
        #[serde(default)]
        calls: Vec<String>,
    },
    /// Calls take this much longer. `calls` as in [`Effect::Error`].
    Latency {
        /// How much.
        seconds: Seconds,
        /// Names of the C functions.
        #[serde(default)]
        calls: Vec<String>,
    },
    /// The driver is not loaded; afterwards counters begin at zero. Who was a client before must shut down and
    /// initialise again. Without `gpu`.
    Unloaded,
    /// At `from_s` there is another version of the driver: a library that was loaded before does not fit it, until it is
    /// unloaded and loaded again. Without `gpu`.
    Upgraded,
    /// The GPU is gone: not counted, not found, lost to those who hold a handle. Higher indices move down.
    Absent,
}

impl Fault {
    /// A fault of one GPU from a time on.
    #[must_use]
    pub fn new(gpu: usize, from_s: f64, effect: Effect) -> Self {
        Self { gpu: Some(gpu), from_s: from_s.into(), until_s: None, effect }
    }

    /// The same fault, over at a time.
    #[must_use]
    pub fn until(mut self, until_s: f64) -> Self {
        self.until_s = Some(until_s.into());
        self
    }

    pub(crate) fn concerns(&self, gpu: usize) -> bool {
        self.gpu.is_none_or(|own| own == gpu)
    }

    pub(crate) fn covers(&self, t_us: u64) -> bool {
        self.from_s.us() <= t_us && self.until_s.is_none_or(|until| t_us < until.us())
    }
}

/// A call, as faults see it.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The C function.
    pub name: &'static str,
    /// The GPU it names.
    pub gpu: Option<usize>,
}

impl Call {
    fn is_among(self, calls: &[String], fault: &Fault) -> bool {
        let here = self.gpu.map_or(fault.gpu.is_none() && !calls.is_empty(), |gpu| fault.concerns(gpu));
        here && (calls.is_empty() || calls.iter().any(|name| name == self.name))
    }

    /// The same for what takes time: the call for many fields waits where the call for one of them would.
    fn waits_among(self, calls: &[String], fault: &Fault) -> bool {
        let singly = |name| Self { name, ..self }.is_among(calls, fault);
        let is_many = self.name == "nvmlDeviceGetFieldValues";
        self.is_among(calls, fault)
            || (is_many
                && (singly("nvmlDeviceGetTotalEnergyConsumption") || singly("nvmlDeviceGetPowerUsage")))
    }
}

impl Scenario {
    fn faults_at(&self, t_us: u64) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| fault.covers(t_us))
    }

    fn effects_on(&self, gpu: usize, t_us: u64) -> impl Iterator<Item = &Effect> {
        self.faults_at(t_us).filter(move |fault| fault.concerns(gpu)).map(|fault| &fault.effect)
    }

    /// What is wrong with the whole driver, for a library loaded at a time and a client that began at a time; the
    /// latter is `None` for one that is just about to.
    pub(crate) fn driver_error(&self, loaded_us: u64, began_us: Option<u64>, t_us: u64) -> Option<Code> {
        let of = |effect: Effect| self.faults.iter().filter(move |fault| fault.effect == effect);
        let passed = |fault: &Fault| fault.from_s.us() <= t_us;
        if of(Effect::Unloaded).any(|fault| fault.covers(t_us)) {
            return Some(Code::DRIVER_NOT_LOADED);
        }
        if of(Effect::Upgraded).any(|fault| passed(fault) && loaded_us < fault.from_s.us()) {
            return Some(Code::LIB_RM_VERSION_MISMATCH);
        }
        let is_stale =
            |fault: &Fault| passed(fault) && began_us.is_some_and(|began| began < fault.from_s.us());
        of(Effect::Unloaded).any(is_stale).then_some(Code::UNINITIALIZED)
    }

    pub(crate) fn is_absent(&self, gpu: usize, t_us: u64) -> bool {
        self.effects_on(gpu, t_us).any(|effect| *effect == Effect::Absent)
    }

    pub(crate) fn has_garbage(&self, gpu: usize, t_us: u64) -> bool {
        self.effects_on(gpu, t_us).any(|effect| *effect == Effect::Garbage)
    }

    pub(crate) fn hides_memory(&self, gpu: usize, t_us: u64) -> bool {
        self.effects_on(gpu, t_us).any(|effect| *effect == Effect::MemoryUnavailable)
    }

    /// How many more entries a list needs than its sizing call said.
    pub(crate) fn list_growth(&self, gpu: usize, t_us: u64) -> usize {
        let by = |effect: &Effect| if let Effect::GrowingList { by } = effect { *by as usize } else { 0 };
        self.effects_on(gpu, t_us).map(by).sum()
    }

    pub(crate) fn latency_us(&self, call: Call, t_us: u64) -> u64 {
        let delay = |fault: &Fault| match &fault.effect {
            Effect::Latency { seconds, calls } if call.waits_among(calls, fault) => seconds.us(),
            _ => 0,
        };
        self.faults_at(t_us).map(delay).sum()
    }

    pub(crate) fn hangs(&self, call: Call, t_us: u64) -> bool {
        self.faults_at(t_us)
            .any(|fault| matches!(&fault.effect, Effect::Hang { calls } if call.waits_among(calls, fault)))
    }

    pub(crate) fn error(&self, call: Call, t_us: u64) -> Option<Code> {
        self.faults_at(t_us).find_map(|fault| match &fault.effect {
            Effect::Error { calls, code } if call.is_among(calls, fault) => Some(*code),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Gpu;

    /// Whether a fault of `gpu` on these calls, from 1 s to 2 s, strikes `call` at `t_ms`.
    #[track_caller]
    fn check((gpu, calls): (Option<usize>, &[&str]), (call, t_ms): (Call, u64), want: bool) {
        let calls = calls.iter().map(ToString::to_string).collect();
        let effect = Effect::Error { calls, code: Code::TIMEOUT };
        let fault = Fault { gpu, ..Fault::new(0, 1.0, effect).until(2.0) };
        let scenario = Scenario { faults: vec![fault], ..Scenario::starting_now(vec![Gpu::numbered(0)]) };
        assert_eq!(scenario.error(call, t_ms * 1000).is_some(), want);
    }

    const INIT: Call = Call { name: "nvmlInit_v2", gpu: None };
    const NAME: Call = Call { name: "nvmlDeviceGetName", gpu: Some(1) };

    #[test]
    fn a_fault_has_its_time() {
        check((Some(1), &[]), (NAME, 999), false);
        check((Some(1), &[]), (NAME, 1000), true);
        check((Some(1), &[]), (NAME, 1999), true);
        check((Some(1), &[]), (NAME, 2000), false);
    }

    #[test]
    fn a_fault_has_its_gpu_and_its_calls() {
        check((None, &[]), (NAME, 1500), true);
        check((Some(0), &[]), (NAME, 1500), false);
        check((Some(1), &["nvmlDeviceGetName"]), (NAME, 1500), true);
        check((Some(1), &["nvmlDeviceGetUUID"]), (NAME, 1500), false);
    }

    #[test]
    fn a_driver_that_was_unloaded_wants_its_clients_anew() {
        let everywhere = |from: f64, effect| Fault { gpu: None, ..Fault::new(0, from, effect) };
        let faults = vec![everywhere(2.0, Effect::Unloaded).until(3.0), everywhere(5.0, Effect::Upgraded)];
        let scenario = Scenario { faults, ..Scenario::starting_now(vec![Gpu::numbered(0)]) };
        let at = |loaded: u64, began: Option<u64>, now: u64| {
            scenario.driver_error(loaded * 1_000_000, began.map(|began| began * 1_000_000), now * 1_000_000)
        };
        assert_eq!(at(0, Some(0), 1), None);
        assert_eq!(at(0, Some(0), 2), Some(Code::DRIVER_NOT_LOADED));
        assert_eq!(at(0, None, 2), Some(Code::DRIVER_NOT_LOADED));
        assert_eq!(at(0, Some(0), 3), Some(Code::UNINITIALIZED));
        assert_eq!((at(0, None, 3), at(0, Some(3), 4)), (None, None));
        assert_eq!(at(0, Some(3), 5), Some(Code::LIB_RM_VERSION_MISMATCH));
        assert_eq!((at(0, None, 6), at(6, None, 6)), (Some(Code::LIB_RM_VERSION_MISMATCH), None));
    }

    #[test]
    fn calls_on_no_gpu_must_be_named() {
        check((None, &[]), (INIT, 1500), false);
        check((None, &["nvmlInit_v2"]), (INIT, 1500), true);
        check((Some(1), &["nvmlInit_v2"]), (INIT, 1500), false);
    }
}
