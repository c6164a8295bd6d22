//! The sums of a report: exact, by GPU, where it was, and owner. Money is kept as whole numbers of a very small unit, and
//! rounded by nobody here. Pure.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use super::quantity::{Kind, Owner, Quantity, Target};

/// What things cost in an hour; `None` where there is no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Millionths of the currency per kilowatt-hour.
    pub electricity: Option<u64>,
    /// Energy of the building per energy of the machines, in millionths.
    pub pue: u64,
    /// Millionths of a gram of carbon dioxide per kilowatt-hour.
    pub carbon: Option<u64>,
    /// Millionths of the currency per hour that a GPU is held.
    pub hardware: Option<u64>,
}

/// Millijoules in a kilowatt-hour, and microseconds in an hour.
const PER_KWH: u128 = 3_600_000_000;
const MILLIONTHS: u128 = 1_000_000;

/// How many units of [`Sums::electricity`] are one of the currency.
pub const ELECTRICITY: u128 = PER_KWH * MILLIONTHS * MILLIONTHS;
/// How many units of [`Sums::hardware`] are one of the currency.
pub const HARDWARE: u128 = PER_KWH * MILLIONTHS;
/// How many units of [`Sums::carbon`] are a gram.
pub const CARBON: u128 = PER_KWH * MILLIONTHS * MILLIONTHS;

/// Everything that is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Energy in which the GPU worked, in millijoules.
    pub active_mj: u64,
    /// Energy in which it did not, in millijoules.
    pub idle_mj: u64,
    /// The part of both that an estimate divided, in millijoules.
    pub estimated_mj: u64,
    /// Time held, in microseconds.
    pub held_us: u64,
    /// Time busy, in microseconds.
    pub busy_us: u64,
    /// Cost of the energy; [`ELECTRICITY`].
    pub electricity: u128,
    /// The part of it for idleness; [`ELECTRICITY`].
    pub idle_electricity: u128,
    /// Cost of the time held; [`HARDWARE`].
    pub hardware: u128,
    /// Carbon dioxide; [`CARBON`].
    pub carbon: u128,
    /// Energy that had no price, in millijoules.
    pub unpriced_mj: u64,
    /// Energy of which the carbon dioxide is not known, in millijoules.
    pub unmetered_mj: u64,
    /// Time held that had no price, in microseconds.
    pub unpriced_us: u64,
}

impl Sums {
    /// What a gain comes to at these rates.
    pub fn of(quantity: Quantity, kind: Option<Kind>, gain: u64, rates: Rates) -> Self {
        let wide = u128::from(gain);
        let mut sums = Self::default();
        match quantity {
            Quantity::Device => {}
            Quantity::Estimated => sums.estimated_mj = gain,
            Quantity::Busy => sums.busy_us = gain,
            Quantity::Held => {
                sums.held_us = gain;
                match rates.hardware {
                    Some(rate) => sums.hardware = wide * u128::from(rate),
                    None => sums.unpriced_us = gain,
                }
            }
            Quantity::Energy => {
                let with_building = wide * u128::from(rates.pue);
                match rates.electricity {
                    Some(price) => sums.electricity = with_building * u128::from(price),
                    None => sums.unpriced_mj = gain,
                }
                match rates.carbon {
                    Some(factor) => sums.carbon = with_building * u128::from(factor),
                    None => sums.unmetered_mj = gain,
                }
                if kind == Some(Kind::Idle) {
                    (sums.idle_mj, sums.idle_electricity) = (gain, sums.electricity);
                } else {
                    sums.active_mj = gain;
                }
            }
        }
        sums
    }

    /// Active and idle energy, in millijoules.
    pub fn energy_mj(&self) -> u64 {
        self.active_mj + self.idle_mj
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.active_mj += other.active_mj;
        self.idle_mj += other.idle_mj;
        self.estimated_mj += other.estimated_mj;
        self.held_us += other.held_us;
        self.busy_us += other.busy_us;
        self.electricity += other.electricity;
        self.idle_electricity += other.idle_electricity;
        self.hardware += other.hardware;
        self.carbon += other.carbon;
        self.unpriced_mj += other.unpriced_mj;
        self.unmetered_mj += other.unmetered_mj;
        self.unpriced_us += other.unpriced_us;
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// What one owner has of one GPU at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Who.
    pub owner: Arc<Owner>,
    /// Which GPU.
    pub uuid: Arc<str>,
    /// Where it was.
    pub target: Arc<Target>,
}

/// The sums of a period.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By owner, GPU and place.
    pub cells: BTreeMap<Cell, Sums>,
    /// By the first second of the calendar day, and team.
    pub days: BTreeMap<(String, String), Sums>,
    /// By the first second of the hour, GPU and owner, where that was asked for.
    pub hours: BTreeMap<(i64, Arc<str>, Arc<Owner>), Sums>,
}

impl Tally {
    /// Adds what a cell gained in an hour of this calendar day.
    pub fn add(&mut self, cell: Cell, day: &str, sums: Sums) {
        *self.days.entry((day.to_owned(), cell.owner.team().to_owned())).or_default() += sums;
        *self.cells.entry(cell).or_default() += sums;
    }

    /// Everything.
    pub fn total(&self) -> Sums {
        self.cells.values().copied().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates {
        electricity: Some(250_000),
        pue: 1_200_000,
        carbon: Some(400_000_000),
        hardware: Some(2_000_000),
    };

    #[test]
    fn a_kilowatt_hour_costs_its_price_times_the_building() {
        let sums = Sums::of(Quantity::Energy, Some(Kind::Active), 3_600_000_000, RATES);
        assert_eq!(sums.electricity * 100, 30 * ELECTRICITY); // 0.25 × 1.2
        assert_eq!(sums.carbon, 480 * CARBON);
        assert_eq!((sums.active_mj, sums.idle_mj, sums.idle_electricity), (3_600_000_000, 0, 0));
    }

    #[test]
    fn idleness_is_kept_apart_and_costs_the_same() {
        let sums = Sums::of(Quantity::Energy, Some(Kind::Idle), 7200, RATES);
        assert_eq!((sums.active_mj, sums.idle_mj), (0, 7200));
        assert!(sums.electricity > 0 && sums.idle_electricity == sums.electricity);
    }

    #[test]
    fn an_hour_held_costs_its_rate() {
        assert_eq!(Sums::of(Quantity::Held, None, 1_800_000_000, RATES).hardware, HARDWARE);
    }

    #[test]
    fn what_has_no_price_is_counted_and_not_free() {
        let sums = Sums::of(Quantity::Energy, Some(Kind::Active), 5, Rates::default());
        assert_eq!((sums.unpriced_mj, sums.unmetered_mj, sums.electricity), (5, 5, 0));
        assert_eq!(Sums::of(Quantity::Held, None, 7, Rates::default()).unpriced_us, 7);
    }

    #[test]
    fn a_decade_of_a_large_site_fits() {
        // 100 MW for ten years at 10 per kWh.
        let sums = Sums::of(
            Quantity::Energy,
            Some(Kind::Active),
            u64::MAX / 2,
            Rates { electricity: Some(10_000_000), pue: 2_000_000, ..RATES },
        );
        assert!(sums.electricity > 0);
    }
}
