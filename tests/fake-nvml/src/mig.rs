//! A GPU in MIG mode: which instances exist when, what their handles answer, and how active they were (GPM).
//! [`crate::abi`] copies the answers to the caller.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nvml_wrapper_sys::bindings as sys;

use crate::answer::small;
use crate::code::Code;
use crate::driver::{Place, Visit};
use crate::scenario::{Gpu, MigInstance, Seconds};

/// The slices of a GPU, and as many instances as it can have.
const SLICES: u32 = 7;
/// How far apart two samples must be.
const GPM_APART_US: u64 = 100_000;

impl MigInstance {
    pub(crate) fn exists_at(&self, t_us: u64) -> bool {
        self.from_s.us() <= t_us && self.until_s.map_or(u64::MAX, Seconds::us) > t_us
    }
}

impl Gpu {
    pub(crate) fn is_in_mig_mode(&self, t_us: u64) -> bool {
        let until = self.mig_until_s.map_or(u64::MAX, Seconds::us);
        !self.mig.is_empty() && self.mig_from_s.us() <= t_us && t_us < until
    }

    pub(crate) fn has_instance(&self, mig: usize, t_us: u64) -> bool {
        self.is_in_mig_mode(t_us) && self.mig.get(mig).is_some_and(|own| own.exists_at(t_us))
    }

    /// The instances that exist, with their positions; the driver's index is the place in this list.
    fn instances_at(&self, t_us: u64) -> impl Iterator<Item = (usize, &MigInstance)> {
        self.mig.iter().enumerate().filter(move |(mig, _)| self.has_instance(*mig, t_us))
    }
}

/// What a GPM sample remembers: of which GPU instance, and when.
#[derive(Clone, Copy, Debug)]
struct Taken {
    gpu: usize,
    gpu_instance: u32,
    t_us: u64,
}

/// The allocated samples by handle; `None` where nothing was read into one yet.
static SAMPLES: Mutex<BTreeMap<usize, Option<Taken>>> = Mutex::new(BTreeMap::new());

impl Visit {
    pub fn instance(&self) -> Result<&MigInstance, Code> {
        let (place, gpu) = self.device()?;
        place.mig.and_then(|mig| gpu.mig.get(mig)).ok_or(Code::NOT_SUPPORTED)
    }

    pub fn mig_mode(&self) -> Result<(u32, u32), Code> {
        let mode = u32::from(self.whole()?.1.is_in_mig_mode(self.now_us));
        Ok((mode, mode))
    }

    pub fn most_instances(&self) -> Result<u32, Code> {
        self.whole().map(|_| SLICES)
    }

    pub fn instance_handle(&self, index: u32) -> Result<usize, Code> {
        let (gpu, card) = self.whole()?;
        let found = card.instances_at(self.now_us).nth(index as usize);
        found.map(|(mig, _)| Place { gpu, mig: Some(mig) }.handle()).ok_or(Code::NOT_FOUND)
    }

    pub fn parent_handle(&self) -> Result<usize, Code> {
        self.instance()?;
        self.device().map(|(place, _)| Place { mig: None, ..place }.handle())
    }

    pub fn is_instance(&self) -> Result<u32, Code> {
        self.device().map(|(place, _)| u32::from(place.mig.is_some()))
    }

    pub fn gpu_instance(&self) -> Result<u32, Code> {
        self.instance().map(|own| own.gpu_instance)
    }

    pub fn compute_instance(&self) -> Result<u32, Code> {
        self.instance().map(|own| own.compute_instance)
    }

