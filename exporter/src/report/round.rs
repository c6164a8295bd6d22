//! Exact sums of money become whole cents, once, at the end: so that the parts of a sum add up to it. Pure.

/// The nearest whole number of `unit`s, halves up.
pub fn nearest(exact: u128, unit: u128) -> u64 {
    u64::try_from((exact + unit / 2) / unit).unwrap_or(u64::MAX)
}

/// Whole numbers of `unit`s for the parts of a sum, which add up to `whole`: that is the sum, rounded. Each is what it is
/// exactly, less a fraction or filled up to the next; filled up are those with the largest fractions, of equal ones the
/// first.
pub fn parts(exact: &[u128], unit: u128, whole: u64) -> Vec<u64> {
    let mut parts: Vec<u64> =
        exact.iter().map(|part| u64::try_from(part / unit).unwrap_or(u64::MAX)).collect();
    let left = whole.saturating_sub(parts.iter().sum());
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(exact[index] % unit));
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_up() {
        assert_eq!([nearest(14, 10), nearest(15, 10), nearest(0, 10)], [1, 2, 0]);
    }

    #[test]
    fn the_largest_fractions_are_filled_up() {
        assert_eq!(parts(&[33, 33, 34], 10, 10), [3, 3, 4]);
        assert_eq!(parts(&[5, 5], 10, 1), [1, 0]);
        assert_eq!(parts(&[14, 14, 14], 10, 4), [2, 1, 1]);
        assert_eq!(parts(&[20, 30], 10, 5), [2, 3]);
    }

    proptest! {
        #[test]
        fn parts_of_parts_add_up(groups in prop::collection::vec(prop::collection::vec(0u128..100_000, 1..6), 1..6)) {
            let unit = 1000;
            let sums: Vec<u128> = groups.iter().map(|group| group.iter().sum()).collect();
            let whole = nearest(sums.iter().sum(), unit);
            let teams = parts(&sums, unit, whole);
            prop_assert_eq!(teams.iter().sum::<u64>(), whole);
            for (group, team) in groups.iter().zip(&teams) {
                let lines = parts(group, unit, *team);
                prop_assert_eq!(lines.iter().sum::<u64>(), *team);
                for (line, exact) in lines.iter().zip(group) {
                    prop_assert!(u128::from(*line) * unit < exact + unit && u128::from(*line) * unit + unit > *exact);
                }
            }
        }
    }
}
