//! GPUs that appear and vanish while the exporter runs; indices move, identity does not.

use fake_nvml::{Effect, Fault, Gpu, Load, Scenario};
use wattribute_e2e::{Process, accounted_gpus, device_mj};

use crate::watch::Watch;

#[test]
fn gpus_come_and_go_and_keep_their_counters() {
    let worker = Process::named("worker").start();
    let mut scenario = Scenario::starting_now((0..3).map(Gpu::numbered).collect());
    scenario.loads = (0..3).map(|gpu| Load::constant(worker.pid(), gpu, 40)).collect();
    scenario.faults = vec![Fault::new(1, 0.0, Effect::Absent).until(6.0)];
    let mut watch = Watch::start("plug", scenario);
    let uuids: Vec<String> = watch.scenario.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    watch.until_up(1, "1");
    watch.check_energy(1);

    let now_s = watch.scenario.now_us() as f64 / 1e6;
    watch.edit(|scenario| scenario.faults.push(Fault::new(0, now_s + 1.0, Effect::Absent)));
    let down = watch.until_up(0, "0");
    let stands = device_mj(&down, &uuids[0]);
    assert!(stands > 0);
    watch.until_logged("the driver no longer has this gpu", 1);
    // The others have moved up by one, and are still themselves.
    (1..3).for_each(|gpu| watch.check_energy(gpu));
    assert_eq!(accounted_gpus(&watch.exporter.scrape()), uuids.iter().cloned().collect());

    let now_us = watch.scenario.now_us() + 500_000;
    watch.edit(|scenario| scenario.faults[1].until_s = Some(fake_nvml::Seconds::from_us(now_us)));
    watch.until_up(0, "1");
    (0..3).for_each(|gpu| watch.check_energy(gpu));
}
