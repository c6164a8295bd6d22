//! One immutable snapshot and its four encodings, each made at most once, by the first scrape that asks for it.
//!
//! The accounting publishes a new one after every sample; [`super::http`] serves the latest. All scrapers of one
//! snapshot get the same bytes.

use super::encode;
use super::metrics::{Exposition, Metric, Row};
use super::negotiate::{Compression, Encoding, Format};
use super::own_process::OwnProcess;
use bytes::Bytes;
use flate2::write::GzEncoder;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, OnceLock};

/// A snapshot ready to be scraped.
pub struct Published {
    exposition: Arc<dyn Exposition>,
    bodies: [OnceLock<Result<Bytes, EncodeError>>; 4],
}

/// A snapshot could not be written: a bug, to be logged and answered with 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the snapshot could not be encoded")
    }
}

impl From<fmt::Error> for EncodeError {
    fn from(_: fmt::Error) -> Self {
        Self
    }
}

impl From<std::io::Error> for EncodeError {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Published {
    /// A snapshot of these values; those of the exporter's own process are added.
    #[must_use]
    pub fn new(snapshot: Arc<dyn Exposition>) -> Self {
        let exposition = Arc::new(WithOwnProcess { snapshot, own: OnceLock::new() });
        Self { exposition, bodies: Default::default() }
    }

    /// The bytes in this encoding, if they have been made.
    #[must_use]
    pub fn made(&self, encoding: Encoding) -> Option<Result<Bytes, EncodeError>> {
        self.bodies[slot(encoding)].get().cloned()
    }

    /// The bytes in this encoding, made now if need be; that takes milliseconds when there are many series.
    ///
    /// # Errors
    /// If a family cannot be formatted, which would be a bug.
    pub fn body(&self, encoding: Encoding) -> Result<Bytes, EncodeError> {
        self.bodies[slot(encoding)].get_or_init(|| self.make(encoding)).clone()
    }

    fn make(&self, Encoding { format, compression }: Encoding) -> Result<Bytes, EncodeError> {
        match (compression, format) {
            (Compression::Gzip, _) => {
                let plain = self.body(Encoding { format, compression: Compression::Identity })?;
                Ok(gzip(&plain)?)
            }
            (Compression::Identity, Format::OpenMetrics) => Ok(encode::openmetrics(&self.exposition)?.into()),
            (Compression::Identity, Format::Classic) => Ok(encode::classic(&self.exposition)?.into()),
        }
    }
}

fn slot(Encoding { format, compression }: Encoding) -> usize {
    match (format, compression) {
        (Format::OpenMetrics, Compression::Identity) => 0,
        (Format::OpenMetrics, Compression::Gzip) => 1,
        (Format::Classic, Compression::Identity) => 2,
        (Format::Classic, Compression::Gzip) => 3,
    }
}

/// Packs bytes.
pub(super) fn gzip(plain: &[u8]) -> Result<Bytes, std::io::Error> {
    let mut writer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(plain)?;
    writer.finish().map(Bytes::from)
}

struct WithOwnProcess {
    snapshot: Arc<dyn Exposition>,
    own: OnceLock<OwnProcess>,
}

impl Exposition for WithOwnProcess {
    fn rows(&self, metric: Metric, row: &mut Row<'_>) {
        if !metric.is_of_own_process() {
            return self.snapshot.rows(metric, row);
        }
        if let Some(value) = self.own.get_or_init(OwnProcess::read).value(metric) {
            row(&[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::EveryMetric;
    use super::*;
    use std::io::Read;

    const CLASSIC: Encoding = Encoding { format: Format::Classic, compression: Compression::Identity };

    #[test]
    fn an_encoding_is_made_once() {
        let published = Published::new(Arc::new(EveryMetric));
        assert!(published.made(CLASSIC).is_none());
        let first = published.body(CLASSIC).expect("a body");
        assert_eq!(first.as_ptr(), published.body(CLASSIC).expect("a body").as_ptr());
        assert_eq!(published.made(CLASSIC), Some(Ok(first)));
    }

    #[test]
    fn what_is_packed_is_what_is_plain() {
        let published = Published::new(Arc::new(EveryMetric));
        for format in [Format::Classic, Format::OpenMetrics] {
            let body = |compression| published.body(Encoding { format, compression }).expect("a body");
            let (plain, packed) = (body(Compression::Identity), body(Compression::Gzip));
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).expect("gzip");
            assert!(unpacked == *plain && packed.len() < plain.len() / 4);
        }
    }

    #[test]
    fn the_own_process_is_added() {
        let body = Published::new(Arc::new(EveryMetric)).body(CLASSIC).expect("a body");
        let text = String::from_utf8_lossy(&body);
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes > 1e6)), "{text}");
    }
}
