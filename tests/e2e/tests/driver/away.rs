//! The driver is unloaded under the exporter, replaced by another version, and loaded again.

use fake_nvml::{Effect, Fault, Gpu, Load, Scenario};
use wattribute_e2e::Process;

use crate::watch::Watch;

#[test]
fn a_driver_that_is_replaced_is_opened_anew_and_no_reading_is_lost() {
    let worker = Process::named("worker").start();
    let mut scenario = Scenario::starting_now((0..2).map(Gpu::numbered).collect());
    // Long ago loaded, so that it falls.
    scenario.gpus.iter_mut().for_each(|gpu| gpu.counter_offset_mj = 900_000_000);
    scenario.loads.push(Load::constant(worker.pid(), 0, 50));
    let all = |from_s: f64, effect| Fault { gpu: None, ..Fault::new(0, from_s, effect) };
    scenario.faults = vec![all(8.0, Effect::Unloaded).until(14.0), all(11.0, Effect::Upgraded)];
    let mut watch = Watch::start("away", scenario);
    (0..2).for_each(|gpu| drop(watch.until_up(gpu, "1")));
    let down = watch.until_up(1, "0");
    let power = down.find("wattribute_gpu_power_watts", &[("uuid", &watch.scenario.gpus[1].uuid)]);
    assert!(power.is_empty(), "{power:?}");
    (0..2).for_each(|gpu| drop(watch.until_up(gpu, "1")));
    for gpu in 0..2 {
        watch.check_energy(gpu);
        let uuid = watch.scenario.gpus[gpu].uuid.clone();
        watch.until("the reset is counted", |scrape| {
            let resets = scrape.value("wattribute_gpu_energy_counter_resets_total", &[("uuid", &uuid)]);
            (resets == Some("1")).then_some(())
        });
    }
    let log = watch.exporter.stderr();
    assert_eq!(log.matches("the driver went away").count(), 1, "{log}");
    assert!(log.contains("why=driver_not_loaded") && log.contains("the driver is open again"), "{log}");
    let scrape = watch.exporter.scrape();
    let failed = [("call", "nvmlInit_v2"), ("error", "driver_not_loaded")];
    assert!(!scrape.find("wattribute_nvml_errors_total", &failed).is_empty(), "{log}");
    let unobserved = scrape.find("wattribute_team_energy_joules_total", &[("team", "unobserved")]);
    assert!(unobserved.iter().all(|sample| sample.number() == 0.0), "{unobserved:?}");
}
