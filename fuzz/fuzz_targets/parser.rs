//! One of the parsers, the one that `WATTRIBUTE_FUZZ` names: one program for all of them, since building it takes minutes.
//! Good inputs to begin with are written to the folder `WATTRIBUTE_FUZZ_CORPUS`, if it is named. See README.md.

#![no_main]

use std::sync::LazyLock;
use std::{env, fs};

use libfuzzer_sys::fuzz_target;
use wattribute_exporter::inside::fuzzed::{Target, targets};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = env::var("WATTRIBUTE_FUZZ").unwrap_or_default();
    let known: Vec<&str> = targets().iter().map(|target| target.name).collect();
    let found = targets().into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("WATTRIBUTE_FUZZ={name:?}: choose from {known:?}"))
});

fn write_seeds() {
    let Some(folder) = env::var_os("WATTRIBUTE_FUZZ_CORPUS") else { return };
    for (number, seed) in TARGET.seeds.iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{number}"));
        fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| {
    if let Some(fault) = (TARGET.feed)(bytes).fault() {
        panic!("{}: {fault}", TARGET.name);
    }
});
