//! From the samples of a counter to what it gained: exact, with resets. Pure.
//!
//! A fall is a restart from zero. What a counter gained between two samples belongs to the hour of the later one, so
//! that nothing between two hours, or two reports, is lost or counted twice.

/// Where a counter began, when nothing was seen of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The exporter of this GPU was seen before the series was: it began at zero since then.
    Seen,
    /// Nothing was seen of the GPU before: what the counter held at first is of another time.
    Unseen,
}

/// What is remembered of a counter from one piece to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// The last value, in the smallest unit; `None` before the first.
    pub last: Option<u64>,
}

/// What a counter gained in a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gain {
    /// The value that it is counted from.
    pub base: u64,
    /// The last value.
    pub last: u64,
    /// How often it fell.
    pub resets: u64,
    /// How much it gained.
    pub gain: u64,
    /// What it held when it was first seen, and that is not counted.
    pub unbilled: u64,
    /// How many samples there are.
    pub samples: u64,
}

impl Counter {
    /// Takes the next samples, in the order of time. `None` without samples.
    pub fn advance(&mut self, values: impl IntoIterator<Item = u64>, birth: Birth) -> Option<Gain> {
        let mut values = values.into_iter().peekable();
        let first = *values.peek()?;
        let base = self.last.unwrap_or(match birth {
            Birth::Seen => 0,
            Birth::Unseen => first,
        });
        let unbilled = if self.last.is_none() && birth == Birth::Unseen { first } else { 0 };
        let mut gain = Gain { base, last: base, unbilled, ..Gain::default() };
        for value in values {
            if value < gain.last {
                gain.resets += 1;
                gain.gain += value;
            } else {
                gain.gain += value - gain.last;
            }
            gain.last = value;
            gain.samples += 1;
        }
        self.last = Some(gain.last);
        Some(gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: Option<u64>, values: &[u64], birth: Birth, want: (u64, u64, u64)) {
        let gain = Counter { last: before }.advance(values.iter().copied(), birth).unwrap();
        assert_eq!((gain.gain, gain.resets, gain.unbilled), want);
    }

    #[test]
    fn a_counter_gains_what_it_grows() {
        check(Some(10), &[10, 15, 40], Birth::Unseen, (30, 0, 0));
        check(Some(10), &[10], Birth::Unseen, (0, 0, 0));
    }

    #[test]
    fn a_fall_counts_from_zero() {
        check(Some(100), &[120, 5, 9, 3], Birth::Seen, (20 + 5 + 4 + 3, 2, 0));
        check(Some(100), &[0, 0, 7], Birth::Seen, (7, 1, 0));
    }

    #[test]
    fn a_series_on_a_known_gpu_began_at_zero() {
        check(None, &[5, 8], Birth::Seen, (8, 0, 0));
    }

    #[test]
    fn what_a_counter_held_before_anybody_looked_is_not_billed() {
        check(None, &[500, 508], Birth::Unseen, (8, 0, 500));
    }

    #[test]
    fn pieces_add_up_to_the_whole() {
        let values = [3, 9, 9, 2, 2, 30, 1, 4];
        let whole = Counter { last: Some(1) }.advance(values, Birth::Seen).unwrap().gain;
        for cut in 0..values.len() {
            let mut counter = Counter { last: Some(1) };
            let parts = [&values[..cut], &values[cut..]]
                .map(|part| counter.advance(part.iter().copied(), Birth::Seen));
            assert_eq!(parts.iter().flatten().map(|gain| gain.gain).sum::<u64>(), whole, "{cut}");
        }
    }

    #[test]
    fn no_samples_are_no_gain() {
        assert_eq!(Counter::default().advance([], Birth::Seen), None);
    }
}
