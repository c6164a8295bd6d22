//! Values that hold from a point in time until the next: prices by day, budgets by month.

/// Values and from when each holds, in rising order, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps<K, T>(Vec<(K, T)>);

/// When a value holds: from, and until, if another follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<K> {
    /// The first point in time it holds at.
    pub from: K,
    /// The first at which it does not any more.
    pub until: Option<K>,
}

impl<K, T> Default for Steps<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord, T> Steps<K, T> {
    /// Adds a step behind the last.
    ///
    /// # Errors
    /// It is not later than the last, which is given back.
    pub fn push(&mut self, from: K, value: T) -> Result<(), K> {
        match self.0.last() {
            Some((last, _)) if *last >= from => Err(*last),
            _ => {
                self.0.push((from, value));
                Ok(())
            }
        }
    }

    /// The value in force; `None` before the first.
    pub fn at(&self, time: K) -> Option<&T> {
        let past = self.0.partition_point(|(from, _)| *from <= time);
        self.0[..past].last().map(|(_, value)| value)
    }

    /// From when there is a value.
    pub fn first(&self) -> Option<K> {
        self.0.first().map(|(from, _)| *from)
    }

    /// The values, and when each holds.
    pub fn windows(&self) -> impl Iterator<Item = (Window<K>, &T)> {
        let ends = self.0.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        self.0.iter().zip(ends).map(|((from, value), until)| (Window { from: *from, until }, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_from_its_day_until_the_next() {
        let mut steps = Steps::default();
        assert_eq!(steps.push(10, 'a'), Ok(()));
        assert_eq!(steps.push(20, 'b'), Ok(()));
        assert_eq!(steps.push(20, 'c'), Err(20));
        assert_eq!(
            [9, 10, 19, 20, 99].map(|time| steps.at(time).copied()),
            [None, Some('a'), Some('a'), Some('b'), Some('b')]
        );
        let windows: Vec<_> = steps.windows().map(|(window, _)| (window.from, window.until)).collect();
        assert_eq!(windows, [(10, Some(20)), (20, None)]);
    }
}
