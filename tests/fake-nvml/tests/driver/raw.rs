//! The functions nvml-wrapper does not wrap, called as C: sizes, versions and room.

#![expect(unsafe_code, reason = "calls through the C interface")]

use std::mem;
use std::ptr;

use fake_nvml::{Code, Effect, Fault, Load, MigInstance, Seconds};
use nvml_wrapper_sys::bindings as sys;

use crate::world::{World, running, two_gpus, world};

fn handle(world: &World) -> sys::nvmlDevice_t {
    // SAFETY: the handle does not outlive the world, which keeps the library.
    unsafe { world.gpu(0).handle() }
}

/// Calls a function of the library with these arguments; gives its code.
macro_rules! call {
    ($world:expr, $name:ident($($arg:expr),*)) => {{
        let function = $world.nvml.lib().$name.as_ref().expect("a symbol");
        // SAFETY: each pointer given is null or points to a live value of the type NVML wants.
        Code(unsafe { function($($arg),*) })
    }};
}

#[test]
fn the_newer_call_for_samples_is_versioned_and_sized() {
    let scenario = running(two_gpus(), vec![Load::constant(1, 0, 30), Load::constant(2, 0, 20)], vec![]);
    world("the_newer_call_for_samples_is_versioned_and_sized", &scenario, |world| {
        let device = handle(world);
        let version =
            u32::try_from(size_of::<sys::nvmlProcessesUtilizationInfo_t>()).expect("small") | (1 << 24);
        let mut info = sys::nvmlProcessesUtilizationInfo_t {
            version: 7,
            processSamplesCount: 0,
            lastSeenTimeStamp: 0,
            procUtilArray: ptr::null_mut(),
        };
        let ask = |info: &mut sys::nvmlProcessesUtilizationInfo_t| {
            call!(world, nvmlDeviceGetProcessesUtilizationInfo(device, info))
        };
        assert_eq!(ask(&mut info), Code::ARGUMENT_VERSION_MISMATCH);
        info.version = version;
        assert_eq!((ask(&mut info), info.processSamplesCount), (Code::INSUFFICIENT_SIZE, 2));
        // SAFETY: all zero is a value of this structure of numbers.
        let mut room = [unsafe { mem::zeroed::<sys::nvmlProcessUtilizationInfo_v1_t>() }; 3];
        info.procUtilArray = room.as_mut_ptr();
        info.processSamplesCount = 1;
        assert_eq!((ask(&mut info), info.processSamplesCount), (Code::INSUFFICIENT_SIZE, 2));
        info.processSamplesCount = 3;
        assert_eq!((ask(&mut info), info.processSamplesCount), (Code::SUCCESS, 2));
        assert_eq!(room.map(|sample| (sample.pid, sample.smUtil)), [(1, 30), (2, 20), (0, 0)]);
        info.lastSeenTimeStamp = u64::MAX;
        assert_eq!(ask(&mut info), Code::NOT_FOUND);
    });
}

#[test]
fn a_list_that_grew_is_told_at_the_second_call() {
    let fault = Fault::new(0, 0.0, Effect::GrowingList { by: 2 });
    let scenario = running(two_gpus(), vec![Load::constant(1, 0, 30)], vec![fault]);
    world("a_list_that_grew_is_told_at_the_second_call", &scenario, |world| {
        let device = handle(world);
        // SAFETY: all zero is a value of this structure of numbers.
        let mut room = [unsafe { mem::zeroed::<sys::nvmlProcessInfo_t>() }; 3];
        let mut ask = |mut count: u32| {
            let code =
                call!(world, nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, room.as_mut_ptr()));
            (code, count)
        };
        assert_eq!(ask(0), (Code::INSUFFICIENT_SIZE, 1));
        assert_eq!(ask(1), (Code::INSUFFICIENT_SIZE, 3));
        assert_eq!(ask(3), (Code::SUCCESS, 1));
        assert_eq!(room[0].pid, 1);
    });
}

