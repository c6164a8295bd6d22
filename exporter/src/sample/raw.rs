//! The NVML calls that return lists: the safe wrapper asks for the size each time, and does not try again where the
//! list grew in between. The one file of the exporter with `unsafe`; `sample/nvml.rs` calls it.

#![expect(unsafe_code, reason = "calls of NVML's C interface; each block says why it is sound")]

use std::mem::size_of;
use std::os::raw::c_uint;

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{
    nvmlProcessInfo_t, nvmlProcessUtilizationInfo_v1_t, nvmlProcessUtilizationSample_t,
    nvmlProcessesUtilizationInfo_t, nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE as INSUFFICIENT_SIZE,
    nvmlReturn_t,
};
use wattribute::split::InstanceId;

/// How often a list that grows between two calls is asked for again.
const ATTEMPTS: usize = 5;
/// No list is longer: a driver that says so is not believed, and gets no memory for it.
const MOST: usize = 1 << 20;
/// Room for this many more entries than the driver last spoke of.
const HEADROOM: usize = 16;
/// What the driver writes where it does not know the memory of a process.
const MEMORY_UNKNOWN: u64 = u64::MAX;
/// What the driver writes for the instances of a process on a GPU without MIG.
const NO_INSTANCE: u32 = u32::MAX;

/// Which list of processes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Compute,
    Graphics,
    Mps,
}

/// A process in a running list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningProcess {
    pub pid: u32,
    /// `None` without MIG.
    pub instance: Option<InstanceId>,
    /// Bytes; `None` where the driver does not say.
    pub memory: Option<u64>,
}

/// A utilisation sample of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessSample {
    pub pid: u32,
    /// Unix time in microseconds.
    pub timestamp: u64,
    pub sm_percent: u32,
}

/// The processes with a context of this kind on the GPU.
pub fn running(device: &Device<'_>, kind: Kind, capacity: usize) -> Result<Vec<RunningProcess>, NvmlError> {
    let library = device.nvml().lib();
    let call = *match kind {
        Kind::Compute => nvml_sym(library.nvmlDeviceGetComputeRunningProcesses_v3.as_ref())?,
        Kind::Graphics => nvml_sym(library.nvmlDeviceGetGraphicsRunningProcesses_v3.as_ref())?,
        Kind::Mps => nvml_sym(library.nvmlDeviceGetMPSComputeRunningProcesses_v3.as_ref())?,
    };
    let list: Vec<nvmlProcessInfo_t> = fetch(capacity, |entries, count| {
        // SAFETY: the handle belongs to the library that `call` came from; `entries` has room for `count`.
        unsafe { call(device.handle(), count, entries) }
    })?;
    let process = |one: &nvmlProcessInfo_t| {
        let id = InstanceId { gpu: one.gpuInstanceId, compute: one.computeInstanceId };
        RunningProcess {
            pid: one.pid,
            instance: (id.gpu != NO_INSTANCE && id.compute != NO_INSTANCE).then_some(id),
            memory: (one.usedGpuMemory != MEMORY_UNKNOWN).then_some(one.usedGpuMemory),
        }
    };
    Ok(list.iter().map(process).collect())
}

/// Samples newer than `last_seen` (Unix time in microseconds), by the call that all drivers have.
pub fn utilization(
    device: &Device<'_>,
    last_seen: u64,
    capacity: usize,
) -> Result<Vec<ProcessSample>, NvmlError> {
    let call = *nvml_sym(device.nvml().lib().nvmlDeviceGetProcessUtilization.as_ref())?;
    let list: Vec<nvmlProcessUtilizationSample_t> = fetch(capacity, |entries, count| {
        // SAFETY: the handle belongs to the library that `call` came from; `entries` has room for `count`.
        unsafe { call(device.handle(), entries, count, last_seen) }
    })?;
    let sample = |one: &nvmlProcessUtilizationSample_t| ProcessSample {
        pid: one.pid,
        timestamp: one.timeStamp,
        sm_percent: one.smUtil,
    };
    Ok(list.iter().map(sample).collect())
}

