//! A node: a kubelet, an API server, processes in pods, GPUs, and the exporter that watches all of them. The processes
//! are real, only their control groups are not: to make such groups for real takes a machine of one's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use fake_kube::{ApiServer, Container, Kubelet, Pod};
use fake_nvml::{Gpu, Journal, Load, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Running, Scrape, Scratch, eventually, team_mj};

pub const SOON: Duration = Duration::from_secs(60);

/// What there is before the exporter starts.
pub struct Node {
    pub scratch: Scratch,
    pub kubelet: Option<Kubelet>,
    pub api: Option<ApiServer>,
    scenario: Scenario,
    processes: Vec<Running>,
}

/// The node with the exporter on it.
pub struct World {
    pub exporter: Exporter,
    pub node: Node,
    auditor: Auditor,
}

impl Node {
    /// With so many GPUs, and nothing else.
    pub fn new(name: &str, gpus: u32) -> Self {
        let scratch = Scratch::new(name);
        for folder in ["proc", "account"] {
            fs::create_dir(scratch.path(folder)).expect("a folder");
        }
        let scenario = Scenario::starting_now((0..gpus).map(Gpu::numbered).collect());
        Self { scratch, kubelet: None, api: None, scenario, processes: vec![] }
    }

    /// With a kubelet that gave out these devices.
    pub fn kubelet(mut self, containers: &[Container]) -> Self {
        self.kubelet = Some(Kubelet::start(&self.socket(), containers));
        self
    }

    /// With an API server that knows these pods.
    pub fn api(mut self, pods: &[Pod]) -> Self {
        self.api = Some(ApiServer::start(&self.scratch.path("account"), pods));
        self
    }

    /// With a process of this pod on a GPU.
    pub fn process(mut self, pod: &Pod, gpu: usize) -> Self {
        let process = Process::named("python3").start();
        let pid = process.pid();
        let (from, to) =
            (PathBuf::from(format!("/proc/{pid}")), self.scratch.path("proc").join(pid.to_string()));
        fs::create_dir(&to).expect("a folder");
        for file in ["stat", "status", "cmdline"] {
            fs::write(to.join(file), fs::read(from.join(file)).expect("a process")).expect("a file");
        }
        symlink(fs::read_link(from.join("exe")).expect("a program"), to.join("exe")).expect("a link");
        fs::write(to.join("cgroup"), format!("{}\n", pod.cgroup())).expect("a file");
        self.scenario.loads.push(Load::constant(pid, gpu, 50));
        self.processes.push(process);
        self
    }

    /// Starts the exporter under these rules.
    #[track_caller]
    pub fn start(self, rules: &str, delay: Duration) -> World {
        let path = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
        let others = vec![
            path("path.procfs", self.scratch.path("proc")),
            path("kubernetes.pod-resources-socket", self.socket()),
            path("kubernetes.service-account", self.scratch.path("account")),
        ];
        let mut flags = Flags {
            rules_files: vec![self.scratch.write("rules.yaml", rules)],
            exposition_delay: Some(delay),
            sample_interval: Some(Duration::from_millis(500)),
            others,
            ..Flags::with_fake(&self.scratch, &self.scenario)
        };
        // The test itself may run in a pod.
        flags.env.push(("KUBERNETES_SERVICE_HOST".into(), "".into()));
        let environment = self.api.iter().flat_map(ApiServer::environment);
        flags.env.extend(environment.map(|(name, value)| (name, value.into())));
        let exporter = Exporter::start(&self.scratch, flags).expect("it starts");
        World { exporter, node: self, auditor: Auditor::default() }
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.path("kubelet.sock")
    }

    pub fn uuid(&self, gpu: usize) -> &str {
        &self.scenario.gpus[gpu].uuid
    }
}

impl World {
    /// A scrape, which reconciles.
    #[track_caller]
    pub fn scrape(&mut self) -> Scrape {
        self.auditor.scrape(&self.exporter)
    }

    /// The first scrape, of which each reconciles, for which this holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self, &Scrape) -> bool) -> Scrape {
        eventually(SOON, what, || {
            let scrape = self.scrape();
            // Other tests run beside this one.
            if !holds(self, &scrape) {
                sleep(Duration::from_millis(200));
                return None;
            }
            Some(scrape)
        })
    }

    /// The first scrape in which this team has a hundred joules.
    #[track_caller]
    pub fn until_pays(&mut self, team: &str) -> Scrape {
        self.until(&format!("{team} pays"), |_, scrape| team_mj(scrape, team, "") > 100_000)
    }

    #[track_caller]
    pub fn kubelet(&self) -> &Kubelet {
        self.node.kubelet.as_ref().expect("there is one")
    }

    #[track_caller]
    pub fn api(&self) -> &ApiServer {
        self.node.api.as_ref().expect("there is one")
    }

    /// How many files the exporter has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.exporter.pid())).expect("it runs").count()
    }

    /// The longest time in ms between two questions to the driver for a reading of the first GPU.
    pub fn longest_gap(&self) -> u64 {
        let entries = Journal::read(&self.node.scratch.path("journal.jsonl")).expect("a journal");
        let mut times: Vec<u64> =
            entries.iter().filter(|entry| entry.gpu == Some(0)).map(|entry| entry.t_us).collect();
        // Two threads that ask at once may be noted in either order.
        times.sort_unstable();
        assert!(times.len() > 20, "{times:?}");
        times.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).max().unwrap_or_default()
    }
}

/// How often something failed for this reason.
pub fn failures(scrape: &Scrape, reason: &str) -> u64 {
    let value = scrape.value("wattribute_identify_failures_total", &[("reason", reason)]);
    value.map_or(0, |value| value.parse().expect("a count"))
}
