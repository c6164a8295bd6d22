//! The units, as systemd reads them; no systemd runs them here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wattribute_e2e::{Scratch, require, wattribute};

use crate::{read, said};

/// A folder of units with the service in it, which starts the binary under test.
struct Units {
    folder: Scratch,
}

impl Units {
    fn new(drop_ins: &[&str]) -> Self {
        let folder = Scratch::new("units");
        let service = read("systemd/wattribute.service");
        let here = wattribute().canonicalize().expect("the binary").display().to_string();
        folder.write("wattribute.service", &service.replace("/usr/bin/wattribute", &here));
        fs::create_dir(folder.path("wattribute.service.d")).expect("a folder");
        for path in drop_ins {
            let name = path.rsplit('/').next().expect("a name");
            folder.write(&format!("wattribute.service.d/{name}"), &read(path));
        }
        folder.write("wattribute.socket", &read("systemd/socket/wattribute.socket"));
        Self { folder }
    }

    fn analyze(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(require("systemd-analyze"));
        // The empty part at the end: what systemd itself ships, for the targets.
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", self.path("").display()));
        said(command.args(arguments).arg(self.path("wattribute.service")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

/// systemd has no word to say: it only warns of what it does not know, and exits with 0.
#[track_caller]
fn check_verified(drop_ins: &[&str]) {
    assert_eq!(Units::new(drop_ins).analyze(&["verify", "--man=no"]), (true, String::new()));
}

#[test]
fn systemd_understands_every_line() {
    check_verified(&[]);
    check_verified(&["systemd/read-environment.conf"]);
    check_verified(&["systemd/socket/socket-activation.conf"]);
    let units = Units::new(&[]);
    let text = fs::read_to_string(units.path("wattribute.service")).expect("a unit");
    fs::write(units.path("wattribute.service"), text.replace("ProtectClock", "ProtectClocks"))
        .expect("a file");
    let (_, said) = units.analyze(&["verify", "--man=no"]);
    assert!(said.contains("ProtectClocks"), "so that this test can fail: {said}");
}

/// At most this exposure, in tenths, of 100.
#[track_caller]
fn check_exposure(drop_ins: &[&str], most: u32) {
    let threshold = format!("--threshold={most}");
    let (is_less, said) = Units::new(drop_ins).analyze(&["security", "--offline=true", &threshold]);
    assert!(is_less, "over {most} of 100: {said}");
}

#[test]
fn the_exposure_is_low_and_the_drop_in_adds_little() {
    // systemd 252 says 1.6 and 2.2, where 0 is best and 10 worst; others weigh a little differently.
    check_exposure(&[], 20);
    check_exposure(&["systemd/read-environment.conf"], 25);
}

#[test]
fn the_user_of_the_service_is_made_by_sysusers() {
    let root = Scratch::new("sysusers");
    fs::create_dir_all(root.path("etc/sysusers.d")).expect("a folder");
    root.write("etc/sysusers.d/wattribute.conf", &read("systemd/wattribute.sysusers"));
    let mut sysusers = Command::new(require("systemd-sysusers"));
    // By its name, as the package does.
    let (is_done, what) =
        said(sysusers.arg(format!("--root={}", root.path("").display())).arg("wattribute.conf"));
    assert!(is_done, "{what}");
    let users = fs::read_to_string(root.path("etc/passwd")).expect("users");
    assert!(users.starts_with("wattribute:") && users.contains("/nologin"), "{users}");
    for line in ["User=wattribute\n", "Group=wattribute\n"] {
        assert!(read("systemd/wattribute.service").contains(line), "{line}");
    }
}
