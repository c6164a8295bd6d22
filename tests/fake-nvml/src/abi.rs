//! NVML's C interface: pointers in, return codes out. The only unsafe file. Called by whoever loads the library;
//! what is answered stands in [`crate::answer`].

#![expect(unsafe_code, reason = "a C interface: symbols, and pointers of the caller")]

mod gpm;

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::sync::OnceLock;
use std::{ptr, slice};

use nvml_wrapper_sys::bindings as sys;
use sys::{nvmlDevice_t, nvmlReturn_t};

use crate::answer::{FieldValue, Memory, Room};
use crate::code::Code;
use crate::driver::{Driver, Target, Visit, Worth};
use crate::scenario::Kind;
use crate::utilization::Sample;

/// CUDA 12.4.
const CUDA: u32 = 12_040;

static DRIVER: OnceLock<Driver> = OnceLock::new();

fn driver() -> &'static Driver {
    DRIVER.get_or_init(Driver::from_env)
}

fn code(answer: Result<(), Code>) -> nvmlReturn_t {
    answer.err().unwrap_or(Code::SUCCESS).0
}

fn of(device: nvmlDevice_t) -> Target {
    Target::Handle(device.addr())
}

fn same<T>(value: T) -> T {
    value
}

fn memory_v1(memory: Memory) -> sys::nvmlMemory_t {
    sys::nvmlMemory_t { total: memory.total, free: memory.total - memory.used, used: memory.used }
}

fn as_device(handle: usize) -> nvmlDevice_t {
    ptr::without_provenance_mut(handle)
}

/// A call under its name: who is asked, and what.
struct Ask<T, R: FnOnce(&Visit) -> Result<T, Code>>(&'static str, Target, R);

impl<T: Worth, R: FnOnce(&Visit) -> Result<T, Code>> Ask<T, R> {
    fn answer(self) -> Result<T, Code> {
        driver().visit(self.0, &self.1, self.2)
    }

    /// Asks, and writes the answer where the caller wants it.
    ///
    /// # Safety
    /// `out` is null or valid for a write.
    unsafe fn into<O>(self, out: *mut O, convert: impl FnOnce(T) -> O) -> nvmlReturn_t {
        if out.is_null() {
            return Code::INVALID_ARGUMENT.0;
        }
        // SAFETY: not null, so valid for a write, as this function demands.
        code(self.answer().map(|value| unsafe { out.write(convert(value)) }))
    }
}

/// Asks for a text and copies it with its final NUL.
///
/// # Safety
/// `buffer` is null or valid for writes of `length` bytes.
unsafe fn text<R>(ask: Ask<String, R>, buffer: *mut c_char, length: c_uint) -> nvmlReturn_t
where
    R: FnOnce(&Visit) -> Result<String, Code>,
{
    if buffer.is_null() {
        return Code::INVALID_ARGUMENT.0;
    }
    let copied = ask.answer().and_then(|text| {
        if text.len() >= length as usize {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        // SAFETY: the text and its NUL fit into `length` bytes, which the caller vouches for.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, text.len());
            buffer.add(text.len()).write(0);
        }
        Ok(())
    });
    code(copied)
}

/// Asks for two numbers.
///
/// # Safety
/// Each pointer is null or valid for a write.
unsafe fn pair<R>(ask: Ask<(u32, u32), R>, first: *mut c_uint, second: *mut c_uint) -> nvmlReturn_t
where
    R: FnOnce(&Visit) -> Result<(u32, u32), Code>,
{
    if first.is_null() || second.is_null() {
        return Code::INVALID_ARGUMENT.0;
    }
    // SAFETY: neither is null, so both are valid for a write, as this function demands.
    code(ask.answer().map(|(one, two)| unsafe {
        first.write(one);
        second.write(two);
    }))
}

/// Asks for a list: the caller says how many fit and learns how many there are.
///
/// # Safety
/// `count` is null or valid for a read and a write, `entries` null or valid for `*count` writes.
unsafe fn list<S, T>(
    count: *mut c_uint,
    entries: *mut T,
    ask: impl FnOnce(&mut Room) -> Result<Vec<S>, Code>,
    convert: impl Fn(S) -> T,
) -> nvmlReturn_t {
    if count.is_null() {
        return Code::INVALID_ARGUMENT.0;
    }
    // SAFETY: not null, so valid for a read, as this function demands.
    let capacity = if entries.is_null() { 0 } else { unsafe { count.read() as usize } };
    let mut room = Room { capacity, needed: 0 };
    let answer = ask(&mut room);
    // SAFETY: as above, for a write.
    unsafe { count.write(c_uint::try_from(room.needed).unwrap_or(c_uint::MAX)) };
    let written = answer.map(|values| {
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: an answer has no more entries than the capacity, which the caller vouches for.
            unsafe { entries.add(index).write(convert(value)) };
        }
    });
    code(written)
}

