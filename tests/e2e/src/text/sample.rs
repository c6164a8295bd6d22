//! One line with a value, and that value exactly.

use std::collections::BTreeMap;

/// One sample of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The name as written, with any suffix.
    pub name: String,
    /// Label names and values, unescaped.
    pub labels: BTreeMap<String, String>,
    /// The value as written.
    pub value: String,
    /// The timestamp as written: ms in the classic format, s in OpenMetrics.
    pub timestamp: Option<String>,
}

impl Sample {
    /// Whether it has all these labels.
    #[must_use]
    pub fn carries(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|own| own == value))
    }

    /// The value as a float.
    #[must_use]
    pub fn number(&self) -> f64 {
        self.value.parse().unwrap_or(f64::NAN)
    }

    /// The value in thousandths, for joules; `None` where it is not a whole number of them. No float is involved.
    #[must_use]
    pub fn millijoules(&self) -> Option<u64> {
        thousandths(&self.value)
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // The value is `digits` × 10 ^ shift, in thousandths.
    let shift = exponent.parse::<i64>().ok()? + 3 - i64::try_from(fraction.len()).ok()?;
    if shift >= 0 {
        let factor = 10_u64.checked_pow(u32::try_from(shift).ok()?);
        let digits: u64 = digits.parse().ok()?;
        return if digits == 0 { Some(0) } else { digits.checked_mul(factor?) };
    }
    let cut = digits.len().checked_sub(usize::try_from(-shift).ok()?);
    let (kept, lost) = cut.map_or(("0", digits.as_str()), |cut| digits.split_at(cut));
    let exact = lost.bytes().all(|digit| digit == b'0');
    if exact { if kept.is_empty() { Some(0) } else { kept.parse().ok() } } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<u64>) {
        assert_eq!(thousandths(text), want, "{text}");
    }

    #[test]
    fn whole_millijoules_are_exact() {
        check("0", Some(0));
        check("0.0", Some(0));
        check("1", Some(1000));
        check("1.5", Some(1500));
        check("0.042", Some(42));
        check("4398046511103.999", Some(4_398_046_511_103_999));
        check("9007199254740.993", Some(9_007_199_254_740_993));
        check("18446744073709551.615", Some(u64::MAX));
    }

    #[test]
    fn exponents_are_exact_too() {
        check("1.5e+06", Some(1_500_000_000));
        check("4.2e-02", Some(42));
        check("1e-3", Some(1));
        check("100e-5", Some(1));
        check("0e99", Some(0));
    }

    #[test]
    fn anything_else_is_none() {
        check("0.0421", None);
        check("1e-4", None);
        check("-1", None);
        check("+Inf", None);
        check("NaN", None);
        check("", None);
        check(".", None);
        check("18446744073709551.616", None);
    }
}
