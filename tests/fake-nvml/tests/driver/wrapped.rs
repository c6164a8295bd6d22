//! The built library through nvml-wrapper: every function that it wraps, and what faults do to them.

use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use fake_nvml::{Code, Crowd, Effect, Fault, Kind, Load, MigInstance, Seconds};
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};

use crate::world::{fails, is, library, running, two_gpus, world};

fn pids(device: &Device<'_>) -> Vec<u32> {
    device.running_compute_processes().expect("a list").iter().map(|process| process.pid).collect()
}

#[test]
fn a_machine_introduces_itself() {
    world("a_machine_introduces_itself", &running(two_gpus(), vec![], vec![]), |world| {
        let nvml = &world.nvml;
        is(nvml.device_count(), 2);
        is(nvml.sys_driver_version(), "550.54.15");
        is(nvml.sys_nvml_version(), "12.550.54.15");
        is(nvml.sys_cuda_driver_version(), 12_040);
        let gpu = world.gpu(1);
        is(gpu.name(), "NVIDIA H100 80GB HBM3");
        is(gpu.uuid(), "GPU-00000000-0000-0000-0000-000000000001");
        is(gpu.index(), 1);
        let pci = gpu.pci_info().expect("pci");
        assert_eq!((pci.bus_id.as_str(), pci.bus), ("00000000:19:00.0", 0x19));
        let by_uuid = nvml.device_by_uuid("GPU-00000000-0000-0000-0000-000000000001").expect("found");
        is(by_uuid.index(), 1);
        fails(nvml.device_by_uuid("GPU-9"), Code::NOT_FOUND);
        fails(nvml.device_by_index(2), Code::INVALID_ARGUMENT);
        is(gpu.enforced_power_limit(), 700_000);
        is(gpu.power_management_limit(), 700_000);
        is(gpu.power_management_limit_constraints().map(|limits| limits.max_limit), 700_000);
        is(gpu.is_in_persistent_mode(), true);
        is(gpu.mig_mode().map(|mode| mode.current), 0);
    });
}

#[test]
fn readings_are_the_truth() {
    let load = Load { mem: 12, ..Load::constant(4711, 0, 40) };
    world("readings_are_the_truth", &running(two_gpus(), vec![load], vec![]), |world| {
        let gpu = world.gpu(0);
        let shown = gpu.total_energy_consumption().expect("energy");
        let entry = world.entries("nvmlDeviceGetTotalEnergyConsumption").pop().expect("an entry");
        assert_eq!((entry.value, entry.pid_of_caller), (Some(shown), std::process::id()));
        assert_eq!(world.scenario().counter(0, entry.t_us), Some(shown));
        is(gpu.power_usage(), 70_000 + 40 * 6_300);
        let rates = gpu.utilization_rates().expect("rates");
        assert_eq!((rates.gpu, rates.memory), (40, 12));
        let memory = gpu.memory_info().expect("memory");
        assert_eq!((memory.used >> 20, memory.total >> 20, memory.free >> 20), (1024, 81_559, 80_535));
        is(gpu.temperature(TemperatureSensor::Gpu), 50);
        is(gpu.clock_info(Clock::SM), 1980);
        is(world.gpu(1).clock_info(Clock::SM), 345);
    });
}

#[test]
fn fields_answer_one_by_one() {
    let fault = Fault::new(
        0,
        0.0,
        Effect::Error { calls: vec!["nvmlDeviceGetFieldValues/185".into()], code: Code::NO_DATA },
    );
    world("fields_answer_one_by_one", &running(two_gpus(), vec![], vec![fault]), |world| {
        let fields = world.gpu(0).field_values_for(&[83, 185, 186, 7].map(FieldId)).expect("fields");

        let [energy, average, instant, other] =
            fields.try_into().unwrap_or_else(|fields: Vec<_>| panic!("{} fields", fields.len()));
        let entry = world.entries("nvmlDeviceGetFieldValues/83").pop().expect("an entry");
        let counter = world.scenario().counter(0, entry.t_us).expect("a counter");
        assert!(matches!(energy.and_then(|sample| sample.value), Ok(SampleValue::U64(mj)) if mj == counter));
        fails(average.and_then(|sample| sample.value), Code::NO_DATA);
        assert!(matches!(instant.and_then(|sample| sample.value), Ok(SampleValue::U32(70_000))));
        fails(other.and_then(|sample| sample.value), Code::NOT_SUPPORTED);
    });
}