/// Calls that yield one value: arguments before the pointer, whom they name, what it is, its form for C.
macro_rules! values {
    ($($name:ident($($arg:ident: $type:ty),*) $target:expr => $out:ty, $read:expr, $convert:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type,)* out: *mut $out) -> nvmlReturn_t {
            // SAFETY: NVML's contract is that of `into`.
            unsafe { Ask(stringify!($name), $target, $read).into(out, $convert) }
        }
    )*};
}

values! {
    nvmlSystemGetCudaDriverVersion() Target::System => c_int, |_: &Visit| Ok(CUDA), u32::cast_signed;
    nvmlSystemGetCudaDriverVersion_v2() Target::System => c_int, |_: &Visit| Ok(CUDA), u32::cast_signed;
    nvmlDeviceGetCount_v2() Target::System => c_uint, Visit::count, same;
    nvmlDeviceGetHandleByIndex_v2(index: c_uint) Target::Index(index as usize)
        => nvmlDevice_t, Visit::handle, as_device;
    nvmlDeviceGetIndex(device: nvmlDevice_t) of(device) => c_uint, Visit::index, same;
    nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t) of(device) => sys::nvmlPciInfo_t, Visit::pci, same;
    nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t) of(device) => c_ulonglong, Visit::energy_mj, same;
    nvmlDeviceGetPowerUsage(device: nvmlDevice_t) of(device) => c_uint, Visit::power_mw, same;
    nvmlDeviceGetEnforcedPowerLimit(device: nvmlDevice_t) of(device) => c_uint, Visit::power_limit_mw, same;
    nvmlDeviceGetPowerManagementLimit(device: nvmlDevice_t) of(device) => c_uint, Visit::power_limit_mw, same;
    nvmlDeviceGetUtilizationRates(device: nvmlDevice_t) of(device) => sys::nvmlUtilization_t, Visit::rates, same;
    nvmlDeviceGetMemoryInfo(device: nvmlDevice_t) of(device) => sys::nvmlMemory_t, Visit::memory, memory_v1;
    nvmlDeviceGetTemperature(device: nvmlDevice_t, _sensor: sys::nvmlTemperatureSensors_t) of(device)
        => c_uint, Visit::celsius, same;
    nvmlDeviceGetClockInfo(device: nvmlDevice_t, clock: sys::nvmlClockType_t) of(device)
        => c_uint, |visit: &Visit| visit.clock_mhz(clock), same;
    nvmlDeviceGetPersistenceMode(device: nvmlDevice_t) of(device)
        => sys::nvmlEnableState_t, Visit::persistence, same;
    nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t) of(device) => c_uint, Visit::most_instances, same;
    nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: c_uint) of(device)
        => nvmlDevice_t, |visit: &Visit| visit.instance_handle(index), as_device;
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device: nvmlDevice_t) of(device)
        => nvmlDevice_t, Visit::parent_handle, as_device;
    nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t) of(device) => c_uint, Visit::is_instance, same;
    nvmlDeviceGetGpuInstanceId(device: nvmlDevice_t) of(device) => c_uint, Visit::gpu_instance, same;
    nvmlDeviceGetComputeInstanceId(device: nvmlDevice_t) of(device) => c_uint, Visit::compute_instance, same;
    nvmlDeviceGetAttributes_v2(device: nvmlDevice_t) of(device)
        => sys::nvmlDeviceAttributes_t, Visit::attributes, same;
}

