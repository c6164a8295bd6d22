//! Folders of reports: written once, chained, signed; and whatever is changed in one is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wattribute_e2e::{Scratch, gunzip, wattribute};

use crate::story::{PRICES, prometheus, series};

/// The example of RFC 8410.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

/// Where reports are written.
pub struct Desk {
    pub scratch: Scratch,
    pub server: String,
}

impl Desk {
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    pub fn report(&self, name: &str, period: [&str; 2], more: &[(&str, &str)]) -> Output {
        let mut command = Command::new(wattribute());
        command.arg("report").args(["--prometheus", &self.server, "--from", period[0], "--to", period[1]]);
        command.arg("--prices").arg(self.path("prices.yaml")).arg("--out").arg(self.path(name));
        more.iter().for_each(|(flag, name)| {
            command.arg(flag).arg(self.path(name));
        });
        command.output().expect("it runs")
    }

    pub fn verify(&self, names: &[&str], more: &[&str]) -> Result<String, String> {
        let folders = names.iter().map(|name| self.path(name));
        let output =
            Command::new(wattribute()).arg("verify").args(folders).args(more).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

pub const FIRST: [&str; 2] = ["2024-03-30T21:00", "2024-03-30T23:00"];
pub const SECOND: [&str; 2] = ["2024-03-30T23:00", "2024-03-31T05:00"];

/// Every byte position that is tried, of files of any length.
fn somewhere(path: &Path) -> Vec<usize> {
    let length = fs::read(path).expect("a file").len();
    vec![0, length / 3, length / 2, length - 1]
}

#[test]
fn reports_are_chained_and_every_change_is_found() {
    let scratch = Scratch::new("report-folders");
    let server = prometheus(&scratch, &series());
    let desk = Desk { server: format!("http://{}", server.address()), scratch };
    fs::write(desk.path("prices.yaml"), PRICES).expect("written");
    fs::write(desk.path("key.pem"), KEY).expect("written");
    let good = |output: Output| assert!(output.status.success(), "{output:?}");
    let bad = |output: Output, want: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(want), "{want}: {output:?}");
    };
    good(desk.report("1", FIRST, &[]));
    good(desk.report(
        "2",
        SECOND,
        &[("--previous", "1"), ("--sign-key", "key.pem"), ("--rules.file", "prices.yaml")],
    ));
    good(desk.report("2a", SECOND, &[("--previous", "2"), ("--amends", "2")]));
    bad(desk.report("2", SECOND, &[]), "never rewritten");
    bad(desk.report("3", ["2024-03-31T04:00", "2024-03-31T05:00"], &[("--previous", "2")]), "overlaps");
    bad(desk.report("3", FIRST, &[("--amends", "2")]), "another period");
    assert!(!desk.path("3").exists());

    let right = desk.verify(&["1", "2", "2a"], &[]).expect("as written");
    assert_eq!(right.lines().count(), 3, "{right}");
    let signature: Value =
        serde_json::from_slice(&fs::read(desk.path("2/manifest.json.sig")).expect("signed")).expect("JSON");
    let key = signature["public_key"].as_str().expect("a key");
    // The public key that RFC 8410 gives for that private one.
    assert!(key.starts_with("19bf44096984cdfe8541bac167dc3b96"), "{key}");
    desk.verify(&["2"], &["--public-key", key]).expect("signed");
    assert!(desk.verify(&["2"], &["--public-key", &key.replace('1', "2")]).is_err());
    assert!(desk.verify(&["1"], &["--public-key", key]).is_err_and(|error| error.contains("not signed")));

    // A byte of any file, and the order.
    for file in fs::read_dir(desk.path("2")).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("a file");
        for at in somewhere(&path) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).expect("written");
            assert!(desk.verify(&["1", "2"], &[]).is_err(), "{}: byte {at}", path.display());
        }
        fs::write(&path, bytes).expect("written");
    }
    for order in [&["2", "1"][..], &["1", "2a"], &["2a", "2"], &["1", "2", "2"]] {
        assert!(desk.verify(order, &[]).is_err(), "{order:?}");
    }
    check_moves(&desk);
    // A correction of a correction, and one that is left out.
    good(desk.report("2b", SECOND, &[("--previous", "2a"), ("--amends", "2a")]));
    desk.verify(&["1", "2", "2a", "2b"], &[]).expect("as written");
    for order in [&["1", "2", "2b"][..], &["1", "2", "2b", "2a"], &["2b", "2"]] {
        assert!(desk.verify(order, &[]).is_err(), "{order:?}");
    }
    desk.verify(&["1", "2", "2a"], &[]).expect("all is as it was again");
    fs::write(desk.path("1/more.txt"), "").expect("written");
    assert!(desk.verify(&["1"], &[]).is_err_and(|error| error.contains("more.txt: it was added")));

    check_extract(&desk.path("2"));
}

/// What is gone or in the place of another is found.
fn check_moves(desk: &Desk) {
    // A file that is gone, one folder for the other.
    for file in ["report.json", "manifest.json", "manifest.json.sha256", "extract.csv.gz", "prices.yaml"] {
        let (path, aside) = (desk.path("2").join(file), desk.path("aside"));
        fs::rename(&path, &aside).expect("moved");
        assert!(desk.verify(&["1", "2"], &[]).is_err(), "{file} is gone");
        fs::rename(&aside, &path).expect("moved back");
    }
    let swap = || {
        fs::rename(desk.path("1"), desk.path("aside")).expect("moved");
        fs::rename(desk.path("2"), desk.path("1")).expect("moved");
        fs::rename(desk.path("aside"), desk.path("2")).expect("moved");
    };
    swap();
    assert!(desk.verify(&["1", "2", "2a"], &[]).is_err(), "swapped");
    swap();
}

/// The extract has every gain that was billed, and the page names the evil team as text.
fn check_extract(folder: &Path) {
    let extract = String::from_utf8(gunzip(&fs::read(folder.join("extract.csv.gz")).expect("an extract")))
        .expect("text");
    let gained: f64 = extract
        .lines()
        .filter(|line| line.contains("wattribute_team_energy_joules_total"))
        .filter_map(|line| line.rsplit(',').nth(1)?.parse::<f64>().ok())
        .sum();
    let json = fs::read(folder.join("report.json")).expect("a report");
    let bill: Value = serde_json::from_slice(&json).expect("JSON");
    let billed: f64 =
        bill["total"]["energy_joules"].as_str().and_then(|text| text.parse().ok()).expect("joules");
    assert!((gained - billed).abs() < 1e-3, "{gained} {billed}");
    let page = fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page.contains("=HYPERLINK(&quot;x&quot;),&lt;b&gt;&amp;") && !page.contains("<b>"), "{page}");
}
