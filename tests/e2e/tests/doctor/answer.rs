//! Runs the doctor, and reads its answer.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use wattribute_e2e::{Flags, eventually, free_address};

/// Longer than all its examinations may take together.
const BOUND: Duration = Duration::from_secs(90);

/// What it said.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Arguments for the doctor: as JSON, on an address that is free, with a driver or without.
pub fn arguments(flags: &Flags, others: &[&str]) -> Vec<String> {
    let library = flags.nvml_library.iter().map(|library| format!("--nvml.library={}", library.display()));
    let fixed = ["doctor".to_owned(), "--format=json".to_owned()];
    let address = (!others.iter().any(|other| other.starts_with("--web.listen-address")))
        .then(|| format!("--web.listen-address={}", free_address()));
    let others = others.iter().map(|other| (*other).to_owned());
    fixed.into_iter().chain(address).chain(library).chain(others).collect()
}

/// Runs a program that is the doctor.
#[track_caller]
pub fn run(program: &Path, arguments: &[String], env: &[(String, OsString)]) -> Answer {
    let mut command = Command::new(program);
    // The test itself may run in a pod, or on a node of Slurm.
    command
        .args(arguments)
        .env("KUBERNETES_SERVICE_HOST", "")
        .env_remove("SLURM_CONF")
        .envs(env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is built");
    // Its words fit into the pipes.
    eventually(BOUND, "the doctor ends", || child.try_wait().ok().flatten());
    let output = child.wait_with_output().expect("a child ends");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Answer { code: output.status.code(), stdout, stderr }
}

/// Runs the doctor of these flags.
#[track_caller]
pub fn ask(flags: &Flags, others: &[&str]) -> Answer {
    run(&wattribute_e2e::wattribute(), &arguments(flags, others), &flags.env)
}

impl Answer {
    /// It exits so, and of this check it has a finding like this: how bad, and words of what is there and what to do.
    #[track_caller]
    pub fn check(&self, code: i32, (check, outcome): (&str, &str), words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        let answer: Value = serde_json::from_str(&self.stdout).expect("JSON");
        let findings = answer["checks"].as_array().expect("a list");
        let text = |finding: &Value| format!("{} → {}", finding["found"], finding["advice"]);
        let is_it = |finding: &&Value| {
            finding["check"] == check
                && finding["outcome"] == outcome
                && words.iter().all(|word| text(finding).contains(word))
        };
        assert!(
            findings.iter().any(|finding| is_it(&finding)),
            "{check} {outcome} {words:?} in\n{}",
            self.stdout
        );
        self
    }
}