    pub fn attributes(&self) -> Result<sys::nvmlDeviceAttributes_t, Code> {
        let own = self.instance()?;
        let (_, gpu) = self.device()?;
        let whole = gpu.instances_at(self.now_us).filter(|(_, one)| one.gpu_instance == own.gpu_instance);
        Ok(sys::nvmlDeviceAttributes_t {
            multiprocessorCount: own.slices * 16,
            sharedCopyEngineCount: own.slices,
            sharedDecoderCount: own.slices,
            sharedEncoderCount: 0,
            sharedJpegCount: own.slices,
            sharedOfaCount: 0,
            gpuInstanceSliceCount: whole.map(|(_, one)| one.slices).sum(),
            computeInstanceSliceCount: own.slices,
            memorySizeMB: own.memory_mib,
        })
    }

    /// Whether the GPU can say how active it is.
    pub fn has_gpm(&self) -> Result<u32, Code> {
        self.whole().map(|(_, gpu)| u32::from(gpu.gpm))
    }

    /// Reads the state of a GPU instance into a sample.
    pub fn gpm_sample(&self, gpu_instance: u32, sample: usize) -> Result<(), Code> {
        let (gpu, card) = self.whole()?;
        if !card.gpm {
            return Err(Code::NOT_SUPPORTED);
        }
        let exists = card.instances_at(self.now_us).any(|(_, own)| own.gpu_instance == gpu_instance);
        let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = samples.get_mut(&sample).filter(|_| exists).ok_or(Code::INVALID_ARGUMENT)?;
        *slot = Some(Taken { gpu, gpu_instance, t_us: self.now_us });
        Ok(())
    }

    /// A metric between two samples; the only ones are the use of the SMs and of the graphics engine, in % of the
    /// instance's own.
    pub fn gpm_metric(&self, samples: [usize; 2], metric: u32) -> Result<f64, Code> {
        let [from, to] = samples.map(taken);
        let (from, to) = (from.ok_or(Code::INVALID_ARGUMENT)?, to.ok_or(Code::INVALID_ARGUMENT)?);
        if (from.gpu, from.gpu_instance) != (to.gpu, to.gpu_instance) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let known = [
            sys::nvmlGpmMetricId_t_NVML_GPM_METRIC_GRAPHICS_UTIL,
            sys::nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL,
        ];
        if !known.contains(&metric) {
            return Err(Code::NOT_SUPPORTED);
        }
        let span = to.t_us.saturating_sub(from.t_us);
        if span < GPM_APART_US {
            return Err(Code::NO_DATA);
        }
        Ok(self.use_of_instance(to, (from.t_us, to.t_us)))
    }

    #[expect(clippy::cast_precision_loss, reason = "the driver answers a float")]
    fn use_of_instance(&self, taken: Taken, (from_us, to_us): (u64, u64)) -> f64 {
        let Some(card) = self.scenario.gpus.get(taken.gpu) else { return 0.0 };
        let is_here = |mig: usize| {
            card.mig
                .get(mig)
                .is_some_and(|own| own.gpu_instance == taken.gpu_instance && own.exists_at(taken.t_us))
        };
        let positions = 0..card.mig.len();
        let slices: u32 = positions.filter(|mig| is_here(*mig)).map(|mig| card.mig[mig].slices).sum();
        let loads = self.scenario.loads_on(taken.gpu).filter(|load| load.mig.is_some_and(is_here));
        let busy: u64 = loads.map(|load| load.busy(from_us, to_us)).sum();
        let own = (to_us - from_us) as f64 * f64::from(slices.max(1)) / f64::from(SLICES);
        (busy as f64 / own).min(100.0)
    }
}

fn taken(sample: usize) -> Option<Taken> {
    SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).get(&sample).copied().flatten()
}

/// A new sample, with nothing in it.
pub(crate) fn allocate() -> usize {
    let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = samples.last_key_value().map_or(1, |(last, _)| last + 1);
    samples.insert(handle, None);
    handle
}

/// Frees a sample; one that is not allocated is an error.
pub(crate) fn free(sample: usize) -> Result<(), Code> {
    let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    samples.remove(&sample).map(drop).ok_or(Code::INVALID_ARGUMENT)
}

/// How many samples are allocated.
pub(crate) fn allocated() -> u32 {
    small(SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).len())
}
