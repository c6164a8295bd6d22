//! Which MIG instances a GPU is divided into, and how active they are.
//!
//! Instances are created and destroyed while the exporter runs, and MIG mode is switched: their handles do not last.
//! So none is kept. Instances are looked up now and then, and at once where the driver speaks of one that is not known
//! or no longer knows one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nvml_wrapper::Device;
use wattribute::split::InstanceId;
use wattribute::units::Microseconds;

use super::answers::{Answer, Log};
use super::gpm::Gpm;
use super::{Mig, MigInstance, Running, raw};

/// How often instances are looked up without a reason.
const LOOK_TICKS: u64 = 10;
/// How often at most they are looked up for a reason: it takes a call for each that there could be.
const REASON_TICKS: u64 = 2;
const MIB: u64 = 1 << 20;

/// Whether a GPU is divided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Off,
    On(Mig),
}

/// Watches how one GPU is divided.
#[derive(Default)]
pub struct Division<'a> {
    mode: Mode,
    gpm: Gpm<'a>,
    ticks: u64,
    /// The tick of the last look.
    looked: u64,
}

impl<'a> Division<'a> {
    /// Looks whether the GPU is divided and into what, if it is time to.
    pub fn glance(&mut self, device: &Device<'a>, log: &mut Log) {
        if self.ticks.is_multiple_of(LOOK_TICKS) {
            self.look(device, log);
        }
        self.ticks += 1;
    }

    /// The same now, since something else was said than what is known.
    fn look_again(&mut self, device: &Device<'a>, log: &mut Log) {
        if self.ticks - self.looked > REASON_TICKS {
            self.look(device, log);
        }
    }

    fn look(&mut self, device: &Device<'a>, log: &mut Log) {
        self.looked = self.ticks;
        let is_on = match log.call("nvmlDeviceGetMigMode", || device.mig_mode()) {
            Answer::Value(mode) => mode.current == 1,
            Answer::Unsupported => false,
            Answer::Failed => return,
        };
        if is_on != matches!(self.mode, Mode::On(_)) {
            // Utilisation exists in one mode only, activity in the other.
            log.ask_all_again();
            self.gpm = Gpm::default();
        }
        self.mode = if is_on { Mode::On(look_up(device, log)) } else { Mode::Off };
    }

    /// How the GPU is divided at this moment, with the activity of its instances since the last time; `None` where it
    /// is whole.
    pub fn read(
        &mut self,
        device: &Device<'a>,
        log: &mut Log,
        (running, now): (&[Running], Microseconds),
    ) -> Option<Mig> {
        if self.is_behind(running) {
            self.look_again(device, log);
        }
        let activities = self.activities(device, log, now);
        if self.gpm.lost {
            self.look_again(device, log);
        }
        let Mode::On(mig) = &self.mode else { return None };
        let mut mig = mig.clone();
        set_activities(&mut mig, &activities, running);
        Some(mig)
    }

    /// Whether processes are on instances that are not known.
    fn is_behind(&self, running: &[Running]) -> bool {
        let is_known = |id: InstanceId| match &self.mode {
            Mode::On(mig) => mig.instances.iter().any(|own| own.id == id),
            Mode::Off => false,
        };
        running.iter().filter_map(|one| one.instance).any(|id| !is_known(id))
    }

    fn activities(&mut self, device: &Device<'a>, log: &mut Log, now: Microseconds) -> BTreeMap<u32, u32> {
        match &self.mode {
            Mode::On(mig) => self.gpm.read(device, log, (&gpu_instances(mig), now)),
            Mode::Off => BTreeMap::new(),
        }
    }
}

fn gpu_instances(mig: &Mig) -> BTreeSet<u32> {
    mig.instances.iter().map(|own| own.id.gpu).collect()
}

/// The instances that exist.
fn look_up(device: &Device<'_>, log: &mut Log) -> Mig {
    let most = log.call("nvmlDeviceGetMaxMigDeviceCount", || device.mig_device_count()).value().unwrap_or(0);
    let by_index = |index| {
        // Most indices have none.
        let own =
            log.call("nvmlDeviceGetMigDeviceHandleByIndex", || raw::instance(device, index)).value()??;
        instance(&own, log)
    };
    Mig { slices: most, instances: (0..most).filter_map(by_index).collect() }
}

/// What an instance says of itself; `None` where it has gone again.
fn instance(own: &Device<'_>, log: &mut Log) -> Option<MigInstance> {
    let gpu = log.call("nvmlDeviceGetGpuInstanceId", || raw::gpu_instance(own)).value()?;
    let compute = log.call("nvmlDeviceGetComputeInstanceId", || raw::compute_instance(own)).value()?;
    let uuid = log.call("nvmlDeviceGetUUID/mig", || own.uuid()).value()?;
    let attributes = log.call("nvmlDeviceGetAttributes_v2", || own.attributes()).value();
    Some(MigInstance {
        id: InstanceId { gpu, compute },
        uuid: Arc::from(uuid),
        // The smallest there is, where the driver does not say.
        slices: attributes.as_ref().map_or(1, |own| own.compute_instance_slice_count.max(1)),
        memory: attributes.as_ref().map(|own| own.memory_size_mb.saturating_mul(MIB)),
        activity: None,
    })
}

/// Activity is known by GPU instance. Where one has several compute instances, those with processes share it.
fn set_activities(mig: &mut Mig, activities: &BTreeMap<u32, u32>, running: &[Running]) {
    let used: BTreeSet<InstanceId> = running.iter().filter_map(|one| one.instance).collect();
    for own in &mut mig.instances {
        let is_used = |id: &InstanceId| id.gpu == own.id.gpu;
        let is_anothers = !used.contains(&own.id) && used.iter().any(is_used);
        let activity = activities.get(&own.id.gpu).copied();
        own.activity = if is_anothers { activity.map(|_| 0) } else { activity };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Activities of instances (GPU, compute) with half of GPU instance 1 active, and processes on `used`.
    #[track_caller]
    fn check(instances: &[(u32, u32)], used: &[(u32, u32)], want: &[Option<u32>]) {
        let id = |&(gpu, compute): &(u32, u32)| InstanceId { gpu, compute };
        let own = |at: &(u32, u32)| MigInstance {
            id: id(at),
            uuid: "MIG".into(),
            slices: 1,
            memory: None,
            activity: None,
        };
        let mut mig = Mig { slices: 7, instances: instances.iter().map(own).collect() };
        let running = |at: &(u32, u32)| Running { pid: 1, instance: Some(id(at)), memory: None };
        let running: Vec<Running> = used.iter().map(running).collect();
        set_activities(&mut mig, &BTreeMap::from([(1, 50_000)]), &running);
        assert_eq!(mig.instances.iter().map(|own| own.activity).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_compute_instance_without_a_process_was_not_active_where_another_has_one() {
        check(&[(1, 0)], &[], &[Some(50_000)]);
        check(&[(1, 0), (1, 1)], &[(1, 1)], &[Some(0), Some(50_000)]);
        check(&[(1, 0), (1, 1)], &[], &[Some(50_000), Some(50_000)]);
        check(&[(2, 0)], &[(2, 0)], &[None]);
    }
}