/// The same by the call that driver 550 brought, which is the only one that answers on some GPUs.
pub fn utilization_info(
    device: &Device<'_>,
    last_seen: u64,
    capacity: usize,
) -> Result<Vec<ProcessSample>, NvmlError> {
    let call = *nvml_sym(device.nvml().lib().nvmlDeviceGetProcessesUtilizationInfo.as_ref())?;
    let list: Vec<nvmlProcessUtilizationInfo_v1_t> = fetch(capacity, |entries, count| {
        let mut request = nvmlProcessesUtilizationInfo_t {
            version: version_1::<nvmlProcessesUtilizationInfo_t>(),
            processSamplesCount: *count,
            lastSeenTimeStamp: last_seen,
            procUtilArray: entries,
        };
        // SAFETY: as above; the version tells the driver the size of `request`.
        let code = unsafe { call(device.handle(), &raw mut request) };
        *count = request.processSamplesCount;
        code
    })?;
    let sample = |one: &nvmlProcessUtilizationInfo_v1_t| ProcessSample {
        pid: one.pid,
        timestamp: one.timeStamp,
        sm_percent: one.smUtil,
    };
    Ok(list.iter().map(sample).collect())
}

/// The GPU instance that a MIG device is on.
pub fn gpu_instance(device: &Device<'_>) -> Result<u32, NvmlError> {
    let call = *nvml_sym(device.nvml().lib().nvmlDeviceGetGpuInstanceId.as_ref())?;
    // SAFETY: the handle belongs to the library that `call` came from; `id` is a valid place for the answer.
    number(|id| unsafe { call(device.handle(), id) })
}

/// The compute instance in it.
pub fn compute_instance(device: &Device<'_>) -> Result<u32, NvmlError> {
    let call = *nvml_sym(device.nvml().lib().nvmlDeviceGetComputeInstanceId.as_ref())?;
    // SAFETY: the handle belongs to the library that `call` came from; `id` is a valid place for the answer.
    number(|id| unsafe { call(device.handle(), id) })
}

fn number(ask: impl FnOnce(*mut c_uint) -> nvmlReturn_t) -> Result<u32, NvmlError> {
    let mut value = 0;
    nvml_try(ask(&raw mut value))?;
    Ok(value)
}

/// What NVML expects in the `version` of a version 1 struct: its size, and the version in the highest byte.
fn version_1<T>() -> c_uint {
    c_uint::try_from(size_of::<T>()).unwrap_or_default() | 1 << 24
}

/// Asks for a list with room to spare, and again with more room where it has grown.
fn fetch<T>(
    capacity: usize,
    mut ask: impl FnMut(*mut T, &mut c_uint) -> nvmlReturn_t,
) -> Result<Vec<T>, NvmlError> {
    let mut entries: Vec<T> = Vec::new();
    let mut wanted = capacity;
    for _ in 0..ATTEMPTS {
        entries.reserve_exact(wanted + HEADROOM);
        let room = c_uint::try_from(entries.capacity()).unwrap_or(c_uint::MAX);
        let mut count = room;
        let code = ask(entries.as_mut_ptr(), &mut count);
        if code != INSUFFICIENT_SIZE {
            nvml_try(code)?;
            // SAFETY: the driver wrote `count` entries, and was told of no more room than there is.
            unsafe { entries.set_len(count.min(room) as usize) };
            return Ok(entries);
        }
        wanted = (count as usize).max(wanted * 2);
        if wanted > MOST {
            break;
        }
    }
    Err(NvmlError::InsufficientSize(Some(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches from a driver whose list has this many entries at each attempt.
    fn fetched(sizes: &[u32]) -> Result<usize, NvmlError> {
        let mut attempts = sizes.iter();
        let list: Vec<u8> = fetch(0, |_, count| {
            let size = *attempts.next().expect("no more attempts than expected");
            let code = if size > *count { INSUFFICIENT_SIZE } else { 0 };
            *count = size;
            code
        })?;
        Ok(list.len())
    }

    #[test]
    fn a_list_that_fits_takes_one_call() {
        assert_eq!(fetched(&[3]).unwrap(), 3);
    }

    #[test]
    fn a_list_that_grew_is_asked_for_again() {
        assert_eq!(fetched(&[100, 117, 140]).unwrap(), 140);
    }

    #[test]
    fn a_list_that_never_stops_growing_is_an_error() {
        assert!(fetched(&[1000, 5000, 20_000, 80_000, 300_000]).is_err());
    }

    #[test]
    fn no_room_is_made_for_a_list_that_cannot_be() {
        assert!(fetched(&[c_uint::MAX]).is_err());
    }
}
