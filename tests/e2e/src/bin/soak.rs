//! An hour, or as many minutes as told, of 8 GPUs × 64 processes with churn, reloads, scrapes and faults. Prints what the
//! exporter took, and exits 1 when memory grew, a descriptor leaked, a sample is missing or an account is wrong.
//!
//! `tests/soak [MINUTES] [--kill]`; see docs/performance.md.

use std::process::ExitCode;
use std::time::Duration;

use wattribute_e2e::soak::{Plan, soak};

fn main() -> ExitCode {
    let (mut minutes, mut kill) = (60, None);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse::<u64>()) {
            ("--kill", _) => kill = Some(Duration::from_secs(90)),
            (_, Ok(number)) if number > 0 => minutes = number,
            _ => {
                eprintln!("{argument:?}: neither a number of minutes nor --kill");
                return ExitCode::from(2);
            }
        }
    }
    let outcome = soak(&Plan { kill, ..Plan::long(Duration::from_secs(minutes * 60)) });
    println!("{}", outcome.table());
    let faults = outcome.faults();
    faults.iter().for_each(|fault| println!("FAULT: {fault}"));
    println!("{minutes} minutes: {}", if faults.is_empty() { "passed" } else { "failed" });
    ExitCode::from(u8::from(!faults.is_empty()))
}
