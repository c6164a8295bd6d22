//! When nobody scraped a GPU: the time between two samples that is much longer than usual. Pure.

/// From how many times the usual spacing on it is a gap, in halves.
const GAP_HALVES: i64 = 5;

/// A time without samples, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last sample before it, or the beginning of the period.
    pub from: i64,
    /// The first sample after it, or the end of the period.
    pub until: i64,
    /// Where in the life of the counter it is.
    pub place: Place,
    /// What the counter of the GPU gained over it, in millijoules.
    pub energy_mj: u64,
}

/// Where a gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first sample ever.
    Before,
    /// Between two samples.
    Between,
    /// Between two samples, and the counter began anew: what it counted after the first of them is lost.
    Reset,
    /// After the last sample.
    After,
}

/// What is remembered of a GPU's samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    last: Option<(i64, u64)>,
    usual: Option<i64>,
}

impl Pulse {
    /// One whose last sample before the period is known.
    pub fn after(last: Option<(i64, u64)>) -> Self {
        Self { last, usual: None }
    }

    /// Takes the samples of a piece, times and whole millijoules; `begin` is where the period begins.
    pub fn advance(&mut self, samples: &[(i64, u64)], begin: i64) -> Vec<Gap> {
        let mut spacings: Vec<i64> = samples.windows(2).map(|two| two[1].0 - two[0].0).collect();
        spacings.sort_unstable();
        match (spacings.len(), self.usual) {
            (0, _) | (1..4, Some(_)) => {}
            (1..4, None) => self.usual = spacings.first().copied(),
            (count, _) => self.usual = Some(spacings[count / 2]),
        }
        let mut gaps = vec![];
        for &(time, value) in samples {
            match self.last {
                None if self.is_long(time - begin) => {
                    gaps.push(Gap { from: begin, until: time, place: Place::Before, energy_mj: 0 });
                }
                Some((last, before)) if self.is_long(time - last) => {
                    gaps.push(between(last, before, time, value));
                }
                _ => {}
            }
            self.last = Some((time, value));
        }
        gaps
    }

    /// The gap that lasts to the end of the period, if there is one.
    pub fn finish(&self, begin: i64, end: i64) -> Option<Gap> {
        let from = self.last.map_or(begin, |(last, _)| last);
        let gap = Gap { from, until: end, place: Place::After, energy_mj: 0 };
        (self.last.is_none() || self.is_long(end - from)).then_some(gap)
    }

    /// The usual time between two samples; `None` before it is known.
    pub fn usual(&self) -> Option<i64> {
        self.usual
    }

    fn is_long(&self, spacing: i64) -> bool {
        self.usual.is_some_and(|usual| spacing * 2 > usual * GAP_HALVES)
    }
}

fn between(from: i64, before: u64, until: i64, value: u64) -> Gap {
    let (place, energy_mj) =
        if value < before { (Place::Reset, value) } else { (Place::Between, value - before) };
    Gap { from, until, place, energy_mj }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples at these seconds, the counter at ten times that.
    fn samples(seconds: &[i64]) -> Vec<(i64, u64)> {
        seconds.iter().map(|second| (second * 1000, second.unsigned_abs() * 10)).collect()
    }

    #[track_caller]
    fn check(before: Option<i64>, pieces: &[&[i64]], want: &[(i64, i64, Place)]) {
        let mut pulse = Pulse::after(before.map(|second| samples(&[second])[0]));
        let mut gaps: Vec<Gap> = pieces.iter().flat_map(|piece| pulse.advance(&samples(piece), 0)).collect();
        gaps.extend(pulse.finish(0, 1_000_000));
        let got: Vec<_> = gaps.iter().map(|gap| (gap.from / 1000, gap.until / 1000, gap.place)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_steady_pulse_has_no_gap() {
        let steady: Vec<i64> = (0..=1000).step_by(30).collect();
        check(Some(-30), &[&steady], &[]);
        check(Some(-30), &[&steady[..3], &steady[3..5], &steady[5..]], &[]);
    }

    #[test]
    fn one_lost_scrape_is_no_gap_and_two_are() {
        let mut seconds: Vec<i64> = (0..=1000).step_by(30).collect();
        seconds.retain(|second| ![300, 600, 630].contains(second));
        check(Some(-30), &[&seconds], &[(570, 660, Place::Between)]);
    }

    #[test]
    fn a_gap_may_span_pieces() {
        check(Some(-30), &[&[0, 30, 60, 90, 120], &[], &[900, 930, 960, 990]], &[(120, 900, Place::Between)]);
    }

    #[test]
    fn what_was_never_seen_before_and_what_never_came_back_are_gaps() {
        check(None, &[&[200, 230, 260, 290, 320]], &[(0, 200, Place::Before), (320, 1000, Place::After)]);
        check(None, &[], &[(0, 1000, Place::After)]);
    }

    #[test]
    fn a_gap_with_a_reset_says_so_and_what_came_after() {
        let mut pulse = Pulse::after(Some((0, 500)));
        let gaps = pulse.advance(&[(10_000, 510), (20_000, 520), (30_000, 530), (90_000, 7)], 0);
        assert_eq!(
            gaps.iter().map(|gap| (gap.place, gap.energy_mj)).collect::<Vec<_>>(),
            [(Place::Reset, 7)]
        );
    }
}