#[test]
fn each_list_has_its_processes() {
    let unknown = Load { memory_mib: None, kind: Kind::Graphics, ..Load::constant(2, 0, 1) };
    let mps = Load { kind: Kind::Mps, ..Load::constant(3, 0, 1) };
    let ended = Load::constant(4, 0, 1).between(0.0, 1.0);
    let loads = vec![Load::constant(1, 0, 1), unknown, mps, ended];
    world("each_list_has_its_processes", &running(two_gpus(), loads, vec![]), |world| {
        let gpu = world.gpu(0);
        let compute = gpu.running_compute_processes().expect("a list");
        assert_eq!(compute.len(), 1);
        assert_eq!((compute[0].pid, compute[0].gpu_instance_id), (1, None));
        assert!(matches!(compute[0].used_gpu_memory, UsedGpuMemory::Used(bytes) if bytes == 1 << 30));
        let graphics = gpu.running_graphics_processes().expect("a list");
        assert!(graphics.len() == 1 && matches!(graphics[0].used_gpu_memory, UsedGpuMemory::Unavailable));
        let mps = gpu.mps_running_compute_processes().expect("a list");
        assert_eq!(mps.iter().map(|process| process.pid).collect::<Vec<_>>(), [3]);
        assert!(pids(&world.gpu(1)).is_empty());
    });
}

#[test]
fn samples_are_newer_than_asked_for() {
    let loads = vec![Load::constant(1, 0, 30), Load::constant(2, 0, 0), Load::constant(3, 0, 60)];
    world("samples_are_newer_than_asked_for", &running(two_gpus(), loads, vec![]), |world| {
        let gpu = world.gpu(0);
        let unix = || std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
        let before = unix();
        let samples = gpu.process_utilization_stats(0).expect("samples");
        assert_eq!(
            samples.iter().map(|sample| (sample.pid, sample.sm_util)).collect::<Vec<_>>(),
            [(1, 30), (3, 60)]
        );
        let seen = samples[0].timestamp;
        assert!(
            (before - 1_000_000..=unix()).contains(&u128::from(seen)),
            "{seen} is not just before {before}"
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        while gpu.process_utilization_stats(seen).is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        let newer = gpu.process_utilization_stats(seen).expect("newer samples")[0].timestamp - seen;
        assert!(newer > 0 && newer % 166_667 == 0, "{newer}");
        fails(world.gpu(1).process_utilization_stats(0), Code::NOT_FOUND);
    });
}

#[test]
fn faults_strike_where_they_are_told() {
    let error =
        |calls: &[&str], code| Effect::Error { calls: calls.iter().map(ToString::to_string).collect(), code };
    let faults = vec![
        Fault::new(0, 0.0, error(&["nvmlDeviceGetPowerUsage"], Code(26))),
        Fault::new(0, 0.0, Effect::MemoryUnavailable),
        Fault::new(0, 0.0, Effect::GrowingList { by: 20 }),
        Fault::new(0, 0.0, error(&["nvmlDeviceGetName"], Code::UNKNOWN)).until(1.0),
        Fault::new(1, 0.0, error(&[], Code::GPU_IS_LOST)),
    ];
    world(
        "faults_strike_where_they_are_told",
        &running(two_gpus(), vec![Load::constant(1, 0, 1)], faults),
        |world| {
            let gpu = world.gpu(0);
            fails(gpu.power_usage(), Code(26));
            assert!(gpu.name().is_ok() && gpu.total_energy_consumption().is_ok());
            fails(gpu.running_compute_processes(), Code::INSUFFICIENT_SIZE);
            fails(gpu.process_utilization_stats(0), Code::INSUFFICIENT_SIZE);
            fails(world.nvml.device_by_index(1), Code::GPU_IS_LOST);
            assert_eq!(world.entries("nvmlDeviceGetPowerUsage")[0].code, 26);
        },
    );
}

#[test]
fn memory_may_be_unknown_and_a_call_slow() {
    let seconds = Seconds::from_us(300_000);
    let slow = Effect::Latency { seconds, calls: vec!["nvmlDeviceGetTemperature".into()] };
    let faults = vec![Fault::new(0, 0.0, Effect::MemoryUnavailable), Fault::new(0, 0.0, slow)];
    let scenario = running(two_gpus(), vec![Load::constant(1, 0, 1)], faults);
    world("memory_may_be_unknown_and_a_call_slow", &scenario, |world| {
        let gpu = world.gpu(0);
        let listed = gpu.running_compute_processes().expect("a list");
        assert!(matches!(listed[0].used_gpu_memory, UsedGpuMemory::Unavailable));
        let other = world.gpu(1);
        let took = |gpu: &Device<'_>| {
            let begun = Instant::now();
            is(gpu.temperature(TemperatureSensor::Gpu), 30);
            begun.elapsed()
        };
        // The machine may be slow too, but not each time.
        assert!((0..5).any(|_| took(&other) < Duration::from_millis(300)));
        assert!(took(&gpu) >= Duration::from_millis(300));
    });
}

