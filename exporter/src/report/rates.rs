//! What things cost in an hour, out of the prices file; and the calendar that the report goes by. Without a prices file
//! nothing has a price, and days are those of UTC.

use super::period::{self, Zone};
use super::tally::Rates;

/// Prices and calendar.
pub struct Rater {}

impl Rater {
    /// One with the prices of a file, or with none.
    ///
    /// # Errors
    /// Everything wrong with the file.
    pub fn read(_prices: Option<&std::path::Path>) -> Result<Self, String> {
        Ok(Self {})
    }

    /// The prices of an hour, by where and what a GPU is.
    pub fn rates(&self, _site: &str, _model: &str, _at: i64) -> Rates {
        Rates { pue: 1_000_000, ..Rates::default() }
    }

    /// The currency; `None` without prices.
    pub fn currency(&self) -> Option<&str> {
        None
    }

    /// The name of the time zone.
    pub fn zone_name(&self) -> &str {
        "UTC"
    }

    /// Seconds that the zone's clocks are ahead of UTC.
    pub fn offset(&self, _at: i64) -> i64 {
        0
    }

    /// The calendar day of a moment.
    pub fn date(&self, at: i64) -> String {
        period::date(at, &|at| self.offset(at))
    }

    /// The zone as a function.
    pub fn with_zone<T>(&self, work: impl FnOnce(Zone) -> T) -> T {
        work(&|at| self.offset(at))
    }
}
