//! Tells the binary which revision it was built from: what `WATTRIBUTE_REVISION` says, for builds without the repository
//! around them, else what git says.

use std::env;
use std::process::Command;

fn main() {
    let said = env::var("WATTRIBUTE_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = said.or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
    });
    println!("cargo::rustc-env=WATTRIBUTE_REVISION={}", revision.as_deref().map_or("unknown", str::trim));
    println!("cargo::rerun-if-env-changed=WATTRIBUTE_REVISION");
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/refs/heads");
}
