//! The readings that are shown as they are, as a capture has them.

use serde::{Deserialize, Serialize};
use wattribute::units::Milliwatts;

use crate::sample::Gauges;

/// [`Gauges`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaugesLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_mw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm_clock_megahertz: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_clock_megahertz: Option<u32>,
}

impl From<Gauges> for GaugesLine {
    fn from(gauges: Gauges) -> Self {
        Self {
            power_mw: gauges.power.map(|power| power.0),
            utilization: gauges.utilization,
            memory_used: gauges.memory_used,
            memory_total: gauges.memory_total,
            power_limit_mw: gauges.power_limit.map(|power| power.0),
            temperature_celsius: gauges.temperature_celsius,
            sm_clock_megahertz: gauges.sm_clock_megahertz,
            memory_clock_megahertz: gauges.memory_clock_megahertz,
        }
    }
}

impl From<GaugesLine> for Gauges {
    fn from(line: GaugesLine) -> Self {
        Self {
            power: line.power_mw.map(Milliwatts),
            utilization: line.utilization,
            memory_used: line.memory_used,
            memory_total: line.memory_total,
            power_limit: line.power_limit_mw.map(Milliwatts),
            temperature_celsius: line.temperature_celsius,
            sm_clock_megahertz: line.sm_clock_megahertz,
            memory_clock_megahertz: line.memory_clock_megahertz,
        }
    }
}
