//! What the driver's errors mean to the sampling, and what they are called in metrics.

use nvml_wrapper::error::NvmlError;

/// `NOT_FOUND` means that nobody used the GPU.
pub fn none_is_idle<T>(samples: Result<Vec<T>, NvmlError>) -> Result<Vec<T>, NvmlError> {
    match samples {
        Err(NvmlError::NotFound) => Ok(Vec::new()),
        other => other,
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