#[test]
fn an_instance_has_ids_and_slices() {
    let mut gpus = two_gpus();
    let uuid = "MIG-1".into();
    gpus[0].mig = vec![MigInstance {
        uuid,
        gpu_instance: 3,
        compute_instance: 1,
        memory_mib: 19_968,
        slices: 2,
        from_s: Seconds::default(),
        until_s: None,
    }];
    world("an_instance_has_ids_and_slices", &running(gpus, vec![], vec![]), |world| {
        let parent = handle(world);
        let mut instance = ptr::null_mut();
        assert_eq!(
            call!(world, nvmlDeviceGetMigDeviceHandleByIndex(parent, 0, &mut instance)),
            Code::SUCCESS
        );
        let (mut gpu, mut compute, mut is_instance) = (0, 0, 0);
        assert_eq!(call!(world, nvmlDeviceGetGpuInstanceId(instance, &mut gpu)), Code::SUCCESS);
        assert_eq!(call!(world, nvmlDeviceGetComputeInstanceId(instance, &mut compute)), Code::SUCCESS);
        assert_eq!(call!(world, nvmlDeviceIsMigDeviceHandle(instance, &mut is_instance)), Code::SUCCESS);
        assert_eq!((gpu, compute, is_instance), (3, 1, 1));
        assert_eq!(call!(world, nvmlDeviceGetGpuInstanceId(parent, &mut gpu)), Code::NOT_SUPPORTED);
        // SAFETY: all zero is a value of this structure of numbers.
        let mut attributes = unsafe { mem::zeroed::<sys::nvmlDeviceAttributes_t>() };
        assert_eq!(call!(world, nvmlDeviceGetAttributes_v2(instance, &mut attributes)), Code::SUCCESS);
        assert_eq!((attributes.gpuInstanceSliceCount, attributes.memorySizeMB), (2, 19_968));
    });
}

#[test]
fn what_a_caller_gets_wrong_is_an_error() {
    world("what_a_caller_gets_wrong_is_an_error", &running(two_gpus(), vec![], vec![]), |world| {
        let device = handle(world);
        let mut mj = 0;
        let nowhere = ptr::null_mut();
        assert_eq!(
            call!(world, nvmlDeviceGetTotalEnergyConsumption(nowhere, &mut mj)),
            Code::INVALID_ARGUMENT
        );
        assert_eq!(
            call!(world, nvmlDeviceGetTotalEnergyConsumption(device, ptr::null_mut())),
            Code::INVALID_ARGUMENT
        );
        let mut name = [1; 4];
        assert_eq!(call!(world, nvmlDeviceGetName(device, name.as_mut_ptr(), 4)), Code::INSUFFICIENT_SIZE);
        assert_eq!(name, [1; 4]);
        let mut memory = sys::nvmlMemory_t { total: 0, free: 0, used: 0 };
        assert_eq!(call!(world, nvmlDeviceGetMemoryInfo(device, &mut memory)), Code::SUCCESS);
        assert_eq!(memory.total, 81_559 << 20);
        // SAFETY: all zero is a value of this structure of numbers.
        let mut memory = unsafe { mem::zeroed::<sys::nvmlMemory_v2_t>() };
        assert_eq!(
            call!(world, nvmlDeviceGetMemoryInfo_v2(device, &mut memory)),
            Code::ARGUMENT_VERSION_MISMATCH
        );
        let mut version = 0;
        assert_eq!(call!(world, nvmlSystemGetCudaDriverVersion(&mut version)), Code::SUCCESS);
        assert_eq!(version, 12_040);
    });
}

#[test]
fn clients_are_counted() {
    world("clients_are_counted", &running(two_gpus(), vec![], vec![]), |world| {
        let mut count = 0;
        assert_eq!(call!(world, nvmlInitWithFlags(0)), Code::SUCCESS);
        assert_eq!(call!(world, nvmlShutdown()), Code::SUCCESS);
        assert_eq!(call!(world, nvmlDeviceGetCount_v2(&mut count)), Code::SUCCESS);
        assert_eq!(call!(world, nvmlShutdown()), Code::SUCCESS);
        assert_eq!(call!(world, nvmlDeviceGetCount_v2(&mut count)), Code::UNINITIALIZED);
        assert_eq!(call!(world, nvmlShutdown()), Code::UNINITIALIZED);
        let function = world.nvml.lib().nvmlErrorString.as_ref().expect("a symbol");
        // SAFETY: the library answers with a constant that ends with NUL.
        let text = unsafe { std::ffi::CStr::from_ptr(function(15)) };
        assert_eq!(text, c"GPU is lost");
        assert_eq!(call!(world, nvmlInit_v2()), Code::SUCCESS);
    });
}