/// Calls that yield two numbers.
macro_rules! pairs {
    ($($name:ident $read:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: nvmlDevice_t, one: *mut c_uint, two: *mut c_uint) -> nvmlReturn_t {
            // SAFETY: NVML's contract is that of `pair`.
            unsafe { pair(Ask(stringify!($name), of(device), $read), one, two) }
        }
    )*};
}

pairs! {
    nvmlDeviceGetPowerManagementLimitConstraints Visit::power_limits_mw;
    nvmlDeviceGetMigMode Visit::mig_mode;
}

/// Calls that yield a text.
macro_rules! texts {
    ($($name:ident($($arg:ident: $type:ty)?) $target:expr => $read:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type,)? buffer: *mut c_char, length: c_uint) -> nvmlReturn_t {
            // SAFETY: NVML's contract is that of `text`.
            unsafe { text(Ask(stringify!($name), $target, $read), buffer, length) }
        }
    )*};
}

texts! {
    nvmlSystemGetDriverVersion() Target::System => Visit::driver_version;
    nvmlSystemGetNVMLVersion() Target::System => Visit::nvml_version;
    nvmlDeviceGetName(device: nvmlDevice_t) of(device) => Visit::name;
    nvmlDeviceGetUUID(device: nvmlDevice_t) of(device) => Visit::uuid;
}

/// The three lists of processes.
macro_rules! process_lists {
    ($($name:ident = $kind:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            count: *mut c_uint,
            infos: *mut sys::nvmlProcessInfo_t,
        ) -> nvmlReturn_t {
            let ask = |room: &mut Room| {
                Ask(stringify!($name), of(device), |visit: &Visit| visit.processes($kind, room)).answer()
            };
            // SAFETY: NVML's contract is that of `list`.
            unsafe { list(count, infos, ask, same) }
        }
    )*};
}

