//! Quantities as types: whole millijoules, whole microseconds, milliwatts, bytes. No float is ever summed.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);

            /// The difference, or zero where `other` is larger.
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, Add::add)
            }
        }
    };
}

quantity! {
    /// Energy in thousandths of a joule, the unit of the hardware counter.
    Millijoules
}
quantity! {
    /// Time in millionths of a second: a length, or a moment of a monotonic clock.
    Microseconds
}
quantity! {
    /// Power in thousandths of a watt.
    Milliwatts
}

impl Microseconds {
    /// One second.
    pub const SECOND: Self = Self(1_000_000);
}

impl Millijoules {
    /// In joules, for display and exposition only. Prints as the exact decimal up to 2⁴² J.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; the ledger keeps the integer")]
    pub fn as_joules(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl Microseconds {
    /// In seconds, for display and exposition only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; the ledger keeps the integer")]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Milliwatts {
    /// In watts, for display and exposition only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; the ledger keeps the integer")]
    pub fn as_watts(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl fmt::Display for Millijoules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} J", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_prints_as_joules() {
        assert_eq!(Millijoules(1_500_042).to_string(), "1500.042 J");
    }

    #[test]
    fn joules_of_a_large_counter_print_exactly() {
        assert_eq!(Millijoules(4_398_046_511_103_999).as_joules().to_string(), "4398046511103.999");
    }
}
