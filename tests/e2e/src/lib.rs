//! Harness for end-to-end tests: the real exporter, a real Prometheus, real processes, and a driver whose truth is
//! known ([`fake_nvml`]). Tests use it; nothing that ships does. What goes wrong panics, with what a person needs to
//! know. Everything listens on 127.0.0.1 only, and each test ends no other process than its own.
//!
//! A test declares in this order, so that what is dropped first is what uses the rest:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use fake_nvml::{Gpu, Load, Scenario};
//! # use wattribute_e2e::{Exporter, Flags, Process, Prometheus, Scratch};
//! let scratch = Scratch::new("two-teams");
//! let alice = Process::named("python3").env("TEAM", "alice").start();
//! let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
//! scenario.loads.push(Load::constant(alice.pid(), 0, 40));
//! let flags = Flags { exposition_delay: Some(Duration::from_secs(5)), ..Flags::with_fake(&scratch, &scenario) };
//! let exporter = Exporter::start(&scratch, flags).expect("it starts");
//! let prometheus = Prometheus::start(scratch.path("prometheus"), &[exporter.address()], Duration::from_secs(1));
//! let samples = prometheus.query("sum by (team) (wattribute_team_energy_joules_total)");
//! ```

#![expect(clippy::expect_used, clippy::panic, reason = "a harness fails its test by panicking")]

mod books;
mod exporter;
mod foreign;
mod http;
mod keep_alive;
mod process;
mod prometheus;
mod scratch;
pub mod soak;
mod text;
mod tools;
mod wait;

/// Rules by which every process pays for the team in its variable `TEAM`; an H100 idles at 70 W.
pub const TEAM_OF_ENVIRONMENT: &str = r#"
idle_watts: {"NVIDIA H100.*": 70}
rules:
  - name: said by the process
    match: ['env_TEAM=~".+"']
    owner: {team: "${env_TEAM}"}
"#;

pub use books::{Auditor, Reading, accounted_gpus, covered, device_mj, readings, team_mj};
pub use exporter::{Exit, Exporter, Flags, wattribute};
pub use foreign::Foreign;
pub use http::{Response, get, request};
pub use keep_alive::Client;
pub use process::{Process, Running};
pub use prometheus::{Labels, Prometheus};
pub use scratch::Scratch;
pub use text::{Format, Malformed, Sample, Scrape};
pub use tools::{check_metrics, gunzip, require};
pub use wait::{PATIENCE, at_best, eventually, free_address};
