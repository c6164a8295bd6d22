//! Makes the driver's calls: times each, sorts what went wrong, and remembers what a GPU does not support.

use std::collections::BTreeSet;
use std::time::Instant;

use nvml_wrapper::error::NvmlError;

use super::Call;

/// An answer of the driver.
pub enum Answer<T> {
    Value(T),
    /// Never, for this GPU.
    Unsupported,
    /// Not this time.
    Failed,
}

impl<T> Answer<T> {
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unsupported | Self::Failed => None,
        }
    }
}

/// Makes calls, times them, and remembers what the GPU does not support so that it is not asked again.
#[derive(Default)]
pub struct Log {
    calls: Vec<Call>,
    unsupported: BTreeSet<&'static str>,
}

impl Log {
    /// Makes the call of this name. What tells uses of one function apart stands behind a slash.
    pub fn call<T>(&mut self, name: &'static str, call: impl FnOnce() -> Result<T, NvmlError>) -> Answer<T> {
        if self.unsupported.contains(name) {
            return Answer::Unsupported;
        }
        let start = Instant::now();
        let result = call();
        let took = start.elapsed();
        let (answer, error) = match result {
            Ok(value) => (Answer::Value(value), None),
            Err(error) => {
                let label = error_name(&error);
                if is_permanent(&error) {
                    self.unsupported.insert(name);
                    (Answer::Unsupported, Some(label))
                } else {
                    (Answer::Failed, Some(label))
                }
            }
        };
        let name = name.split_once('/').map_or(name, |(function, _)| function);
        self.calls.push(Call { name, took, error });
        answer
    }

    /// Whether the GPU has said that it does not support this.
    pub fn is_unsupported(&self, name: &'static str) -> bool {
        self.unsupported.contains(name)
    }

    /// This is not to be asked again.
    pub fn give_up(&mut self, name: &'static str) {
        self.unsupported.insert(name);
    }

    /// The GPU works in another way than before: what it did not support it may support now.
    pub fn ask_all_again(&mut self) {
        self.unsupported.clear();
    }

    /// The calls since this was last asked.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}

/// Errors that will be the same each time this GPU is asked.
pub fn is_permanent(error: &NvmlError) -> bool {
    matches!(error, NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_))
}

/// The label `error` of `nvml_errors_total`: NVML's own name in lower case.
pub fn error_name(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::Uninitialized => "uninitialized",
        NvmlError::InvalidArg => "invalid_argument",
        NvmlError::NotSupported => "not_supported",
        NvmlError::NoPermission => "no_permission",
        NvmlError::NotFound => "not_found",
        NvmlError::InsufficientSize(_) => "insufficient_size",
        NvmlError::InsufficientPower => "insufficient_power",
        NvmlError::DriverNotLoaded => "driver_not_loaded",
        NvmlError::Timeout => "timeout",
        NvmlError::IrqIssue => "irq_issue",
        NvmlError::LibraryNotFound | NvmlError::LibloadingError(_) => "library_not_found",
        NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_) => "function_not_found",
        NvmlError::CorruptedInfoROM => "corrupted_inforom",
        NvmlError::GpuLost => "gpu_is_lost",
        NvmlError::ResetRequired => "reset_required",
        NvmlError::OperatingSystem => "operating_system",
        NvmlError::LibRmVersionMismatch => "lib_rm_version_mismatch",
        NvmlError::InUse => "in_use",
        NvmlError::InsufficientMemory => "memory",
        NvmlError::NoData => "no_data",
        NvmlError::UnexpectedVariant(_) => "unexpected",
        _ => "unknown",
    }
}