process_lists! {
    nvmlDeviceGetComputeRunningProcesses_v3 = Kind::Compute;
    nvmlDeviceGetGraphicsRunningProcesses_v3 = Kind::Graphics;
    nvmlDeviceGetMPSComputeRunningProcesses_v3 = Kind::Mps;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    code(driver().init("nvmlInit_v2"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    code(driver().init("nvmlInitWithFlags"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    code(driver().shutdown("nvmlShutdown"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    Code(result).text().as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    if uuid.is_null() {
        return Code::INVALID_ARGUMENT.0;
    }
    // SAFETY: not null; NVML wants a text that ends with NUL.
    let target = Target::Uuid(unsafe { CStr::from_ptr(uuid) }.to_string_lossy().into_owned());
    // SAFETY: NVML's contract is that of `into`.
    unsafe { Ask("nvmlDeviceGetHandleByUUID", target, Visit::handle).into(device, as_device) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    memory: *mut sys::nvmlMemory_v2_t,
) -> nvmlReturn_t {
    // SAFETY: null or valid for a read of the structure, of which the caller has set the version.
    let version = unsafe { memory.as_ref() }.map_or(0, |memory| memory.version);
    let read = |visit: &Visit| {
        if version == version_of::<sys::nvmlMemory_v2_t>(2) {
            visit.memory()
        } else {
            Err(Code::ARGUMENT_VERSION_MISMATCH)
        }
    };
    let convert = |memory: Memory| sys::nvmlMemory_v2_t {
        version,
        total: memory.total,
        reserved: 0,
        free: memory.total - memory.used,
        used: memory.used,
    };
    // SAFETY: NVML's contract is that of `into`.
    unsafe { Ask("nvmlDeviceGetMemoryInfo_v2", of(device), read).into(memory, convert) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut sys::nvmlFieldValue_t,
) -> nvmlReturn_t {
    let Some(count) = usize::try_from(count).ok().filter(|_| !values.is_null()) else {
        return Code::INVALID_ARGUMENT.0;
    };
    // SAFETY: not null, and the caller vouches for `count` structures.
    let values = unsafe { slice::from_raw_parts_mut(values, count) };
    let read = |visit: &Visit| {
        for value in &mut *values {
            read_field(visit, value);
        }
        Ok(())
    };
    code(Ask("nvmlDeviceGetFieldValues", of(device), read).answer())
}

fn read_field(visit: &Visit, out: &mut sys::nvmlFieldValue_t) {
    let (name, answer) = visit.field(out.fieldId);
    driver()
        .note(visit, (name, answer.as_ref().err().copied(), answer.as_ref().ok().map(FieldValue::number)));
    out.timestamp = (visit.unix_epoch_us + visit.now_us).cast_signed();
    out.latencyUsec = 0;
    out.nvmlReturn = answer.as_ref().err().copied().unwrap_or(Code::SUCCESS).0;
    match answer {
        Ok(FieldValue::Long(value)) => {
            out.valueType = sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
            out.value.ullVal = value;
        }
        Ok(FieldValue::Int(value)) => {
            out.valueType = sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
            out.value.uiVal = value;
        }
        Err(_) => {}
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nvmlDevice_t,
    samples: *mut sys::nvmlProcessUtilizationSample_t,
    count: *mut c_uint,
    last_seen: c_ulonglong,
) -> nvmlReturn_t {
    let ask = |room: &mut Room| {
        let read = |visit: &Visit| visit.samples(last_seen, room);
        Ask("nvmlDeviceGetProcessUtilization", of(device), read).answer()
    };
    let convert = |sample: Sample| sys::nvmlProcessUtilizationSample_t {
        pid: sample.pid,
        timeStamp: sample.at_us,
        smUtil: sample.sm,
        memUtil: sample.mem,
        encUtil: sample.enc,
        decUtil: sample.dec,
    };
    // SAFETY: NVML's contract is that of `list`.
    unsafe { list(count, samples, ask, convert) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessesUtilizationInfo(
    device: nvmlDevice_t,
    info: *mut sys::nvmlProcessesUtilizationInfo_t,
) -> nvmlReturn_t {
    // SAFETY: null or valid for reads and writes, and nobody else has it during the call.
    let Some(info) = (unsafe { info.as_mut() }) else { return Code::INVALID_ARGUMENT.0 };
    let (version, last_seen) = (info.version, info.lastSeenTimeStamp);
    let ask = |room: &mut Room| {
        let read = |visit: &Visit| {
            let known = version == version_of::<sys::nvmlProcessesUtilizationInfo_t>(1);
            if known { visit.samples(last_seen, room) } else { Err(Code::ARGUMENT_VERSION_MISMATCH) }
        };
        Ask("nvmlDeviceGetProcessesUtilizationInfo", of(device), read).answer()
    };
    let convert = |sample: Sample| sys::nvmlProcessUtilizationInfo_v1_t {
        timeStamp: sample.at_us,
        pid: sample.pid,
        smUtil: sample.sm,
        memUtil: sample.mem,
        encUtil: sample.enc,
        decUtil: sample.dec,
        jpgUtil: 0,
        ofaUtil: 0,
    };
    // SAFETY: NVML's contract is that of `list`: the array has room for `processSamplesCount` entries.
    unsafe { list(&raw mut info.processSamplesCount, info.procUtilArray, ask, convert) }
}

/// What a caller puts into `version` of a structure: its size and its version.
fn version_of<T>(version: u32) -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or_default() | (version << 24)
}
