//! The data that a report was made of, kept beside it: what each counter was at the beginning and the end of each hour,
//! how often it fell, and what it gained. As CSV, compressed; the same data give the same bytes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::collect::{Listener, Row};
use super::counter::Gain;
use super::csv::{cell, row};
use super::period::rfc3339;
use super::quantity::{Key, Kind, Target};
use super::tally::{Rates, Sums};

const HEADER: [&str; 12] = [
    "hour",
    "metric",
    "uuid",
    "kind",
    "owner",
    "target",
    "base",
    "last",
    "resets",
    "samples",
    "gain",
    "not_billed",
];

/// A series in the hour that is explained.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is counted.
    pub key: Key,
    /// Where it was scraped.
    pub target: Target,
    /// What it gained.
    pub gain: Gain,
    /// The prices of the hour.
    pub rates: Rates,
    /// What that comes to.
    pub sums: Sums,
}

/// Where rows go as they are read.
pub enum Extract {
    /// Nowhere.
    Nowhere,
    /// Into a file.
    File(GzEncoder<BufWriter<File>>),
    /// Kept, to be shown.
    Kept(Vec<Step>),
}

impl Extract {
    /// One that begins a file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut writer = GzEncoder::new(BufWriter::new(File::create_new(path)?), Compression::default());
        writer.write_all(header().as_bytes())?;
        Ok(Self::File(writer))
    }

    /// Completes it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(self) -> io::Result<Vec<Step>> {
        match self {
            Self::Nowhere => Ok(vec![]),
            Self::Kept(steps) => Ok(steps),
            Self::File(writer) => {
                let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
                Ok(vec![])
            }
        }
    }
}

fn header() -> String {
    row(HEADER.map(cell))
}

impl Listener for Extract {
    fn row(&mut self, row: &Row<'_>) -> Result<(), String> {
        match self {
            Self::Nowhere => {}
            Self::Kept(steps) => steps.push(Step {
                key: row.key.clone(),
                target: row.target.clone(),
                gain: row.gain,
                rates: row.rates,
                sums: row.sums,
            }),
            Self::File(writer) => {
                let written = writer.write_all(line(row).as_bytes());
                written.map_err(|error| format!("the extract: {error}"))?;
            }
        }
        Ok(())
    }

    fn progress(&mut self, done: usize, all: usize) {
        if all > 24 && io::stderr().is_terminal() {
            let end = if done == all { "\n" } else { "" };
            let _ = write!(io::stderr(), "\rhour {done} of {all}{end}");
        }
    }
}

fn line(row: &Row<'_>) -> String {
    let Row { hour, key, target, gain, .. } = row;
    let decimal = |whole| key.quantity.decimal(whole);
    let kind = key.kind.map_or("", Kind::as_str);
    let owner = key.owner.as_ref().map(|owner| object(&owner.0)).unwrap_or_default();
    super::csv::row([
        cell(&rfc3339(*hour)),
        cell(key.quantity.metric()),
        cell(&key.uuid),
        cell(kind),
        cell(&owner),
        cell(&object(&target.0)),
        decimal(gain.base),
        decimal(gain.last),
        gain.resets.to_string(),
        gain.samples.to_string(),
        decimal(gain.gain),
        decimal(gain.unbilled),
    ])
}

fn object(pairs: &[(String, String)]) -> String {
    let pairs: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    serde_json::Value::Object(pairs).to_string()
}
