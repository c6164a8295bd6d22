//! The exporter for other users: the target's folder, where it was built, may be closed to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fake_nvml::Scenario;

use crate::exporter::{Flags, wattribute};
use crate::scratch::Scratch;
use crate::tools::require;

/// A user that no machine has.
const UID: u32 = 31_999;

/// A folder that everybody may enter, with the binary, the fake driver and its scenario.
#[derive(Debug)]
pub struct Foreign(Scratch);

impl Foreign {
    /// With the fake driver under this scenario.
    ///
    /// # Panics
    /// When something is not built.
    #[must_use]
    #[track_caller]
    pub fn new(name: &str, scenario: &Scenario) -> Self {
        let folder = Scratch::below(&std::env::temp_dir(), name);
        let open = |path: &Path, mode| {
            let opened = fs::set_permissions(path, fs::Permissions::from_mode(mode));
            opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        };
        open(&folder.path(""), 0o755);
        let library = fake_nvml::library().expect("the fake driver is built with this test");
        for (from, to) in [(wattribute(), "wattribute"), (library, "libnvidia-ml.so.1")] {
            fs::copy(&from, folder.path(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
            open(&folder.path(to), 0o755);
        }
        scenario.save(&folder.path("scenario.yaml")).unwrap_or_else(|error| panic!("{error}"));
        open(&folder.path("scenario.yaml"), 0o644);
        // Whoever runs the driver writes it.
        open(&folder.write("journal.jsonl", ""), 0o666);
        Self(folder)
    }

    /// Writes a file that everybody may read.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.write(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own");
        path
    }

    /// A path inside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// A program that is the exporter as another user, without groups and capabilities.
    #[must_use]
    #[track_caller]
    pub fn program(&self) -> PathBuf {
        let setpriv = require("setpriv");
        let script = format!(
            "#!/bin/sh\nexec {} --reuid={UID} --regid={UID} --clear-groups --inh-caps=-all --bounding-set=-all \
             {} \"$@\"\n",
            setpriv.display(),
            self.0.path("wattribute").display(),
        );
        self.write("unprivileged", &script)
    }

    /// How that program is started.
    #[must_use]
    #[track_caller]
    pub fn flags(&self) -> Flags {
        Flags {
            program: Some(self.program()),
            nvml_library: Some(self.0.path("libnvidia-ml.so.1")),
            env: vec![
                ("FAKE_NVML_SCENARIO".into(), self.0.path("scenario.yaml").into()),
                ("FAKE_NVML_JOURNAL".into(), self.0.path("journal.jsonl").into()),
            ],
            ..Flags::default()
        }
    }
}
