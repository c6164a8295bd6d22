//! The manifests for Kubernetes, and how kustomize puts them together.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_yaml::Value;

use crate::{check_rules, check_serves, documents, files, read, root};

/// Folders with a `kustomization.yaml`.
fn kustomizations() -> Vec<String> {
    let all = files("kubernetes");
    let folders = all.iter().filter_map(|path| path.strip_suffix("/kustomization.yaml"));
    folders.map(str::to_owned).collect()
}

#[track_caller]
fn document(path: &str) -> Value {
    let mut all = documents(path);
    assert_eq!(all.len(), 1, "{path}");
    all.remove(0)
}

fn daemon_set() -> Value {
    document("kubernetes/base/daemonset.yaml")
}

fn pod() -> Value {
    daemon_set()["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    pod()["containers"][0].clone()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_sequence().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn everything_that_a_kustomization_names_exists() {
    let mut count = 0;
    for folder in kustomizations() {
        let made = document(&format!("{folder}/kustomization.yaml"));
        let maps = made["configMapGenerator"].as_sequence().cloned().unwrap_or_default();
        let named = ["resources", "components"].map(|key| texts(&made[key])).concat();
        let named = named.into_iter().chain(maps.iter().flat_map(|map| texts(&map["files"])));
        for name in named {
            assert!(root().join("packaging").join(&folder).join(&name).exists(), "{folder}: {name}");
            count += 1;
        }
    }
    assert!(count > 8, "{count}");
}

#[test]
fn every_manifest_is_named_by_a_kustomization() {
    for path in files("kubernetes").iter().filter(|path| !path.ends_with("/kustomization.yaml")) {
        let (folder, name) = path.rsplit_once('/').expect("a folder");
        assert!(read(&format!("{folder}/kustomization.yaml")).contains(name), "{path}");
        assert!(documents(path).iter().all(Value::is_mapping), "{path}");
    }
}

/// What a pointer of a JSON patch points at; the last part may be new.
fn parent<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let (_, folders) = parts.split_last()?;
    folders.iter().try_fold(value, |value, part| match part.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(*part),
    })
}

#[test]
fn every_patch_finds_what_it_changes() {
    let mut count = 0;
    for folder in kustomizations() {
        let made = document(&format!("{folder}/kustomization.yaml"));
        for patch in made["patches"].as_sequence().cloned().unwrap_or_default() {
            assert_eq!(patch["target"]["kind"].as_str(), Some("DaemonSet"), "{folder}");
            let steps: Value = serde_yaml::from_str(patch["patch"].as_str().expect("a text")).expect("YAML");
            for step in steps.as_sequence().expect("steps") {
                let path = step["path"].as_str().expect("a path");
                assert!(parent(&daemon_set(), path).is_some(), "{folder}: {path}");
                count += 1;
            }
        }
    }
    assert!(count > 8, "{count}");
}

#[test]
fn the_container_has_no_rights() {
    let want: Value = serde_yaml::from_str(
        "{privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
         capabilities: {drop: [ALL], add: []}}",
    )
    .expect("YAML");
    assert_eq!(container()["securityContext"], want);
    assert_eq!(pod()["securityContext"]["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    assert_eq!(pod()["hostPID"].as_bool(), Some(true));
    assert!(pod()["hostNetwork"].is_null() && pod()["hostIPC"].is_null());
}

#[test]
fn of_the_host_only_the_ledger_can_be_written() {
    let mounts = container()["volumeMounts"].as_sequence().cloned().expect("mounts");
    let writable = mounts.iter().filter(|mount| mount["readOnly"].as_bool() != Some(true));
    let writable: Vec<&str> = writable.filter_map(|mount| mount["mountPath"].as_str()).collect();
    assert_eq!(writable, ["/var/lib/wattribute"]);
    let volumes = pod()["volumes"].as_sequence().cloned().expect("volumes");
    let host: Vec<&str> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
    assert_eq!(host, ["/var/lib/wattribute", "/var/lib/kubelet/pod-resources"]);
    for mount in mounts {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount:?}");
    }
}

#[test]
fn the_arguments_are_understood_in_every_composition() {
    let rules = root().join("packaging/kubernetes/base/rules.yaml");
    let arguments = texts(&container()["args"]);
    check_serves(&arguments, &rules);
    let mut count = 0;
    for folder in kustomizations() {
        let text = read(&format!("{folder}/kustomization.yaml"));
        let added = text.lines().filter_map(|line| line.trim().strip_prefix("value: --"));
        for argument in added.map(|rest| format!("--{rest}")) {
            // The driver's library, which the check replaces: its name is what counts.
            assert!(argument.starts_with("--nvml.library="), "{folder}: {argument}");
            check_serves(&[arguments.clone(), vec![argument]].concat(), &rules);
            count += 1;
        }
    }
    assert_eq!(count, 1);
}

#[test]
fn ports_paths_and_folders_agree_with_the_arguments() {
    let arguments = texts(&container()["args"]);
    let value = |flag: &str| {
        arguments.iter().find_map(|argument| argument.strip_prefix(&format!("--{flag}="))).expect("a flag")
    };
    let port = container()["ports"][0]["containerPort"].as_u64().expect("a port");
    assert_eq!(value("web.listen-address"), format!(":{port}"));
    let service = document("kubernetes/base/service.yaml");
    assert_eq!(service["spec"]["ports"][0]["port"].as_u64(), Some(port));
    let mounts = container()["volumeMounts"].as_sequence().cloned().expect("mounts");
    for flag in ["rules.file", "state.dir"] {
        assert!(mounts.iter().any(|mount| mount["mountPath"].as_str() == Some(value(flag))), "{flag}");
    }
    for (probe, path) in [("livenessProbe", "/-/healthy"), ("readinessProbe", "/-/ready")] {
        assert_eq!(container()[probe]["httpGet"]["path"].as_str(), Some(path));
    }
    let env = container()["env"].as_sequence().cloned().expect("variables");
    let node = env.iter().find(|one| one["name"].as_str() == Some("NODE_NAME")).expect("the node's name");
    assert_eq!(node["valueFrom"]["fieldRef"]["fieldPath"].as_str(), Some("spec.nodeName"));
    let monitor = document("kubernetes/components/pod-monitor/pod-monitor.yaml");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], container()["ports"][0]["name"]);
}

#[test]
fn the_rules_hold_also_as_kubernetes_mounts_them() {
    for folder in ["base", "overlays/example"] {
        let rules = root().join("packaging/kubernetes").join(folder).join("rules.yaml");
        check_rules(&rules);
        let mount = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "rules-{}-{}",
            folder.len(),
            std::process::id()
        ));
        fs::create_dir_all(mount.join("..2026_11_21")).expect("a folder");
        fs::copy(&rules, mount.join("..2026_11_21/rules.yaml")).expect("a copy");
        symlink("..2026_11_21", mount.join("..data")).expect("a link");
        symlink("..data/rules.yaml", mount.join("rules.yaml")).expect("a link");
        check_rules(&mount);
        fs::remove_dir_all(mount).expect("it is there");
    }
}
