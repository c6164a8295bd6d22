//! One immutable snapshot and its four encodings, each made at most once: before anybody sees the snapshot if scrapes come
//! about as often as snapshots, else by the first scrape that asks for it.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// So many snapshots count for the decision whether an encoding is made ahead.
const RECENT: u32 = 4;
/// It is where it was asked for of so many of them.
const OFTEN: u32 = 2;

/// The four ways a snapshot can be written.
const ENCODINGS: [Encoding; 4] = [
    Encoding { format: Format::OpenMetrics, compression: Compression::Identity },
    Encoding { format: Format::OpenMetrics, compression: Compression::Gzip },
    Encoding { format: Format::Classic, compression: Compression::Identity },
    Encoding { format: Format::Classic, compression: Compression::Gzip },
];

/// A snapshot ready to be scraped.
pub struct Published {
    exposition: Arc<dyn Exposition>,
    pages: [Page; 4],
}

/// One encoding of a snapshot.
#[derive(Default)]
struct Page {
    bytes: OnceLock<Result<Bytes, EncodeError>>,
    is_asked: AtomicBool,
    /// Whether it was asked for of the snapshots before: the last in the lowest bit.
    was_asked: u32,
}

impl Page {
    /// The page of the next snapshot, not made yet.
    fn next(&self) -> Self {
        let was_asked = self.was_asked << 1 | u32::from(self.is_asked.load(Ordering::Relaxed));
        Self { was_asked: was_asked & ((1 << RECENT) - 1), ..Self::default() }
    }
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
        Self { exposition, pages: Default::default() }
    }

    /// The snapshot after this one. What scrapes ask for all the time is made now, so that they find it; where nobody
    /// scrapes, or seldom, nothing is.
    #[must_use]
    pub fn next(&self, snapshot: Arc<dyn Exposition>) -> Self {
        let next = Self { pages: self.pages.each_ref().map(Page::next), ..Self::new(snapshot) };
        let wanted = ENCODINGS.into_iter().filter(|one| next.page(*one).was_asked.count_ones() >= OFTEN);
        // What goes wrong is kept for who asks.
        wanted.for_each(|encoding| drop(next.bytes(encoding)));
        next
    }

    /// The bytes in this encoding, if they have been made.
    #[must_use]
    pub fn made(&self, encoding: Encoding) -> Option<Result<Bytes, EncodeError>> {
        let page = self.page(encoding);
        page.is_asked.store(true, Ordering::Relaxed);
        page.bytes.get().cloned()
    }

    /// The bytes in this encoding, made now if need be; that takes milliseconds when there are many series.
    ///
    /// # Errors
    /// If a family cannot be formatted, which would be a bug.
    pub fn body(&self, encoding: Encoding) -> Result<Bytes, EncodeError> {
        self.page(encoding).is_asked.store(true, Ordering::Relaxed);
        self.bytes(encoding)
    }

    fn page(&self, encoding: Encoding) -> &Page {
        &self.pages[slot(encoding)]
    }

    fn bytes(&self, encoding: Encoding) -> Result<Bytes, EncodeError> {
        self.page(encoding).bytes.get_or_init(|| self.make(encoding)).clone()
    }

    fn make(&self, Encoding { format, compression }: Encoding) -> Result<Bytes, EncodeError> {
        match compression {
            Compression::Identity => Ok(self.text(format)?.into()),
            // The plain text is not kept for its own sake.
            Compression::Gzip => {
                match self.page(Encoding { format, compression: Compression::Identity }).bytes.get() {
                    Some(plain) => Ok(gzip(&plain.clone()?)?),
                    None => Ok(gzip(self.text(format)?.as_bytes())?),
                }
            }
        }
    }

    fn text(&self, format: Format) -> Result<String, fmt::Error> {
        match format {
            Format::OpenMetrics => encode::openmetrics(&self.exposition),
            Format::Classic => encode::classic(&self.exposition),
        }
    }
}

fn slot(encoding: Encoding) -> usize {
    ENCODINGS.iter().position(|one| *one == encoding).unwrap_or_default()
}

/// Packs bytes.
pub(crate) fn gzip(plain: &[u8]) -> Result<Bytes, std::io::Error> {
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
    fn what_is_asked_for_often_is_made_ahead() {
        let mut published = Published::new(Arc::new(EveryMetric));
        let mut made = Vec::new();
        for is_asked in [false, true, true, false, true, false, false, false, false] {
            let is_there = |one: &Encoding| published.pages[slot(*one)].bytes.get().is_some();
            made.push(ENCODINGS.iter().filter(|one| is_there(one)).count());
            if is_asked {
                published.body(CLASSIC).expect("a body");
            }
            published = published.next(Arc::new(EveryMetric));
        }
        assert_eq!(made, [0, 0, 0, 1, 1, 1, 1, 0, 0]);
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
