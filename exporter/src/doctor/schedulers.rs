//! Slurm and Kubernetes: whether they are here, answer, and say what the rules want to know.

use wattribute::rules::RuleSet;

use super::finding::{Finding, count};
use crate::rules_file;
use crate::settings::{Schedulers, Serve, Source};
use crate::slurm::{self, Scontrol};

pub fn examine(settings: &Serve) -> Vec<Finding> {
    let (Source::Nvml { .. }, Some(schedulers)) = (&settings.source, &settings.machine.schedulers) else {
        return Vec::new();
    };
    // Files that do not load are the examination of the rules.
    let rules = rules_file::load(&settings.rules_files).unwrap_or_default();
    let mut findings = slurm(&rules);
    findings.extend(job_mapping(schedulers));
    #[cfg(feature = "kubernetes")]
    findings.extend(kubernetes::examine(&settings.machine, &schedulers.kubernetes, &rules));
    findings
}

fn slurm(rules: &RuleSet) -> Vec<Finding> {
    let is_wanted = slurm::is_wanted(rules);
    let Some(scontrol) = Scontrol::find() else {
        let advice = "install Slurm's client programs, put them in PATH of the service, and slurm.conf in place or in SLURM_CONF";
        return vec![match (Scontrol::is_configured(), is_wanted) {
            (true, _) => Finding::warning("Slurm", "slurm.conf is here, but no scontrol in PATH", advice),
            (false, true) => {
                let found = "rules name its facts, but there is no scontrol in PATH with a slurm.conf";
                Finding::warning("Slurm", found, advice)
            }
            (false, false) => Finding::ok("Slurm", "not here: no scontrol in PATH with a slurm.conf"),
        }];
    };
    let configuration = match scontrol.configuration() {
        Ok(configuration) => configuration,
        Err(what) => {
            let advice = "see that slurmctld runs and munge works: scontrol ping";
            return vec![Finding::failure(
                "Slurm",
                format!("the controller does not answer: {what}"),
                advice,
            )];
        }
    };
    let mut findings = configured(&configuration);
    findings.push(match scontrol.list() {
        Some(jobs) => Finding::ok("Slurm", format!("{} on this node", count(jobs.len(), "job", "jobs"))),
        None => Finding::failure(
            "Slurm",
            "it does not list the jobs of this node: what they hold is not known",
            "squeue --nodelist=localhost must answer; where the node has another name in Slurm, set SLURMD_NODENAME",
        ),
    });
    findings
}

