//! An operator takes the GPUs away and gives them back, by signals.

use fake_nvml::{Effect, Fault, Gpu, Load, Scenario, Seconds};
use rustix::process::Signal;
use wattribute_e2e::{Process, eventually};

use crate::watch::{PATIENCE, Watch};

#[test]
fn a_released_driver_is_not_held_and_is_taken_again_with_all_its_energy() {
    let worker = Process::named("worker").start();
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    scenario.loads.push(Load::constant(worker.pid(), 0, 50));
    let mut watch = Watch::start("release", scenario);
    (0..2).for_each(|gpu| drop(watch.until_up(gpu, "1")));
    assert!(watch.is_loaded());

    watch.exporter.signal(Signal::USR1);
    watch.until_logged("the driver is released", 1);
    eventually(PATIENCE, "the library is unloaded", || (!watch.is_loaded()).then_some(()));
    let down = watch.until_up(0, "0");
    assert!(down.find("wattribute_gpu_power_watts", &[]).is_empty());
    assert_eq!(watch.calls("nvmlShutdown"), watch.calls("nvmlInit_v2"));

    watch.exporter.signal(Signal::USR2);
    (0..2).for_each(|gpu| drop(watch.until_up(gpu, "1")));
    (0..2).for_each(|gpu| watch.check_energy(gpu));
    let scrape = watch.exporter.scrape();
    let resets = scrape.find("wattribute_gpu_energy_counter_resets_total", &[]);
    assert!(resets.iter().all(|sample| sample.number() == 0.0), "{resets:?}");
}

#[test]
fn a_call_that_hangs_holds_up_the_release_and_is_named() {
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    scenario.faults = vec![Fault::new(1, 5.0, Effect::Hang { calls: vec![] })];
    let mut watch = Watch::start("held", scenario);
    watch.until_up(1, "1");
    watch.until_up(1, "0");
    watch.exporter.signal(Signal::USR1);
    watch.until_logged("the driver cannot be released yet", 1);
    let log = watch.exporter.stderr();
    assert!(log.contains("gpu-1") && !log.contains("the driver is released"), "{log}");
    assert!(watch.is_loaded());

    let now_us = watch.scenario.now_us() + 500_000;
    watch.edit(|scenario| scenario.faults[0].until_s = Some(Seconds::from_us(now_us)));
    watch.until_logged("the driver is released", 1);
    watch.exporter.signal(Signal::USR2);
    (0..2).for_each(|gpu| drop(watch.until_up(gpu, "1")));
    (0..2).for_each(|gpu| watch.check_energy(gpu));
}
