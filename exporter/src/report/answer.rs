//! Reads the answers of the query API, strictly: an answer with a warning, from a part of the data only, or in a shape
//! that is not known is an error, for a bill from it would be wrong. Pure; [`super::server`] asks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

/// Names and values of a series, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// A series with what was read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Milliseconds of Unix time and value, rising in time.
    pub samples: Vec<(i64, f64)>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
    data: Option<T>,
}

#[derive(Deserialize)]
struct QueryData<'a> {
    #[serde(rename = "resultType")]
    kind: String,
    #[serde(borrow)]
    result: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    metric: Labels,
    #[serde(borrow)]
    value: Option<Point<'a>>,
    #[serde(borrow)]
    values: Option<Vec<Point<'a>>>,
    histogram: Option<serde::de::IgnoredAny>,
    histograms: Option<serde::de::IgnoredAny>,
}

/// A time in seconds and a value as text.
#[derive(Deserialize)]
struct Point<'a>(f64, #[serde(borrow)] Cow<'a, str>);

/// The series of an answer to a query, an instant vector or a range vector.
///
/// # Errors
/// Whatever keeps the answer from being whole.
pub fn query(body: &[u8]) -> Result<Vec<Series>, String> {
    let data: QueryData = open(body)?;
    match data.kind.as_str() {
        "vector" | "matrix" => data.result.into_iter().map(series).collect(),
        other => Err(format!("the answer is a {other}, no vector")),
    }
}

/// The label sets of an answer to `/api/v1/series`.
///
/// # Errors
/// As [`query`].
pub fn label_sets(body: &[u8]) -> Result<Vec<Labels>, String> {
    open(body)
}

/// The values of an answer to `/api/v1/label/…/values`.
///
/// # Errors
/// As [`query`].
pub fn values(body: &[u8]) -> Result<Vec<String>, String> {
    open(body)
}

fn open<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let envelope: Envelope<T> =
        serde_json::from_slice(body).map_err(|error| format!("the answer makes no sense ({error})"))?;
    if envelope.status != "success" {
        return Err(envelope
            .error
            .unwrap_or_else(|| format!("the answer's status is {:?}", envelope.status)));
    }
    if let Some(warning) = envelope.warnings.first() {
        return Err(format!("the answer has a warning ({warning}): a bill needs whole answers"));
    }
    if envelope.is_partial {
        return Err("the answer is partial: a bill needs whole answers".into());
    }
    envelope.data.ok_or_else(|| "the answer has no data".into())
}

fn series(item: Item<'_>) -> Result<Series, String> {
    if item.histogram.is_some() || item.histograms.is_some() {
        return Err("the answer has a histogram where a counter was asked for".into());
    }
    let points = item.values.or_else(|| item.value.map(|point| vec![point]));
    let points = points.ok_or("the answer has a series without values")?;
    let mut samples = Vec::with_capacity(points.len());
    for Point(time, text) in points {
        let value: f64 = text.parse().map_err(|_| format!("the answer has a value {text:?}"))?;
        // How some servers show that a series ended.
        if value.is_nan() {
            continue;
        }
        let time = milliseconds(time).ok_or("the answer has a time that is none")?;
        if samples.last().is_some_and(|(last, _)| *last >= time) {
            return Err("the answer's samples do not rise in time".into());
        }
        samples.push((time, value));
    }
    Ok(Series { labels: item.metric, samples })
}

#[expect(clippy::cast_possible_truncation, reason = "bounded before")]
fn milliseconds(seconds: f64) -> Option<i64> {
    (seconds.is_finite() && seconds.abs() < 1e12).then(|| (seconds * 1e3).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"m","a":"b"},"values":[[1700000000,"1"],[1700000030.25,"NaN"],[1700000060.5,"1.5e3"]]}]}}"#;

    #[test]
    fn a_range_vector_is_read_with_its_times() {
        let series = query(MATRIX.as_bytes()).unwrap();
        assert_eq!(series[0].samples, [(1_700_000_000_000, 1.0), (1_700_000_060_500, 1500.0)]);
        assert_eq!(series[0].labels["a"], "b");
    }

    #[track_caller]
    fn refused(body: &str, want: &str) {
        let error = query(body.as_bytes()).unwrap_err();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        refused(&MATRIX.replace("\"data\"", "\"warnings\":[\"store gone\"],\"data\""), "store gone");
        refused(&MATRIX.replace("\"data\"", "\"isPartial\":true,\"data\""), "partial");
        refused(&MATRIX.replace("success", "error"), "status");
        refused(r#"{"status":"error","error":"too many samples"}"#, "too many samples");
        refused(r#"{"status":"success"}"#, "no data");
        refused(&MATRIX.replace("matrix", "scalar"), "scalar");
        refused(&MATRIX.replace("1700000060.5", "1600000000"), "do not rise");
        refused(&MATRIX.replace("\"1\"", "\"one\""), "one");
        refused(&MATRIX.replace("values", "worth"), "without values");
        refused("<html>", "no sense");
        refused(&MATRIX[..100], "no sense");
    }
}
