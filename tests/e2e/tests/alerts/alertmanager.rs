//! A real Alertmanager with the repository's configuration, its receivers led to a webhook of the test.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, get, require};

use crate::webhook::Webhook;
use crate::{rules, with_settings};

/// A running Alertmanager; it ends with this value.
#[derive(Debug)]
pub struct Alertmanager {
    child: Child,
    address: SocketAddr,
}

impl Alertmanager {
    /// Starts one that waits a second instead of minutes before it sends; waits until it is ready.
    #[track_caller]
    pub fn start(scratch: &Scratch, webhook: &Webhook) -> Self {
        let text = fs::read_to_string(rules().join("alertmanager.yaml")).expect("the example");
        let example = "http://127.0.0.1:19289/";
        assert!(text.contains(example), "the receivers of the example are elsewhere");
        let text = text.replace(example, &format!("http://{}/", webhook.address()));
        let text = with_settings(&text, &["group_wait", "group_interval"], "1s");
        let (settings, log) = (scratch.write("alertmanager.yaml", &text), scratch.path("alertmanager.log"));
        let address = free_address();
        let mut command = Command::new(require("prometheus-alertmanager"));
        command.arg(format!("--config.file={}", settings.display()));
        command.arg(format!("--storage.path={}", scratch.path("alertmanager").display()));
        // No cluster: nothing listens but this.
        command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut own = Self { child, address };
        eventually(PATIENCE, "Alertmanager is ready", || {
            if let Ok(Some(status)) = own.child.try_wait() {
                panic!("Alertmanager: {status}\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            get(address, "/-/ready", &[]).is_ok_and(|answer| answer.status == 200).then_some(())
        });
        own
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands it an alert for a team, as Prometheus would.
    #[track_caller]
    pub fn add(&self, name: &str, labels: &[(&str, &str)]) {
        let mut amtool = Command::new(require("amtool"));
        amtool.arg(format!("--alertmanager.url=http://{}", self.address)).args(["alert", "add", name]);
        amtool.arg("audience=team").args(labels.iter().map(|(name, value)| format!("{name}={value}")));
        let output = amtool.output().expect("amtool runs");
        assert!(output.status.success(), "{amtool:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether an alert with these labels is known, and kept back for another.
    #[track_caller]
    pub fn inhibits(&self, labels: &[(&str, &str)]) -> bool {
        let answer = get(self.address, "/api/v2/alerts?inhibited=true", &[]).expect("an answer");
        let alerts: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let has = |alert: &&Value| labels.iter().all(|(name, value)| alert["labels"][*name] == *value);
        let inhibited = |alert: &Value| {
            alert["status"]["inhibitedBy"].as_array().is_some_and(|sources| !sources.is_empty())
        };
        alerts.as_array().expect("a list").iter().filter(has).any(inhibited)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
