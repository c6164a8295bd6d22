//! What ships to other people's machines, with the programs that read it there: systemd, man, a shell, and a file system
//! with nothing but what the image has. What needs none of them is in `exporter/tests/packaging`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[cfg(test)]
mod container;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of `packaging/`.
fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name)
}

#[track_caller]
fn read(name: &str) -> String {
    fs::read_to_string(packaging(name)).expect(name)
}

/// What a program prints, both ways; whether it succeeded.
#[track_caller]
fn said(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    (status.success(), [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}
