//! Amounts of money in the smallest unit of their currency: cents, yen, fils. Pure.

use serde::{Serialize, Serializer};

/// Currencies without a smaller unit, by ISO 4217.
const WHOLE: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
/// Those of a thousand smaller units.
const THOUSANDS: &str = "BHD IQD JOD KWD LYD OMR TND";
/// Those of ten thousand.
const TEN_THOUSANDS: &str = "CLF UYW";

/// How many digits amounts of a currency have after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor(u32);

impl Minor {
    /// Of a currency, by its code; two where nothing else is known of it.
    pub fn of(currency: &str) -> Self {
        let is_in = |list: &str| list.split(' ').any(|code| code == currency);
        match currency {
            _ if is_in(WHOLE) => Self(0),
            _ if is_in(THOUSANDS) => Self(3),
            _ if is_in(TEN_THOUSANDS) => Self(4),
            _ => Self(2),
        }
    }

    /// How many of the smallest unit are one of the currency.
    pub fn per_one(self) -> u64 {
        10_u64.pow(self.0)
    }
}

/// An amount of money. Shown as a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// In the smallest unit.
    pub units: u64,
    /// What that is.
    pub minor: Minor,
}

impl Amount {
    /// In millionths of the currency.
    pub fn micros(self) -> i128 {
        i128::from(self.units) * i128::from(1_000_000 / self.minor.per_one())
    }

    /// What stands before the point, and the point with what stands behind it.
    pub fn parts(self) -> (String, String) {
        let one = self.minor.per_one();
        let fraction = match self.minor.0 {
            0 => String::new(),
            digits => format!(".{:0width$}", self.units % one, width = digits as usize),
        };
        ((self.units / one).to_string(), fraction)
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, fraction) = self.parts();
        write!(f, "{whole}{fraction}")
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(currency: &str, units: u64, want: &str, micros: i128) {
        let amount = Amount { units, minor: Minor::of(currency) };
        assert_eq!((amount.to_string().as_str(), amount.micros()), (want, micros));
    }

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        check("EUR", 123_456, "1234.56", 1_234_560_000);
        check("USD", 5, "0.05", 50_000);
        check("JPY", 1234, "1234", 1_234_000_000);
        check("KWD", 1_234_005, "1234.005", 1_234_005_000);
        check("UYW", 10_001, "1.0001", 1_000_100);
    }
}
