//! A real Prometheus on a free port, with a data folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http;
use crate::tools::require;
use crate::wait::{PATIENCE, eventually, free_address};

/// Label names and values, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// A running Prometheus; it ends with this value.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes these targets; waits until it answers.
    ///
    /// # Panics
    /// When Prometheus is not installed or does not start.
    #[must_use]
    #[track_caller]
    pub fn start(folder: impl AsRef<Path>, targets: &[SocketAddr], scrape_interval: Duration) -> Self {
        let millis = scrape_interval.as_millis();
        let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
        let config = format!(
            "global: {{scrape_interval: {millis}ms, scrape_timeout: {millis}ms, evaluation_interval: {millis}ms}}\n\
             scrape_configs: [{{job_name: wattribute, static_configs: [{{targets: [{}]}}]}}]\n",
            targets.join(", ")
        );
        Self::with_config(folder, &config)
    }

    /// Starts one with a configuration of the test's own.
    ///
    /// # Panics
    /// As [`Prometheus::start`].
    #[must_use]
    #[track_caller]
    pub fn with_config(folder: impl AsRef<Path>, config: &str) -> Self {
        let mut prometheus = Self::spawn(folder.as_ref(), config, &[]);
        eventually(PATIENCE, "prometheus is ready", || prometheus.ready());
        prometheus
    }

    /// Starts one whose web configuration (TLS, users) is in this file; waits until it takes connections.
    ///
    /// # Panics
    /// As [`Prometheus::start`].
    #[must_use]
    #[track_caller]
    pub fn with_web_config(folder: impl AsRef<Path>, web_config: &Path) -> Self {
        let web_config = format!("--web.config.file={}", web_config.display());
        let mut prometheus = Self::spawn(folder.as_ref(), "global: {scrape_interval: 1h}\n", &[web_config]);
        eventually(PATIENCE, "prometheus takes connections", || {
            prometheus.alive();
            TcpStream::connect(prometheus.address).ok().map(drop)
        });
        prometheus
    }

    #[track_caller]
    fn spawn(folder: &Path, config: &str, flags: &[String]) -> Self {
        let (folder, program) = (folder, require("prometheus"));
        let (settings, log) = (folder.join("prometheus.yml"), folder.join("prometheus.log"));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&settings, config));
        written.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let output = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let address = free_address();
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", settings.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--web.enable-lifecycle").args(flags);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, address, log }
    }

    fn alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("prometheus: {status}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }

    fn ready(&mut self) -> Option<()> {
        self.alive();
        http::get(self.address, "/-/ready", &[]).is_ok_and(|response| response.status == 200).then_some(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An instant query, now.
    ///
    /// # Panics
    /// When the query is wrong or yields no vector.
    #[must_use]
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<(Labels, f64)> {
        vector(&self.api(&format!("query?query={}", escape(query))))
    }

    /// An instant query at a Unix time in s.
    ///
    /// # Panics
    /// As [`Prometheus::query`].
    #[must_use]
    #[track_caller]
    pub fn query_at(&self, query: &str, unix_seconds: f64) -> Vec<(Labels, f64)> {
        vector(&self.api(&format!("query?query={}&time={unix_seconds}", escape(query))))
    }

    /// A range query between two Unix times in s; points are (Unix time in s, value).
    ///
    /// # Panics
    /// As [`Prometheus::query`].
    #[must_use]
    #[track_caller]
    pub fn query_range(
        &self,
        query: &str,
        (from, to): (f64, f64),
        step: Duration,
    ) -> Vec<(Labels, Vec<(f64, f64)>)> {
        let step = step.as_secs_f64();
        let data =
            self.api(&format!("query_range?query={}&start={from}&end={to}&step={step}", escape(query)));
        let points = |series: &Value| items(&series["values"]).iter().map(point).collect();
        items(&data["result"]).iter().map(|series| (labels(series), points(series))).collect()
    }

    #[track_caller]
    fn api(&self, call: &str) -> Value {
        let response = http::get(self.address, &format!("/api/v1/{call}"), &[]);
        let response = response.unwrap_or_else(|error| panic!("prometheus: {call}: {error}"));
        assert_eq!(response.status, 200, "prometheus: {call}: {}", response.text());
        let mut answer: Value = serde_json::from_slice(&response.body).expect("prometheus answers in JSON");
        answer["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn vector(data: &Value) -> Vec<(Labels, f64)> {
    match data["resultType"].as_str() {
        Some("vector") => {
            items(&data["result"]).iter().map(|series| (labels(series), point(&series["value"]).1)).collect()
        }
        Some("scalar") => vec![(Labels::new(), point(&data["result"]).1)],
        other => panic!("not a vector: {other:?}"),
    }
}

#[track_caller]
fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[track_caller]
fn labels(series: &Value) -> Labels {
    let pairs = series["metric"].as_object().expect("labels");
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into())).collect()
}

#[track_caller]
fn point(pair: &Value) -> (f64, f64) {
    let value = pair[1].as_str().and_then(|text| text.parse().ok());
    (pair[0].as_f64().expect("a time"), value.expect("a number"))
}

/// As a value in a URL's query.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let write = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}
