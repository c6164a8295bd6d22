//! The questions that a report asks, in pieces that fit into memory: an hour at a time, and as many GPUs at a time as
//! give an answer of at most [`LONGEST`] bytes. An answer that is longer is thrown away and asked for in halves.

use std::collections::BTreeSet;

use super::answer::{self, Labels, Series};
use super::http::{Client, Failure, LONGEST};
use super::quantity::Quantity;
use crate::cli::Access;

/// How many GPUs are asked of at once, at most: their names must fit into a URL.
pub const MOST_GPUS: usize = 64;
/// The shortest piece of time that is asked for, in milliseconds, before a server is given up.
const SHORTEST_MS: i64 = 60_000;
/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// A Prometheus-compatible server.
pub struct Server {
    client: Client,
    matchers: String,
    /// How many GPUs are asked of at once, as learnt from answers that were too long.
    gpus_at_once: usize,
}

/// A piece of time in milliseconds of Unix time: after `after`, up to and with `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Samples at this moment are not in it.
    pub after: i64,
    /// Samples at this moment are.
    pub until: i64,
}

impl Server {
    /// # Errors
    /// What is wrong with the flags.
    pub fn new(access: &Access) -> Result<Self, String> {
        let matchers = bare(&access.matchers).to_owned();
        Ok(Self { client: Client::new(access)?, matchers, gpus_at_once: MOST_GPUS })
    }

    /// The label sets of a metric that had samples in the window.
    ///
    /// # Errors
    /// Why there is no whole answer.
    pub async fn label_sets(&mut self, metric: &str, window: Window) -> Result<Vec<Labels>, String> {
        let (start, end) = (seconds(window.after), seconds(window.until));
        let selector = self.selector(&format!("__name__=\"{metric}\""));
        let query = [("match[]", &*selector), ("start", &start), ("end", &end)];
        let body = self.client.get("/api/v1/series", &[&query[..], WHOLE].concat()).await;
        answer::label_sets(&body.map_err(|failure| self.say(failure))?).map_err(|error| self.name(&error))
    }

    /// The values that label `uuid` has on a metric in the window.
    ///
    /// # Errors
    /// As [`Server::label_sets`].
    pub async fn uuids(&mut self, metric: &str, window: Window) -> Result<BTreeSet<String>, String> {
        let (start, end) = (seconds(window.after), seconds(window.until));
        let selector = self.selector(&format!("__name__=\"{metric}\""));
        let query = [("match[]", &*selector), ("start", &start), ("end", &end)];
        let body = self.client.get("/api/v1/label/uuid/values", &[&query[..], WHOLE].concat()).await;
        let values = answer::values(&body.map_err(|failure| self.say(failure))?);
        Ok(values.map_err(|error| self.name(&error))?.into_iter().collect())
    }

    /// The last values in a window; their times are not known.
    ///
    /// # Errors
    /// As [`Server::label_sets`].
    pub async fn last_values(
        &mut self,
        quantity: Quantity,
        uuids: &[String],
        window: Window,
    ) -> Result<Vec<Series>, String> {
        let mut all = Vec::new();
        for piece in uuids.chunks(MOST_GPUS / 4) {
            let selector = self.selector(&format!("__name__=\"{}\"{}", quantity.metric(), one_of(piece)));
            let query = format!("last_over_time({selector}[{}ms])", window.until - window.after);
            let body = self.query(&query, window.until).await.map_err(|failure| self.say(failure))?;
            all.extend(answer::query(&body).map_err(|error| self.name(&error))?);
        }
        Ok(all)
    }

    /// All samples of these metrics and GPUs in the window; without GPUs, of metrics that have none.
    ///
    /// # Errors
    /// As [`Server::label_sets`].
    pub async fn samples(
        &mut self,
        metrics: &[&str],
        uuids: &[String],
        window: Window,
    ) -> Result<Vec<Series>, String> {
        let (selector, length) = (
            self.selector(&format!("__name__=~\"{}\"{}", metrics.join("|"), one_of(uuids))),
            window.until - window.after,
        );
        match self.query(&format!("{selector}[{length}ms]"), window.until).await {
            Ok(body) => {
                let series = answer::query(&body).map_err(|error| self.name(&error))?;
                Ok(series.into_iter().filter_map(|series| within(series, window)).collect())
            }
            Err(Failure::TooLong) if uuids.len() > 1 => {
                self.gpus_at_once = (uuids.len() / 2).max(1);
                let (some, others) = uuids.split_at(uuids.len() / 2);
                let mut all = Box::pin(self.samples(metrics, some, window)).await?;
                all.extend(Box::pin(self.samples(metrics, others, window)).await?);
                Ok(all)
            }
            Err(Failure::TooLong) if length > SHORTEST_MS => {
                let middle = window.after + length / 2;
                let (early, late) = (Window { until: middle, ..window }, Window { after: middle, ..window });
                let mut all = Box::pin(self.samples(metrics, uuids, early)).await?;
                all.extend(Box::pin(self.samples(metrics, uuids, late)).await?);
                Ok(all)
            }
            Err(failure) => Err(self.say(failure)),
        }
    }

