//! The calls of GPU performance monitoring (GPM), in C.

use nvml_wrapper_sys::bindings as sys;
use sys::{nvmlDevice_t, nvmlGpmSample_t, nvmlReturn_t};

use super::{Ask, code, of};
use crate::code::Code;
use crate::driver::{Target, Visit};
use crate::mig;

/// The version of both structures.
const VERSION: u32 = 1;

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmQueryDeviceSupport(
    device: nvmlDevice_t,
    support: *mut sys::nvmlGpmSupport_t,
) -> nvmlReturn_t {
    // SAFETY: null or valid for a read of the structure, of which the caller has set the version.
    let version = unsafe { support.as_ref() }.map_or(0, |support| support.version);
    let read = |visit: &Visit| {
        if version == VERSION { visit.has_gpm() } else { Err(Code::ARGUMENT_VERSION_MISMATCH) }
    };
    let convert = |has: u32| sys::nvmlGpmSupport_t { version, isSupportedDevice: has };
    // SAFETY: NVML's contract is that of `into`.
    unsafe { Ask("nvmlGpmQueryDeviceSupport", of(device), read).into(support, convert) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmSampleAlloc(sample: *mut nvmlGpmSample_t) -> nvmlReturn_t {
    let read = |_: &Visit| Ok(mig::allocate());
    // SAFETY: NVML's contract is that of `into`.
    unsafe { Ask("nvmlGpmSampleAlloc", Target::System, read).into(sample, std::ptr::without_provenance_mut) }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpmSampleFree(sample: nvmlGpmSample_t) -> nvmlReturn_t {
    // The journal says how many are left.
    let read = |_: &Visit| mig::free(sample.addr()).map(|()| mig::allocated());
    code(Ask("nvmlGpmSampleFree", Target::System, read).answer().map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpmMigSampleGet(
    device: nvmlDevice_t,
    gpu_instance: u32,
    sample: nvmlGpmSample_t,
) -> nvmlReturn_t {
    let read = |visit: &Visit| visit.gpm_sample(gpu_instance, sample.addr());
    code(Ask("nvmlGpmMigSampleGet", of(device), read).answer())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmMetricsGet(request: *mut sys::nvmlGpmMetricsGet_t) -> nvmlReturn_t {
    // SAFETY: null or valid for reads and writes, and nobody else has it during the call.
    let Some(request) = (unsafe { request.as_mut() }) else { return Code::INVALID_ARGUMENT.0 };
    let samples = [request.sample1.addr(), request.sample2.addr()];
    let read = |visit: &Visit| {
        if request.version != VERSION {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        for metric in request.metrics.iter_mut().take(request.numMetrics as usize) {
            let answer = visit.gpm_metric(samples, metric.metricId);
            metric.nvmlReturn = answer.as_ref().err().copied().unwrap_or(Code::SUCCESS).0;
            metric.value = answer.unwrap_or_default();
        }
        Ok(())
    };
    code(Ask("nvmlGpmMetricsGet", Target::System, read).answer())
}
