//! What each call answers, as safe values of NVML's own structures. [`crate::abi`] copies them to the caller.

use std::collections::BTreeMap;

use nvml_wrapper_sys::bindings as sys;

use crate::code::Code;
use crate::driver::{Place, Visit, Worth};
use crate::fault::Call;
use crate::scenario::{Crowd, Gpu, Kind};
use crate::utilization::Sample;

const MIB: u64 = 1 << 20;
/// What the driver writes where there is no value, and where there is no MIG instance.
const ALL_ONES: u32 = u32::MAX;
/// A pid no process can have: above the kernel's limit.
const UNKNOWN_PID: u32 = 5_000_000;
const HOUR_US: u64 = 3_600_000_000;

/// How much room the caller has for a list, and how much it takes.
pub(crate) struct Room {
    /// Entries that fit; zero asks for the size.
    pub capacity: usize,
    /// Set to the number of entries there are, or that should fit.
    pub needed: usize,
}

impl Worth for () {}
impl Worth for String {}
impl Worth for (u32, u32) {}
impl Worth for sys::nvmlPciInfo_t {}
impl Worth for sys::nvmlUtilization_t {}
impl Worth for sys::nvmlDeviceAttributes_t {}
impl Worth for Memory {}

impl Worth for u32 {
    fn worth(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

impl Worth for u64 {
    fn worth(&self) -> Option<u64> {
        Some(*self)
    }
}

impl<T> Worth for Vec<T> {
    fn worth(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}

/// Memory in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub total: u64,
    pub used: u64,
}

/// One field of `nvmlDeviceGetFieldValues`.
pub(crate) enum FieldValue {
    Long(u64),
    Int(u32),
}

impl FieldValue {
    pub fn number(&self) -> u64 {
        match self {
            Self::Long(value) => *value,
            Self::Int(value) => u64::from(*value),
        }
    }
}

impl Visit {
    /// The device; a MIG instance only while it exists.
    pub fn device(&self) -> Result<(Place, &Gpu), Code> {
        let place = self.place.ok_or(Code::INVALID_ARGUMENT)?;
        let gpu = self.scenario.gpus.get(place.gpu).ok_or(Code::INVALID_ARGUMENT)?;
        let exists = place.mig.is_none_or(|mig| gpu.has_instance(mig, self.now_us));
        if exists { Ok((place, gpu)) } else { Err(Code::INVALID_ARGUMENT) }
    }

    /// The GPU, for what only whole GPUs can say.
    pub fn whole(&self) -> Result<(usize, &Gpu), Code> {
        let (place, gpu) = self.device()?;
        if place.mig.is_none() { Ok((place.gpu, gpu)) } else { Err(Code::NOT_SUPPORTED) }
    }

    pub fn driver_version(&self) -> Result<String, Code> {
        Ok(self.scenario.driver_version.clone())
    }

    pub fn nvml_version(&self) -> Result<String, Code> {
        Ok(format!("12.{}", self.scenario.driver_version))
    }

    pub fn handle(&self) -> Result<usize, Code> {
        self.device().map(|(place, _)| place.handle())
    }

    pub fn name(&self) -> Result<String, Code> {
        let (_, gpu) = self.device()?;
        let suffix = self.instance().map(|own| format!(" MIG {}g.{}gb", own.slices, own.memory_mib / 1000));
        Ok(format!("{}{}", gpu.model, suffix.unwrap_or_default()))
    }

    pub fn uuid(&self) -> Result<String, Code> {
        let (_, gpu) = self.device()?;
        Ok(self.instance().map_or(&gpu.uuid, |own| &own.uuid).clone())
    }

    pub fn index(&self) -> Result<u32, Code> {
        let (gpu, _) = self.whole()?;
        self.present().iter().position(|own| *own == gpu).map(small).ok_or(Code::GPU_IS_LOST)
    }

    pub fn pci(&self) -> Result<sys::nvmlPciInfo_t, Code> {
        let (_, gpu) = self.device()?;
        let parts: Vec<u32> = gpu.pci_bus_id.split([':', '.']).map(hex).collect();
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        Ok(sys::nvmlPciInfo_t {
            busIdLegacy: chars(gpu.pci_bus_id.get(4..).unwrap_or_default()),
            domain: part(0),
            bus: part(1),
            device: part(2),
            pciDeviceId: 0x2330_10DE,
            pciSubSystemId: 0x16C1_10DE,
            busId: chars(&gpu.pci_bus_id),
        })
    }

    pub fn energy_mj(&self) -> Result<u64, Code> {
        let (gpu, _) = self.whole()?;
        self.scenario.counter(gpu, self.now_us).ok_or(Code::NOT_SUPPORTED)
    }

    pub fn power_mw(&self) -> Result<u32, Code> {
        let (_, card) = self.whole()?;
        self.power_over(card.power_average_s.us())
    }

    fn power_over(&self, average_us: u64) -> Result<u32, Code> {
        let (gpu, _) = self.whole()?;
        Ok(small(self.scenario.power_mw(gpu, self.now_us, average_us)))
    }

    /// A field by its id; the name is what the journal and faults call it.
    pub fn field(&self, id: u32) -> (&'static str, Result<FieldValue, Code>) {
        use sys::field_id::{
            NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
        };
        let (name, value) = match id {
            NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => {
                ("nvmlDeviceGetFieldValues/83", self.energy_mj().map(FieldValue::Long))
            }
            NVML_FI_DEV_POWER_AVERAGE => {
                ("nvmlDeviceGetFieldValues/185", self.power_over(1_000_000).map(FieldValue::Int))
            }
            NVML_FI_DEV_POWER_INSTANT => {
                ("nvmlDeviceGetFieldValues/186", self.power_over(0).map(FieldValue::Int))
            }
            _ => ("nvmlDeviceGetFieldValues/other", Err(Code::NOT_SUPPORTED)),
        };
        let gpu = self.place.map(|place| place.gpu);
        let strikes = |name| self.scenario.error(Call { name, gpu }, self.now_us);
        (name, strikes(name).or_else(|| strikes(single_call(name))).map_or(value, Err))
    }

    pub fn power_limit_mw(&self) -> Result<u32, Code> {
        Ok(self.whole()?.1.max_watts * 1000)
    }

    pub fn power_limits_mw(&self) -> Result<(u32, u32), Code> {
        let (_, gpu) = self.whole()?;
        Ok((gpu.max_watts.div_ceil(3) * 1000, gpu.max_watts * 1000))
    }

    pub fn rates(&self) -> Result<sys::nvmlUtilization_t, Code> {
        let (gpu, card) = self.whole()?;
        if card.is_in_mig_mode(self.now_us) {
            return Err(Code::NOT_SUPPORTED);
        }
        let (gpu, memory) = self.scenario.rates(gpu, self.now_us);
        Ok(sys::nvmlUtilization_t { gpu, memory })
    }

    pub fn memory(&self) -> Result<Memory, Code> {
        let (_, gpu) = self.device()?;
        let total = self.instance().map_or(gpu.memory_mib, |own| own.memory_mib) * MIB;
        let lists = [Kind::Compute, Kind::Graphics, Kind::Mps].map(|kind| self.held(kind));
        let of_loads: u64 = lists.iter().flat_map(BTreeMap::values).flatten().sum();
        let of_crowd = |crowd: &Crowd| crowd.memory_mib.unwrap_or(0) * u64::from(crowd.count) * MIB;
        let used = of_loads + self.crowds(Kind::Compute).map(of_crowd).sum::<u64>();
        Ok(Memory { total, used: used.min(total) })
    }

    pub fn celsius(&self) -> Result<u32, Code> {
        let (gpu, _) = self.whole()?;
        Ok(30 + self.scenario.rates(gpu, self.now_us).0 / 2)
    }

    pub fn clock_mhz(&self, clock: u32) -> Result<u32, Code> {
        let (gpu, _) = self.whole()?;
        let busy = self.scenario.rates(gpu, self.now_us).0 > 0;
        match clock {
            sys::nvmlClockType_enum_NVML_CLOCK_GRAPHICS | sys::nvmlClockType_enum_NVML_CLOCK_SM => {
                Ok(if busy { 1980 } else { 345 })
            }
            sys::nvmlClockType_enum_NVML_CLOCK_MEM => Ok(2619),
            sys::nvmlClockType_enum_NVML_CLOCK_VIDEO => Ok(1545),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// Memory in bytes by pid and MIG instance, of one list; without the crowds.
    fn held(&self, kind: Kind) -> BTreeMap<(u32, Option<usize>), Option<u64>> {
        let mut held = BTreeMap::new();
        let Some(place) = self.place else { return held };
        for load in self.scenario.loads_on(place.gpu).filter(|load| load.runs_at(self.now_us)) {
            if load.kind == kind && (place.mig.is_none() || place.mig == load.mig) {
                let sum = held.entry((load.pid, load.mig)).or_insert(Some(0));
                *sum = sum.zip(load.memory_mib).map(|(sum, mib)| sum + mib * MIB);
            }
        }
        held
    }

    /// The crowds in one list: they are compute processes of a whole GPU.
    fn crowds(&self, kind: Kind) -> impl Iterator<Item = &Crowd> {
        let gpu =
            self.place.filter(|place| place.mig.is_none() && kind == Kind::Compute).map(|place| place.gpu);
        self.scenario.crowds.iter().filter(move |crowd| gpu.is_some_and(|gpu| crowd.is_at(gpu, self.now_us)))
    }

    pub fn processes(&self, kind: Kind, room: &mut Room) -> Result<Vec<sys::nvmlProcessInfo_t>, Code> {
        let (place, gpu) = self.device()?;
        let hidden = self.scenario.hides_memory(place.gpu, self.now_us);
        let entry = |((pid, mig), memory): ((u32, Option<usize>), Option<u64>)| {
            let instance = mig.and_then(|mig| gpu.mig.get(mig));
            sys::nvmlProcessInfo_t {
                pid,
                usedGpuMemory: memory.filter(|_| !hidden).unwrap_or(u64::MAX),
                gpuInstanceId: instance.map_or(ALL_ONES, |own| own.gpu_instance),
                computeInstanceId: instance.map_or(ALL_ONES, |own| own.compute_instance),
            }
        };
        let (held, crowds) = (self.held(kind), || self.crowds(kind));
        let members = |crowd: &Crowd| {
            let memory = crowd.memory_mib.map(|mib| mib * MIB);
            (crowd.pids_from..crowd.pids_from.saturating_add(crowd.count))
                .map(move |pid| ((pid, None), memory))
        };
        let count = held.len() + crowds().map(|crowd| crowd.count as usize).sum::<usize>();
        self.fit(count, room)?;
        Ok(held.into_iter().chain(crowds().flat_map(members)).map(entry).collect())
    }

    /// Samples newer than a Unix time in µs; their times are Unix times too.
    pub fn samples(&self, last_seen: u64, room: &mut Room) -> Result<Vec<Sample>, Code> {
        let (gpu, card) = self.whole()?;
        if card.is_in_mig_mode(self.now_us) {
            return Err(Code::NOT_SUPPORTED);
        }
        let after = last_seen.saturating_sub(self.unix_epoch_us);
        let mut samples = self.scenario.utilization(gpu, after, self.now_us);
        for sample in &mut samples {
            sample.at_us += self.unix_epoch_us;
        }
        if self.scenario.has_garbage(gpu, self.now_us) {
            self.spoil(last_seen, &mut samples);
        }
        if samples.is_empty() {
            return Err(Code::NOT_FOUND);
        }
        self.fit(samples.len(), room)?;
        Ok(samples)
    }

    /// Puts samples nobody should believe before and after the true ones.
    fn spoil(&self, last_seen: u64, samples: &mut Vec<Sample>) {
        let now = self.unix_epoch_us + self.now_us;
        let running = samples.first().map_or(1, |sample| sample.pid);
        let fake = |pid, at_us, sm| Sample { pid, at_us, sm, ..Sample::default() };
        samples.insert(0, fake(0, now, 80));
        samples.insert(0, fake(running, now, 4_000_000_000));
        samples.push(fake(UNKNOWN_PID, now + HOUR_US, 30));
        if last_seen > 0 {
            samples.push(fake(running, last_seen.saturating_sub(1_000_000), 99));
        }
    }

    /// Whether a list of so many entries fits.
    fn fit(&self, count: usize, room: &mut Room) -> Result<(), Code> {
        let growth = self.place.map_or(0, |place| self.scenario.list_growth(place.gpu, self.now_us));
        let grown = if room.capacity == 0 || count == 0 { count } else { count + growth };
        let fits = grown <= room.capacity;
        room.needed = if fits { count } else { grown };
        if fits { Ok(()) } else { Err(Code::INSUFFICIENT_SIZE) }
    }

    pub fn persistence(&self) -> Result<u32, Code> {
        let (_, gpu) = self.whole()?;
        let [off, on] =
            [sys::nvmlEnableState_enum_NVML_FEATURE_DISABLED, sys::nvmlEnableState_enum_NVML_FEATURE_ENABLED];
        Ok(if gpu.persistence { on } else { off })
    }

    pub fn count(&self) -> Result<u32, Code> {
        Ok(small(self.present().len()))
    }
}

/// The function that reads the same as a field, so that a fault of the reading strikes both.
fn single_call(field: &'static str) -> &'static str {
    match field {
        "nvmlDeviceGetFieldValues/83" => "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetFieldValues/185" | "nvmlDeviceGetFieldValues/186" => "nvmlDeviceGetPowerUsage",
        other => other,
    }
}

pub(crate) fn small(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}

fn hex(text: &str) -> u32 {
    u32::from_str_radix(text, 16).unwrap_or_default()
}

/// ASCII with a final NUL, cut to fit.
fn chars<const N: usize>(text: &str) -> [std::ffi::c_char; N] {
    let mut chars = [0; N];
    for (to, from) in chars.iter_mut().zip(text.bytes()).take(N - 1) {
        *to = from.cast_signed();
    }
    chars
}
