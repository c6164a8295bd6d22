//! Which MIG instances a GPU is divided into, and how active they are.
//!
//! Instances are created and destroyed while the exporter runs, and MIG mode is switched: their handles do not last.
//! So none is kept. Instances are looked up now and then, and at once where the driver speaks of one that is not known
//! or no longer knows one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use wattribute::split::InstanceId;
use wattribute::units::Microseconds;

use super::answers::{Answer, Log};
use super::gpm::Gpm;
use super::{Mig, MigInstance, Running, raw};

/// How often instances are looked up without a reason.
const LOOK_TICKS: u64 = 10;
/// How often at most they are looked up for a reason: it takes a call for each that there could be.
const REASON_TICKS: u64 = 2;
/// After so many looks in a row in which a call failed, what the others say is believed.
const FAILURES: u32 = 5;
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
    /// In how many looks in a row a call failed.
    failures: u32,
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
        if is_on {
            self.settle(look_up(device, log));
        } else {
            self.mode = Mode::Off;
        }
    }

    /// A call that failed is not a division: the old one stands, where there is one.
    fn settle(&mut self, found: Result<Mig, Partial>) {
        self.failures = if found.is_ok() { 0 } else { self.failures + 1 };
        match found {
            Err(Partial(_)) if matches!(self.mode, Mode::On(_)) && self.failures < FAILURES => {}
            Ok(mig) | Err(Partial(mig)) => self.mode = Mode::On(mig),
        }
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

/// The instances that were found where a call failed.
struct Partial(Mig);

/// A call failed, which says nothing of what exists.
struct Failed;

/// The instances that exist.
fn look_up(device: &Device<'_>, log: &mut Log) -> Result<Mig, Partial> {
    let most = ask(log, "nvmlDeviceGetMaxMigDeviceCount", || device.mig_device_count());
    let (slices, mut has_failed) = (most.as_ref().ok().copied().flatten().unwrap_or(0), most.is_err());
    let mut instances = Vec::new();
    for index in 0..slices {
        match instance(device, index, log) {
            Ok(own) => instances.extend(own),
            Err(Failed) => has_failed = true,
        }
    }
    let mig = Mig { slices, instances };
    if has_failed { Err(Partial(mig)) } else { Ok(mig) }
}

/// What the instance at this index says of itself; `None` where there is none, as at most indices, or it has gone again.
fn instance(device: &Device<'_>, index: u32, log: &mut Log) -> Result<Option<MigInstance>, Failed> {
    let own = ask(log, "nvmlDeviceGetMigDeviceHandleByIndex", || device.mig_device_by_index(index))?;
    let Some(own) = own else { return Ok(None) };
    let gpu = ask(log, "nvmlDeviceGetGpuInstanceId", || raw::gpu_instance(&own))?;
    let compute = ask(log, "nvmlDeviceGetComputeInstanceId", || raw::compute_instance(&own))?;
    let uuid = ask(log, "nvmlDeviceGetUUID/mig", || own.uuid())?;
    let (Some(gpu), Some(compute), Some(uuid)) = (gpu, compute, uuid) else { return Ok(None) };
    let attributes = ask(log, "nvmlDeviceGetAttributes_v2", || own.attributes())?;
    Ok(Some(MigInstance {
        id: InstanceId { gpu, compute },
        uuid: Arc::from(uuid),
        // The smallest there is, where the driver does not say.
        slices: attributes.as_ref().map_or(1, |own| own.compute_instance_slice_count.max(1)),
        memory: attributes.as_ref().map(|own| own.memory_size_mb.saturating_mul(MIB)),
        activity: None,
    }))
}

/// Makes a call; `None` where the driver does not support it, or what it is about has gone.
fn ask<T>(
    log: &mut Log,
    name: &'static str,
    call: impl FnOnce() -> Result<T, NvmlError>,
) -> Result<Option<T>, Failed> {
    match log.call(name, || gone_is_none(call())) {
        Answer::Value(value) => Ok(value),
        Answer::Unsupported => Ok(None),
        Answer::Failed => Err(Failed),
    }
}

/// To a driver that does not have an instance, its index or handle may be an invalid argument.
fn gone_is_none<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Err(NvmlError::NotFound | NvmlError::InvalidArg) => Ok(None),
        other => other.map(Some),
    }
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

    #[test]
    fn a_call_that_failed_is_no_reconfiguration_until_it_keeps_failing() {
        let mig = |slices| Mig { slices, instances: Vec::new() };
        let mut division = Division::default();
        let mut slices = |found| {
            division.settle(found);
            let Mode::On(mig) = &division.mode else { panic!("the gpu is divided") };
            mig.slices
        };
        assert_eq!(slices(Err(Partial(mig(3)))), 3);
        assert_eq!(slices(Ok(mig(7))), 7);
        let failed = [(); 5].map(|()| slices(Err(Partial(mig(0)))));
        assert_eq!(failed, [7, 7, 7, 7, 0]);
    }

    #[test]
    fn an_instance_that_has_gone_is_no_failed_call() {
        let answer = |error| gone_is_none::<()>(Err(error)).ok();
        assert_eq!(answer(NvmlError::NotFound), Some(None));
        assert_eq!(answer(NvmlError::InvalidArg), Some(None));
        assert_eq!(answer(NvmlError::Timeout), None);
    }
}