#[test]
fn a_gpu_may_have_no_counter() {
    let mut gpus = two_gpus();
    gpus[0].counter = false;
    world("a_gpu_may_have_no_counter", &running(gpus, vec![], vec![]), |world| {
        fails(world.gpu(0).total_energy_consumption(), Code::NOT_SUPPORTED);
        assert!(world.gpu(1).total_energy_consumption().is_ok());
    });
}

#[test]
fn garbage_is_mixed_in() {
    let fault = Fault::new(0, 0.0, Effect::Garbage);
    world(
        "garbage_is_mixed_in",
        &running(two_gpus(), vec![Load::constant(1, 0, 30)], vec![fault]),
        |world| {
            let unix = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
            let last_seen = u64::try_from(unix).expect("fits") - 1_000_000;
            let samples = world.gpu(0).process_utilization_stats(last_seen).expect("samples");
            let sane = |pid: u32, sm: u32, stamp: u64| pid == 1 && sm <= 100 && stamp > last_seen;
            let sane = samples.iter().filter(|sample| sane(sample.pid, sample.sm_util, sample.timestamp));
            assert_eq!(sane.map(|sample| sample.sm_util).collect::<Vec<_>>(), [30]);
            assert_eq!(samples.len(), 5);
        },
    );
}

#[test]
fn a_hanging_call_is_let_go_by_an_edit() {
    let hang = Fault::new(1, 60.4, Effect::Hang { calls: vec!["nvmlDeviceGetPowerUsage".into()] });
    world("a_hanging_call_is_let_go_by_an_edit", &running(two_gpus(), vec![], vec![hang]), |world| {
        sleep(Duration::from_millis(450));
        std::thread::scope(|scope| {
            let hanging = scope.spawn(|| world.gpu(1).power_usage());
            sleep(Duration::from_millis(200));
            assert!(!hanging.is_finished());
            is(world.gpu(0).power_usage(), 70_000);
            let mut edited = world.scenario();
            edited.faults[0].until_s = Some(Seconds::from_us(edited.now_us()));
            edited.save(&world.path).expect("saved");
            is(hanging.join().expect("returned"), 70_000);
        });
    });
}

