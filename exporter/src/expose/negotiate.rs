//! Chooses what a scraper gets by its headers `Accept` and `Accept-Encoding`.
//!
//! Pure text to choice. OpenMetrics goes only to those who name it: a wildcard, no header or a malformed one gets
//! the classic format, which everybody reads. Called by the scrape's handler in [`super::routes`].

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The classic Prometheus text format 0.0.4.
    Classic,
}

/// How the bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    Identity,
    /// By gzip.
    Gzip,
}

/// One of the four ways a snapshot can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The text format.
    pub format: Format,
    /// How it is packed.
    pub compression: Compression,
}

/// A text format under the name that the scraper asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The text format.
    pub format: Format,
    /// The header `Content-Type` of the answer.
    pub content_type: &'static str,
    media_type: &'static str,
    version: &'static str,
}

const CLASSIC: Offer = Offer {
    format: Format::Classic,
    content_type: "text/plain; version=0.0.4; charset=utf-8",
    media_type: "text/plain",
    version: "0.0.4",
};

/// What there is to choose from, the better first. A text that is valid OpenMetrics 1.0.0 is so in 0.0.1 too.
const OFFERS: [Offer; 3] = [
    Offer {
        format: Format::OpenMetrics,
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        media_type: "application/openmetrics-text",
        version: "1.0.0",
    },
    Offer {
        format: Format::OpenMetrics,
        content_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
        media_type: "application/openmetrics-text",
        version: "0.0.1",
    },
    CLASSIC,
];

/// The text format for this `Accept`; several such headers are joined by commas. Something is always served.
#[must_use]
pub fn format(accept: &str) -> Offer {
    let ranges: Vec<Range<'_>> = split_outside_quotes(accept, ',').filter_map(Range::parse).collect();
    let mut best = (0, CLASSIC);
    for offer in OFFERS {
        let quality = offer.quality(&ranges);
        if quality > best.0 {
            best = (quality, offer);
        }
    }
    best.1
}

/// The compression for this `Accept-Encoding`.
#[must_use]
pub fn compression(accept_encoding: &str) -> Compression {
    let codings: Vec<Range<'_>> =
        split_outside_quotes(accept_encoding, ',').filter_map(Range::parse).collect();
    let quality = |names: &[&str]| {
        let named = codings.iter().find(|coding| names.iter().any(|name| coding.is(name)));
        named.map(|coding| coding.quality)
    };
    let gzip = quality(&["gzip", "x-gzip"]).or_else(|| quality(&["*"])).unwrap_or(0);
    let identity = quality(&["identity"]).unwrap_or(0);
    if gzip > 0 && gzip >= identity { Compression::Gzip } else { Compression::Identity }
}

impl Offer {
    /// The quality, in thousandths, that the most specific matching range gives this offer.
    fn quality(&self, ranges: &[Range<'_>]) -> u16 {
        let matching = ranges.iter().filter_map(|range| Some((self.specificity(range)?, range.quality)));
        matching.max().map_or(0, |(_, quality)| quality)
    }

    fn specificity(&self, range: &Range<'_>) -> Option<u8> {
        if range.is(self.media_type) {
            return match range.version {
                Some(version) => (version == self.version).then_some(3),
                None => Some(2),
            };
        }
        let is_wild = self.format == Format::Classic && range.version.is_none();
        let (text, any) = (is_wild && range.is("text/*"), is_wild && range.is("*/*"));
        if text { Some(1) } else { any.then_some(0) }
    }
}

/// One element of a list header: a name and the parameters that matter here.
struct Range<'a> {
    name: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` where the element is empty or its quality is not a number from 0 to 1.
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = split_outside_quotes(element, ';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let mut range = Self { name, version: None, quality: 1000 };
        for part in parts {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match key.trim() {
                key if key.eq_ignore_ascii_case("q") => range.quality = thousandths(value)?,
                key if key.eq_ignore_ascii_case("version") => range.version = Some(value),
                _ => {}
            }
        }
        Some(range)
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
fn thousandths(quality: &str) -> Option<u16> {
    let plain = quality.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f32 = quality.parse().ok().filter(|value| plain && (0.0..=1.0).contains(value))?;
    Some((value * 1000.0).round() as u16)
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(accept: &str, want: &str) {
        let got = format(accept);
        assert_eq!(format!("{} {}", got.media_type, got.version), want, "Accept: {accept}");
    }

    const OPEN: &str = "application/openmetrics-text 1.0.0";
    const OLD_OPEN: &str = "application/openmetrics-text 0.0.1";
    const TEXT: &str = "text/plain 0.0.4";

    #[test]
    fn prometheus_gets_openmetrics() {
        check(
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OLD_OPEN,
        );
        // 2.42
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN,
        );
        // 3.x
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPEN,
        );
        // 3.x with native histograms
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
            OPEN,
        );
    }

    #[test]
    fn who_does_not_name_openmetrics_gets_the_classic_format() {
        check("", TEXT);
        check("*/*", TEXT);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", TEXT);
        check("text/plain;version=0.0.4", TEXT);
        check("application/json", TEXT);
        check("application/openmetrics-text;version=2.0.0", TEXT);
    }

    #[test]
    fn qualities_decide() {
        check("application/openmetrics-text", OPEN);
        check("APPLICATION/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.3", OPEN);
        check("application/openmetrics-text;q=0.2, text/plain;q=0.9", TEXT);
        check("application/openmetrics-text;q=0, */*", TEXT);
        check("application/openmetrics-text;q=0.5, text/plain;q=0.5", OPEN);
        check("application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text;q=0.1", OLD_OPEN);
        check("text/*;q=0.1, application/openmetrics-text;q=0.05", TEXT);
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        check("application/openmetrics-text;q=high", TEXT);
        check("application/openmetrics-text;q=-1", TEXT);
        check("application/openmetrics-text;q=1e-1", TEXT);
        check(";;,,=;q,application/openmetrics-text;=;version", OPEN);
        check("text/plain;x=\"a,application/openmetrics-text;q=1\"", TEXT);
        check("\"application/openmetrics-text", TEXT);
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        for accepts in ["gzip", "x-gzip", "GZIP;q=0.5", "deflate, gzip;q=1.0, *;q=0.5", "*", "br, gzip"] {
            assert_eq!(compression(accepts), Compression::Gzip, "{accepts}");
        }
        for refuses in
            ["", "identity", "gzip;q=0", "*;q=0", "gzip;q=0, *", "br", "gzip;q=0.2, identity", "gzip;q=x"]
        {
            assert_eq!(compression(refuses), Compression::Identity, "{refuses}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(
            wild in ".*",
            near in "((application/openmetrics-text|text/plain|gzip|\\*/\\*)[;, ]?(q|version)?=?[0-9.\"]{0,5}[,;\"]?){0,5}",
        ) {
            for header in [wild, near] {
                let _ = (format(&header), compression(&header));
            }
        }
    }
}
