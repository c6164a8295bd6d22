//! Energy and power of a GPU: counter, mean and momentary power in one call where the driver can, else one by one.
//!
//! The fields are asked in the scope of the GPU. On Grace-Hopper that may be missing; the scope of the module, which
//! includes the CPU, is nobody's GPU energy and is not asked.

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
};
use wattribute::meter::Counter;
use wattribute::units::{Millijoules, Milliwatts};

use super::answers::{Answer, Log, is_permanent};

const FIELDS: &str = "nvmlDeviceGetFieldValues";
/// The fields, each with the name under which the log remembers that a GPU does not have it.
const ENERGY: (u32, &str) = (NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "nvmlDeviceGetFieldValues/83");
const AVERAGE: (u32, &str) = (NVML_FI_DEV_POWER_AVERAGE, "nvmlDeviceGetFieldValues/185");
const INSTANT: (u32, &str) = (NVML_FI_DEV_POWER_INSTANT, "nvmlDeviceGetFieldValues/186");

/// What a GPU has used, and draws.
pub struct Energy {
    pub counter: Counter,
    /// Mean power of the last second where the driver has it, else the momentary one.
    pub power: Option<Milliwatts>,
    /// The momentary power where the driver has it, else the mean.
    pub power_now: Option<Milliwatts>,
}

/// Where a GPU's counter is read. The field and the call need not agree at every moment, and a step from one to the
/// other would look like energy, or like a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterSource {
    /// By the call, unless the field answers.
    #[default]
    Open,
    /// By the field, which has answered.
    Field,
}

impl CounterSource {
    /// What the field says of the counter; `None` where the call is to be asked.
    fn by_field(&mut self, energy: Option<u64>) -> Option<Counter> {
        match energy {
            // Zero may be a field that the driver has and does not fill.
            Some(0) => None,
            Some(value) => {
                *self = Self::Field;
                Some(Counter::Value(Millijoules(value)))
            }
            None => (*self == Self::Field).then_some(Counter::Failed),
        }
    }
}

impl Energy {
    /// Asks a GPU.
    pub fn read(device: &Device<'_>, log: &mut Log, source: &mut CounterSource) -> Self {
        let [energy, average, instant] = fields(device, log);
        if [FIELDS, ENERGY.1].into_iter().any(|name| log.is_unsupported(name)) {
            *source = CounterSource::Open;
        }
        let counter = source.by_field(energy).unwrap_or_else(|| counter(device, log));
        let [average, instant] = [average, instant].map(|power| power.map(Milliwatts));
        let single = if average.or(instant).is_none() { power(device, log) } else { None };
        let power = average.or(instant).or(single);
        Self { counter, power, power_now: instant.or(power) }
    }
}

/// The three fields that the GPU has; none where the call fails.
fn fields(device: &Device<'_>, log: &mut Log) -> [Option<u64>; 3] {
    let mut values = [None; 3];
    let all = [ENERGY, AVERAGE, INSTANT];
    let wanted: Vec<usize> = (0..all.len()).filter(|&index| !log.is_unsupported(all[index].1)).collect();
    if wanted.is_empty() {
        return values;
    }
    let ids: Vec<FieldId> = wanted.iter().map(|&index| FieldId(all[index].0)).collect();
    let Answer::Value(answers) = log.call(FIELDS, || device.field_values_for(&ids)) else { return values };
    for (index, answer) in wanted.into_iter().zip(answers) {
        match answer.and_then(|sample| sample.value) {
            Ok(value) => values[index] = number(&value),
            // To a driver that does not know a field, its number is an invalid argument.
            Err(error) if is_permanent(&error) || matches!(error, NvmlError::InvalidArg) => {
                log.give_up(all[index].1);
            }
            Err(_) => {}
        }
    }
    values
}

fn number(value: &SampleValue) -> Option<u64> {
    match value {
        SampleValue::U32(value) => Some((*value).into()),
        SampleValue::U64(value) => Some(*value),
        _ => None,
    }
}

fn counter(device: &Device<'_>, log: &mut Log) -> Counter {
    match log.call("nvmlDeviceGetTotalEnergyConsumption", || device.total_energy_consumption()) {
        Answer::Value(value) => Counter::Value(Millijoules(value)),
        Answer::Unsupported => Counter::Unsupported,
        Answer::Failed => Counter::Failed,
    }
}

fn power(device: &Device<'_>, log: &mut Log) -> Option<Milliwatts> {
    let power = log.call("nvmlDeviceGetPowerUsage", || device.power_usage()).value();
    power.map(|milliwatts| Milliwatts(milliwatts.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_has_answered_is_not_replaced_for_a_tick() {
        let mut source = CounterSource::default();
        let value = |value| Some(Counter::Value(Millijoules(value)));
        let answers = [None, Some(0), Some(5), None, Some(7)].map(|energy| source.by_field(energy));
        assert_eq!(answers, [None, None, value(5), Some(Counter::Failed), value(7)]);
    }
}