/// What of the cluster's configuration matters here.
fn configured(configuration: &str) -> Vec<Finding> {
    let lines = || configuration.lines().filter_map(|line| line.split_once('='));
    let value =
        |key: &str| lines().find(|(name, _)| name.trim() == key).map_or("", |(_, value)| value.trim());
    let (tracking, gres, private) = (value("ProctrackType"), value("GresTypes"), value("PrivateData"));
    let mut findings = Vec::new();
    if !tracking.ends_with("cgroup") {
        let found = format!("ProctrackType={tracking}: the job of a process cannot be told");
        findings.push(Finding::warning("Slurm", found, "set ProctrackType=proctrack/cgroup in slurm.conf"));
    }
    if !gres.split(',').any(|name| name == "gpu") {
        let found = format!("GresTypes={gres}: which GPUs a job holds is not known");
        findings.push(Finding::warning(
            "Slurm",
            found,
            "set GresTypes=gpu in slurm.conf and AutoDetect=nvml in gres.conf",
        ));
    }
    if private.contains("jobs") && !rustix::process::geteuid().is_root() {
        let found = format!("PrivateData={private}: jobs of others are hidden from this user");
        findings.push(Finding::warning(
            "Slurm",
            found,
            "run as root or SlurmUser, or as an operator of Slurm",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("Slurm", format!("{tracking}, GRES {gres}")));
    }
    findings
}

fn job_mapping(schedulers: &Schedulers) -> Option<Finding> {
    let folder = schedulers.slurm_job_mapping.as_ref()?;
    let place = folder.display();
    Some(match std::fs::read_dir(folder) {
        Ok(files) => {
            Finding::ok("job mapping", format!("{place}: {}", count(files.count(), "file", "files")))
        }
        Err(error) => {
            let advice = "let Slurm's prolog make it, readable for this user: --slurm.job-mapping-dir";
            Finding::failure("job mapping", format!("{place}: {error}"), advice)
        }
    })
}

#[cfg(feature = "kubernetes")]
mod kubernetes {
    use std::env;
    use std::time::Duration;

    use super::{Finding, RuleSet, count};
    use crate::kubernetes::api::{Memory, Server};
    use crate::kubernetes::{is_wanted, kubelet};
    use crate::settings;

    /// How long the API server may take here; the exporter itself waits longer.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub fn examine(
        machine: &settings::Machine,
        settings: &settings::Kubernetes,
        rules: &RuleSet,
    ) -> Vec<Finding> {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return vec![Finding::failure("kubelet", error.to_string(), "raise the limits of this user")];
            }
        };
        let findings =
            runtime.block_on(async { [kubelet(machine, settings).await, api(settings, rules).await] });
        runtime.shutdown_background();
        findings.into()
    }

    async fn kubelet(machine: &settings::Machine, settings: &settings::Kubernetes) -> Finding {
        let socket = settings.pod_resources_socket.display();
        let is_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty());
        match kubelet::ask(&settings.pod_resources_socket, &machine.procfs).await {
            Ok(holdings) => {
                let unsure: Vec<&str> =
                    holdings.iter().flat_map(|one| &one.unsure).map(String::as_str).collect();
                let found = format!(
                    "{socket}: answers PodResources v1; with GPUs: {}",
                    count(holdings.len(), "container", "containers")
                );
                if unsure.is_empty() {
                    return Finding::ok("kubelet", found);
                }
                let advice = "let the device plugin name GPUs by UUID (deviceIDStrategy: uuid)";
                Finding::warning(
                    "kubelet",
                    format!("{found}; nobody can be sure which: {}", unsure.join(", ")),
                    advice,
                )
            }
            Err(kubelet::Failure::Absent) if is_pod => Finding::warning(
                "kubelet",
                format!("{socket}: there is no socket: which pods hold GPUs is not known"),
                "mount the host's /var/lib/kubelet/pod-resources, read-only",
            ),
            Err(kubelet::Failure::Absent) => Finding::ok("kubelet", format!("not here: no socket {socket}")),
            Err(failure) => Finding::failure(
                "kubelet",
                format!("{socket}: {failure}"),
                "the socket is root's: run as root, or mount its folder anew after the kubelet has restarted",
            ),
        }
    }

    async fn api(settings: &settings::Kubernetes, rules: &RuleSet) -> Finding {
        const CHECK: &str = "API server";
        let server = match Server::find(settings) {
            Ok(Some(server)) => server,
            Ok(None) if is_wanted(rules) => {
                let found = "rules name namespaces, pods or their labels, but this is no pod of a cluster";
                return Finding::warning(CHECK, found, "run it as a DaemonSet: docs/kubernetes.md");
            }
            Ok(None) => return Finding::ok(CHECK, "not asked: this is no pod of a cluster"),
            Err(what) => return Finding::failure(CHECK, what, "see docs/kubernetes.md"),
        };
        match tokio::time::timeout(PATIENCE, server.list(Memory::Server)).await {
            Ok(Ok(list)) => Finding::ok(
                CHECK,
                format!("on this node it lists {}", count(list.items.len(), "pod", "pods")),
            ),
            Ok(Err(failure)) => Finding::failure(
                CHECK,
                failure.to_string(),
                "see the service account, its role and its token: docs/kubernetes.md",
            ),
            Err(_) => Finding::failure(
                CHECK,
                format!("it hangs: no answer within {PATIENCE:?}"),
                "see network policies, and whether KUBERNETES_SERVICE_HOST is right",
            ),
        }
    }
}