#[test]
fn an_edit_adds_processes_and_a_broken_one_changes_nothing() {
    let test = "an_edit_adds_processes_and_a_broken_one_changes_nothing";
    world(test, &running(two_gpus(), vec![Load::constant(1, 0, 1)], vec![]), |world| {
        let gpu = world.gpu(0);
        assert_eq!(pids(&gpu), [1]);
        let mut edited = world.scenario();
        edited.loads.push(Load { from_s: (60.0).into(), ..Load::constant(2, 0, 1) });
        edited.crowds.push(Crowd {
            gpu: 1,
            pids_from: 100,
            count: 10_000,
            memory_mib: Some(1),
            from_s: 60.0.into(),
            until_s: None,
        });
        edited.save(&world.path).expect("saved");
        sleep(Duration::from_millis(30));
        assert_eq!(pids(&gpu), [1, 2]);
        assert_eq!(pids(&world.gpu(1)).len(), 10_000);
        is(world.gpu(1).memory_info().map(|memory| memory.used >> 20), 10_000);
        fs::write(&world.path, "gpus: [").expect("written");
        sleep(Duration::from_millis(30));
        assert_eq!(pids(&gpu), [1, 2]);
        assert_eq!(world.entries("scenario").len(), 1);
    });
}

#[test]
fn an_absent_gpu_is_gone() {
    let scenario = running(two_gpus(), vec![], vec![Fault::new(0, 63.0, Effect::Absent)]);
    world("an_absent_gpu_is_gone", &scenario, |world| {
        let (first, second) = (world.gpu(0), world.gpu(1));
        while world.scenario().now_us() < 63_100_000 {
            sleep(Duration::from_millis(20));
        }
        is(world.nvml.device_count(), 1);
        fails(first.power_usage(), Code::GPU_IS_LOST);
        is(second.index(), 0);
        is(world.gpu(0).uuid(), second.uuid().expect("a uuid"));
    });
}

#[test]
fn a_parent_and_its_instances() {
    let instance = |id: u32| MigInstance {
        uuid: format!("MIG-{id}"),
        gpu_instance: id,
        compute_instance: 0,
        memory_mib: 9_856,
        slices: 1,
        from_s: Seconds::default(),
        until_s: None,
    };
    let mut gpus = two_gpus();
    gpus[0].mig = vec![instance(7), instance(8)];
    let loads = vec![
        Load { mig: Some(0), ..Load::constant(1, 0, 20) },
        Load { mig: Some(1), ..Load::constant(2, 0, 20) },
    ];
    world("a_parent_and_its_instances", &running(gpus, loads, vec![]), |world| {
        let parent = world.gpu(0);
        is(parent.mig_mode().map(|mode| mode.current), 1);
        is(parent.mig_device_count(), 7);
        fails(parent.process_utilization_stats(0), Code::NOT_SUPPORTED);
        assert!(parent.total_energy_consumption().is_ok());
        let listed = parent.running_compute_processes().expect("a list");
        assert_eq!(
            listed.iter().map(|own| (own.pid, own.gpu_instance_id)).collect::<Vec<_>>(),
            [(1, Some(7)), (2, Some(8))]
        );
        let own = parent.mig_device_by_index(1).expect("an instance");
        is(own.uuid(), "MIG-8");
        assert_eq!(pids(&own), [2]);
        is(own.memory_info().map(|memory| memory.total >> 20), 9_856);
        fails(own.total_energy_consumption(), Code::NOT_SUPPORTED);
        is(own.mig_parent_device().and_then(|parent| parent.uuid()), parent.uuid().expect("a uuid"));
        fails(parent.mig_device_by_index(2), Code::NOT_FOUND);
    });
}

#[test]
fn the_driver_outlives_its_client() {
    world("the_driver_outlives_its_client", &running(two_gpus(), vec![], vec![]), |world| {
        let before = world.gpu(0).total_energy_consumption().expect("energy");
        sleep(Duration::from_millis(60));
        let again = Nvml::builder().lib_path(library().as_os_str()).init().expect("a second client");
        assert!(
            again.device_by_index(0).expect("a handle").total_energy_consumption().expect("energy") > before
        );
        again.shutdown().expect("one client less");
        assert!(world.gpu(0).total_energy_consumption().is_ok());
    });
}

#[test]
fn without_a_scenario_there_is_no_driver() {
    if env::var_os("FAKE_NVML_SCENARIO").is_none() {
        let library = library();
        let error = Nvml::builder().lib_path(library.as_os_str()).init().map(drop);
        fails(error, Code::DRIVER_NOT_LOADED);
    }
}
