//! The same story, told to a real VictoriaMetrics: the same bill.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use wattribute_e2e::{PATIENCE, Scratch, eventually, free_address, get, require};

use crate::bill::{check_truth, report, said};
use crate::story::{BEGIN, series};

/// A running VictoriaMetrics; it ends with this value.
struct Victoria {
    child: Child,
    address: SocketAddr,
}

impl Victoria {
    fn start(scratch: &Scratch) -> Self {
        let address = free_address();
        let log = File::create(scratch.path("victoria.log")).expect("a log");
        let child = Command::new(require("victoria-metrics"))
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", scratch.path("victoria").display()))
            .args(["-retentionPeriod=100y", "-memory.allowedBytes=256MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let victoria = Self { child, address };
        let answers =
            || get(address, "/health", &[]).is_ok_and(|response| response.status == 200).then_some(());
        eventually(PATIENCE, "VictoriaMetrics answers", answers);
        victoria
    }

    fn import(&self, text: &str) {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        let head = format!(
            "POST /api/v1/import/prometheus HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            text.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        get(self.address, "/internal/force_flush", &[]).expect("flushed");
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        // Either call fails only for a process that has already gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn victoria_metrics_gives_the_same_bill() {
    let scratch = Scratch::new("report-victoria");
    let victoria = Victoria::start(&scratch);
    let mut text = String::new();
    let mut samples = 0;
    for (name, points) in series() {
        for (minute, value) in points {
            let _ = writeln!(text, "{name} {value} {}", (BEGIN + minute * 60) * 1000);
            samples += 1;
        }
    }
    victoria.import(&text);
    // What was written is found a moment later.
    eventually(PATIENCE, "all samples are there", || {
        let response =
            get(victoria.address, "/api/v1/export?match=%7Bjob%3D%22wattribute%22%7D", &[]).ok()?;
        let found: usize = response
            .text()
            .lines()
            .map(|line| line.split("\"timestamps\"").nth(1).map_or(0, |times| times.matches(',').count() + 1))
            .sum();
        (found >= samples).then_some(())
    });
    check_truth(&said(&report(victoria.address, &scratch, &["--format=json"])));
}