    /// What recording rules say of each team's closed hours that end in the window. Each hour has its last samples within
    /// five minutes of its end.
    ///
    /// # Errors
    /// As [`Server::label_sets`].
    pub async fn closed_hours(
        &mut self,
        metric: &str,
        matchers: &str,
        window: Window,
    ) -> Result<Vec<Series>, String> {
        let matchers = bare(matchers);
        let comma = if matchers.is_empty() { "" } else { "," };
        let query = format!(
            "sum by (team, currency) (last_over_time({{__name__=\"{metric}\"{comma}{matchers}}}[5m]))"
        );
        let (start, end) = (seconds(window.after + HOUR_MS), seconds(window.until));
        let range = [("query", &*query), ("start", &start), ("end", &end), ("step", "3600")];
        let body = self.client.get("/api/v1/query_range", &[&range[..], WHOLE].concat()).await;
        let way_out = |error: String| format!("{error}: --rules-tolerance=off asks for no recorded series");
        let body = body.map_err(|failure| way_out(self.say(failure)))?;
        answer::query(&body).map_err(|error| way_out(self.name(&error)))
    }

    /// How many GPUs to ask of at once.
    pub fn gpus_at_once(&self) -> usize {
        self.gpus_at_once
    }

    async fn query(&mut self, query: &str, at: i64) -> Result<bytes::Bytes, Failure> {
        let time = seconds(at);
        self.client.get("/api/v1/query", &[&[("query", query), ("time", &time)], WHOLE].concat()).await
    }

    fn selector(&self, matchers: &str) -> String {
        if self.matchers.is_empty() {
            format!("{{{matchers}}}")
        } else {
            format!("{{{matchers},{}}}", self.matchers)
        }
    }

    fn say(&self, failure: Failure) -> String {
        match failure {
            Failure::Passing(what) | Failure::Lasting(what) => what,
            Failure::TooLong => self.name(&format!(
                "an answer of more than {} MiB for the smallest piece: narrow it by --match",
                LONGEST >> 20
            )),
        }
    }

    fn name(&self, error: &str) -> String {
        format!("{}: {error}", self.client.name())
    }
}

/// Thanos: no part of the data, nothing downsampled; VictoriaMetrics: no part, nothing out of a cache. Others ignore it.
const WHOLE: &[(&str, &str)] = &[
    ("partial_response", "false"),
    ("max_source_resolution", "0s"),
    ("deny_partial_response", "1"),
    ("nocache", "1"),
];

/// Matchers without what some write around them.
fn bare(matchers: &str) -> &str {
    matchers.trim().trim_start_matches('{').trim_end_matches('}').trim_end_matches(',')
}

/// Servers disagree on whether the first moment of a window is in it: we decide.
fn within(mut series: Series, window: Window) -> Option<Series> {
    series.samples.retain(|(time, _)| *time > window.after && *time <= window.until);
    (!series.samples.is_empty()).then_some(series)
}

/// A matcher to be put after others.
fn one_of(uuids: &[String]) -> String {
    if uuids.is_empty() {
        return String::new();
    }
    let escaped: Vec<String> = uuids.iter().map(|uuid| escape(uuid)).collect();
    format!(",uuid=~\"{}\"", escaped.join("|"))
}

/// As a regular expression in a quoted string.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        match character {
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ if character.is_alphanumeric() || "-_ /:%@".contains(character) => out.push(character),
            '\\' => out.push_str("\\\\\\\\"),
            _ => {
                out.push_str("\\\\");
                out.push(character);
            }
        }
        out
    })
}

fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimals() {
        assert_eq!(
            [seconds(1_500), seconds(0), seconds(1_700_000_000_007)],
            ["1.500", "0.000", "1700000000.007"]
        );
    }

    #[test]
    fn uuids_are_matched_as_they_are() {
        assert_eq!(one_of(&["GPU-a".into(), "b.c\"\\".into()]), r#",uuid=~"GPU-a|b\\.c\"\\\\""#);
    }

    #[test]
    fn the_first_moment_of_a_window_is_not_in_it() {
        let series = Series { labels: Labels::new(), samples: vec![(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)] };
        let got = within(series.clone(), Window { after: 1, until: 3 }).unwrap();
        assert_eq!(got.samples, [(2, 2.0), (3, 3.0)]);
        assert_eq!(within(series, Window { after: 4, until: 9 }), None);
    }
}
