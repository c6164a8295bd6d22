//! What a kilowatt-hour costs in each hour of the week.

use super::calendar::WeekHour;
use super::micros::Micros;

/// Hours of a week, by the local clock.
pub const WEEK: usize = 7 * 24;

/// The price of a kilowatt-hour for each hour of the week; hour 0 is Monday's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff([Micros; WEEK]);

/// Days that have the same hours: what a price is in force in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Bit 0 is Monday.
    pub days: u8,
    /// Bit 0 is the hour after midnight.
    pub hours: u32,
}

impl Band {
    /// All days.
    pub const EVERY_DAY: u8 = (1 << 7) - 1;
    /// All hours.
    pub const EVERY_HOUR: u32 = (1 << 24) - 1;

    /// The hours of the week in it.
    pub fn week_hours(self) -> impl Iterator<Item = WeekHour> {
        let hours = (0..WEEK).map(|index| WeekHour { day: index / 24, hour: index % 24 });
        hours.filter(move |at| self.days >> at.day & 1 == 1 && self.hours >> at.hour & 1 == 1)
    }
}

impl Tariff {
    /// A price for each hour of the week.
    pub fn new(week: [Micros; WEEK]) -> Self {
        Self(week)
    }

    /// One price at all hours.
    pub fn flat(price: Micros) -> Self {
        Self([price; WEEK])
    }

    /// The price of this hour.
    pub fn at(&self, at: WeekHour) -> Micros {
        self.0[at.day * 24 + at.hour]
    }

    /// The prices in the order of the week, each with the bands it is in force in. The bands do not overlap.
    pub fn bands(&self) -> Vec<(Micros, Vec<Band>)> {
        let mut prices: Vec<Micros> = Vec::new();
        for price in self.0 {
            if !prices.contains(&price) {
                prices.push(price);
            }
        }
        prices.into_iter().map(|price| (price, self.bands_of(price))).collect()
    }

    /// Days with the same hours at this price become one band.
    fn bands_of(&self, price: Micros) -> Vec<Band> {
        let mut bands: Vec<Band> = Vec::new();
        for (day, prices) in self.0.chunks(24).enumerate() {
            let hours = prices.iter().rev().fold(0, |bits, one| bits << 1 | u32::from(*one == price));
            match bands.iter_mut().find(|band| band.hours == hours) {
                Some(band) => band.days |= 1 << day,
                None if hours != 0 => bands.push(Band { days: 1 << day, hours }),
                None => {}
            }
        }
        bands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_tariff_is_one_band() {
        let tariff = Tariff::flat(Micros(5));
        let always = Band { days: Band::EVERY_DAY, hours: Band::EVERY_HOUR };
        assert_eq!(tariff.bands(), [(Micros(5), vec![always])]);
        assert_eq!(tariff.at(WeekHour { day: 6, hour: 23 }), Micros(5));
    }

    #[test]
    fn bands_are_the_hours_of_a_price_by_days() {
        let mut week = [Micros(2); WEEK];
        let peak = Band { days: 0b1_1111, hours: 0x3f_ffc0 };
        peak.week_hours().for_each(|at| week[at.day * 24 + at.hour] = Micros(3));
        let night = Band { days: 0b1_1111, hours: 0xc0_003f };
        let weekend = Band { days: 0b110_0000, hours: Band::EVERY_HOUR };
        assert_eq!(Tariff::new(week).bands(), [(Micros(2), vec![night, weekend]), (Micros(3), vec![peak])]);
    }
}
