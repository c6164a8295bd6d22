//! Exact decimals: whole millionths, never a float.

use std::fmt;

/// Millionths: of the currency, of a gram, of one where it is a ratio. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// 1.
    pub const ONE: Self = Self(1_000_000);

    /// Reads `0.31`: at most twelve digits before the point and six after it, no sign, no exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 12) || !digits(part, 6) {
            return None;
        }
        format!("{whole}{part:0<6}").parse().ok().map(Self)
    }
}

impl fmt::Display for Micros {
    /// As short as it can be exact: `0.31`, `12000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(u64, &str)>) {
        let got = Micros::parse(text).map(|micros| (micros.0, micros.to_string()));
        assert_eq!(got, want.map(|(micros, shown)| (micros, shown.to_owned())));
    }

    #[test]
    fn decimals_are_kept_as_written() {
        check("0.31", Some((310_000, "0.31")));
        check("12000", Some((12_000_000_000, "12000")));
        check("10.50", Some((10_500_000, "10.5")));
        check("0.000001", Some((1, "0.000001")));
        check("0", Some((0, "0")));
        check("007.5", Some((7_500_000, "7.5")));
        check("999999999999.999999", Some((999_999_999_999_999_999, "999999999999.999999")));
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for wrong in
            ["", "-1", "+1", "1e3", "1.", ".5", "1,5", "1 000", "0.0000001", "1000000000000", "NaN", "١"]
        {
            check(wrong, None);
        }
    }
}
