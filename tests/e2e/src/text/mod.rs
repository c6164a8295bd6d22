//! A scrape as text: parsed strictly, values kept as they were written. Stricter than Prometheus, which forgives.

mod family;
mod line;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use family::Family;
use line::Line;
pub use sample::Sample;

/// One of the two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The classic text format, 0.0.4.
    Classic,
    /// OpenMetrics 1.0.0 text.
    OpenMetrics,
}

impl Format {
    /// What a scraper accepts to get it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain;version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// Where a text breaks its format, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Malformed {}

/// A whole scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrape {
    /// All samples, in their order.
    pub samples: Vec<Sample>,
    /// The type of each metric, under its name in the TYPE line.
    pub types: BTreeMap<String, String>,
    /// The help of each metric, under the same name.
    pub helps: BTreeMap<String, String>,
}

impl Scrape {
    /// Parses a text, which must keep to its format to the letter: every metric has a type before its first sample,
    /// stands in one piece, and no series stands twice; counters are never negative; histograms add up. In OpenMetrics
    /// names and units fit the type and the text ends with `# EOF`. Exemplars are not understood.
    ///
    /// # Errors
    /// At the first line that breaks the format.
    pub fn parse(text: &str, format: Format) -> Result<Self, Malformed> {
        let count = text.lines().count();
        let at = |line: usize| move |what: String| Malformed { line, what };
        let body = ending(text, format).map_err(at(count))?;
        let mut reading = Reading { format, ..Reading::default() };
        for (index, line) in body.iter().enumerate() {
            reading.line(line).map_err(at(index + 1))?;
        }
        reading.close().map_err(at(count))?;
        Ok(reading.scrape)
    }

    /// The samples of a name that carry all these labels.
    #[must_use]
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.name == name && sample.carries(labels)).collect()
    }

    /// The value of the only sample of a name that carries all these labels; `None` where there is none.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let found = self.find(name, labels);
        assert!(found.len() < 2, "{name} {labels:?} is not one series");
        found.first().map(|sample| sample.value.as_str())
    }

    /// The sum in whole millijoules of all samples of a name that carry all these labels; `None` where there is none.
    ///
    /// # Panics
    /// When one of them is not a whole number of millijoules.
    #[must_use]
    #[track_caller]
    pub fn millijoules(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let whole = |sample: &Sample| {
            let millijoules = sample.millijoules();
            millijoules
                .unwrap_or_else(|| panic!("{name} {:?}: {:?} is not in mJ", sample.labels, sample.value))
        };
        self.find(name, labels).into_iter().map(whole).fold(None, |sum, own| Some(sum.unwrap_or(0) + own))
    }
}

/// The lines of a text without the marks of its end.
fn ending(text: &str, format: Format) -> Result<Vec<&str>, String> {
    let body = text.strip_suffix('\n').ok_or("the last line has no end")?;
    let mut lines: Vec<&str> = body.split('\n').collect();
    if format == Format::OpenMetrics && lines.pop() != Some("# EOF") {
        return Err("no # EOF at the end".into());
    }
    Ok(lines)
}

struct Reading {
    format: Format,
    scrape: Scrape,
    seen: BTreeSet<(String, BTreeMap<String, String>)>,
    closed: BTreeSet<String>,
    family: Option<Family>,
}

impl Default for Reading {
    fn default() -> Self {
        let (scrape, seen, closed) = (Scrape::default(), BTreeSet::new(), BTreeSet::new());
        Self { format: Format::Classic, scrape, seen, closed, family: None }
    }
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match Line::parse(line, self.format)? {
            Line::Comment => Ok(()),
            Line::Type(name, kind) => {
                self.open(name)?.set_type(kind)?;
                self.scrape.types.insert(name.into(), kind.into());
                Ok(())
            }
            Line::Help(name, help) => {
                self.open(name)?.metadata()?;
                let before = self.scrape.helps.insert(name.into(), help);
                if before.is_some() { Err(format!("a second HELP of {name}")) } else { Ok(()) }
            }
            Line::Unit(name, unit) => self.open(name)?.set_unit(unit),
            Line::Sample(sample) => self.sample(sample),
        }
    }

    fn sample(&mut self, sample: Sample) -> Result<(), String> {
        let family = self.family.as_mut().filter(|family| family.owns(&sample.name));
        family
            .ok_or_else(|| format!("{} does not belong to the TYPE above it", sample.name))?
            .add(&sample)?;
        if !self.seen.insert((sample.name.clone(), sample.labels.clone())) {
            return Err(format!("a second sample of {} {:?}", sample.name, sample.labels));
        }
        self.scrape.samples.push(sample);
        Ok(())
    }

    /// The metric that a line speaks of; another one is over then.
    fn open(&mut self, name: &str) -> Result<&mut Family, String> {
        if self.family.as_ref().is_none_or(|family| family.name != name) {
            self.close()?;
            if !self.closed.insert(name.into()) {
                return Err(format!("{name} stands in several places"));
            }
        }
        let format = self.format;
        Ok(self.family.get_or_insert_with(|| Family::new(name, format)))
    }

    fn close(&mut self) -> Result<(), String> {
        self.family.take().map_or(Ok(()), Family::close)
    }
}

#[cfg(test)]
mod tests;
