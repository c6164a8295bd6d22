//! Divides a whole number in proportion to weights, by largest remainder.

use std::cmp::Reverse;

/// Parts of `total` in proportion to `weights`, one for each, which sum to `total` exactly. What integer
/// division leaves over goes, one by one, to the largest remainders; of equal ones the first comes first, so
/// callers put the weights in an order of their own that does not depend on chance.
///
/// `None` where all weights are zero: there is nothing to go by.
///
/// ```
/// use wattribute::split::apportion;
/// assert_eq!(apportion(1000, &[1, 1, 1]), Some(vec![334, 333, 333]));
/// assert_eq!(apportion(1000, &[0, 0]), None);
/// ```
#[must_use]
pub fn apportion(total: u64, weights: &[u128]) -> Option<Vec<u64>> {
    let weights = fitted(weights);
    let sum: u128 = weights.iter().sum();
    if sum == 0 {
        return None;
    }
    let total_wide = u128::from(total);
    let mut parts: Vec<u64> = Vec::with_capacity(weights.len());
    let mut remainders: Vec<(Reverse<u128>, usize)> = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = total_wide * weight;
        let part = product / sum;
        parts.push(narrow(part));
        remainders.push((Reverse(product - part * sum), index));
    }
    // Fewer than there are weights, for each remainder is less than one.
    let left = usize::try_from(total - parts.iter().sum::<u64>()).unwrap_or(usize::MAX);
    if left > 0 {
        remainders.sort_unstable();
        remainders.iter().take(left).for_each(|(_, index)| parts[*index] += 1);
    }
    Some(parts)
}

/// The weights, halved together until their sum times any `u64` fits in 128 bits; none that counts becomes zero.
fn fitted(weights: &[u128]) -> Vec<u128> {
    let largest = weights.iter().copied().max().unwrap_or_default();
    let count_bits = usize::BITS - weights.len().leading_zeros();
    let shift = (u128::BITS - largest.leading_zeros() + count_bits).saturating_sub(63);
    weights.iter().map(|&weight| if weight == 0 { 0 } else { (weight >> shift).max(1) }).collect()
}

fn narrow(part: u128) -> u64 {
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(total: u64, weights: &[u128], want: &[u64]) {
        assert_eq!(apportion(total, weights).as_deref(), Some(want));
    }

    #[test]
    fn remainders_go_to_the_largest_first() {
        check(10, &[1, 1, 1], &[4, 3, 3]);
        check(10, &[2, 3, 5], &[2, 3, 5]);
        check(7, &[1, 2], &[2, 5]);
        check(1, &[1, 1, 2], &[0, 0, 1]);
    }

    #[test]
    fn a_single_payer_pays_all() {
        check(u64::MAX, &[u128::MAX], &[u64::MAX]);
        check(5, &[0, 9, 0], &[0, 5, 0]);
    }

    #[test]
    fn seven_equal_shares_lose_nothing_in_a_million_intervals() {
        let parts = apportion(1_000_000, &[10; 7]).unwrap();
        assert_eq!(parts.iter().sum::<u64>() * 1_000_000, 1_000_000 * 1_000_000);
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_whole(
            total: u64,
            weights in prop::collection::vec(prop_oneof![Just(0), 0..1000_u128, any::<u128>()], 1..40),
        ) {
            match apportion(total, &weights) {
                Some(parts) => prop_assert_eq!(parts.iter().map(|&part| u128::from(part)).sum::<u128>(), u128::from(total)),
                None => prop_assert!(weights.iter().all(|&weight| weight == 0)),
            }
        }

        #[test]
        fn each_part_is_within_one_of_its_share(total in 0..1_000_000_u64, weights in prop::collection::vec(0..1000_u128, 1..20)) {
            let sum: u128 = weights.iter().sum();
            if let Some(parts) = apportion(total, &weights) {
                for (part, weight) in parts.iter().zip(&weights) {
                    let floor = u128::from(total) * weight / sum;
                    prop_assert!(u128::from(*part) == floor || u128::from(*part) == floor + 1);
                    prop_assert!(*weight > 0 || *part == 0);
                }
            }
        }
    }
}
