//! A headless Chromium that looks at a page once, and says what became of it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use wattribute_e2e::{PATIENCE, Scratch, eventually, require};

/// What the browser made of a page.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The document at the end, as HTML.
    pub document: String,
    /// What the page had to complain of: errors of its script, violations of its policy.
    pub complaints: Vec<String>,
}

/// Opens an address for so much time of the browser's own clock, which stands still while an answer is awaited.
///
/// # Panics
/// When Chromium is not installed, or has not ended within a minute.
#[track_caller]
pub fn look(scratch: &Scratch, address: &str, milliseconds: u32) -> Seen {
    let [document, log] = ["document.html", "browser.log"].map(|name| scratch.path(name));
    let mut command = Command::new(require("chromium"));
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    // It is to ask nobody but the exporter.
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]);
    command.arg(format!("--user-data-dir={}", scratch.path("browser").display()));
    command.arg(format!("--virtual-time-budget={milliseconds}"));
    command.args(["--enable-logging=stderr", "--dump-dom", address]).stdin(Stdio::null());
    command.stdout(File::create(&document).expect("a file")).stderr(File::create(&log).expect("a file"));
    let mut browser = Browser(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let ended = eventually(PATIENCE, "the browser ends", || browser.0.try_wait().expect("a child"));
    let [document, log] = [document, log].map(|path| fs::read(path).expect("a file"));
    let [document, log] = [document, log].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ended.success() && document.contains("</html>"), "{ended}: {log}");
    let complaints = log.lines().filter(|line| line.contains("CONSOLE") || line.contains("Security Policy"));
    Seen { complaints: complaints.map(str::to_owned).collect(), document }
}

/// A browser that does not outlive its test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // Either call fails only for one that has already gone.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Seen {
    /// The part of the document that begins with one text and ends with another.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn part(&self, begin: &str, end: &str) -> &str {
        let found = self.document.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
        found.unwrap_or_else(|| panic!("no {begin} … {end} in {}", self.document)).0
    }
}

/// The exact values of the numbers in a part of a page.
pub fn values(part: &str) -> Vec<f64> {
    let values = part.split("<data value=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    values.map(|(value, _)| value.parse().expect("a number")).collect()
}
