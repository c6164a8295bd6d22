//! Pods as the API server tells them, reduced to what facts are made of, and the cache of those on this node.
//!
//! Pure. Callers: `api` reads them, `desk` keeps and asks them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long a pod is remembered after the API server has dropped it.
const LINGER: Duration = Duration::from_secs(300);

/// What is kept of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// By their names as in `pod_label_<name>`.
    pub labels: BTreeMap<String, String>,
    /// The names of its containers by their ids, of the present ones and those before a restart.
    pub containers: BTreeMap<String, String>,
    /// Of a static pod: the uid that its control group carries.
    static_uid: Option<String>,
    created: String,
    /// Whether all its containers have ended for good.
    pub is_finished: bool,
}

/// The pods of this node.
#[derive(Debug, Default)]
pub struct Pods(HashMap<String, Known>);

/// A pod, and since when the API server has it no longer.
#[derive(Debug)]
pub struct Known {
    pub pod: Pod,
    pub deleted: Option<Instant>,
}

impl Pods {
    /// Takes the pods of a whole list: others are there no longer.
    pub fn replace(&mut self, pods: Vec<Pod>, now: Instant) {
        for known in self.0.values_mut() {
            known.deleted.get_or_insert(now);
        }
        pods.into_iter().for_each(|pod| self.put(pod));
    }

    /// A pod is new or has changed.
    pub fn put(&mut self, mut pod: Pod) {
        if let Some(before) = self.0.remove(&pod.uid) {
            // The ids of containers that were restarted more than once.
            for (id, name) in before.pod.containers.into_iter().take(MOST_CONTAINERS) {
                pod.containers.entry(id).or_insert(name);
            }
        }
        self.0.insert(pod.uid.clone(), Known { pod, deleted: None });
    }

    /// A pod is there no longer.
    pub fn delete(&mut self, uid: &str, now: Instant) {
        if let Some(known) = self.0.get_mut(uid) {
            known.deleted = Some(now);
        }
    }

    /// The pod that a control group names by this uid.
    pub fn of_cgroup(&self, uid: &str) -> Option<&Known> {
        self.0.get(uid).or_else(|| {
            let claims = self.0.values().filter(|known| known.pod.static_uid.as_deref() == Some(uid));
            // Anyone who may create pods can claim a static pod's uid: the first has it.
            claims.min_by_key(|known| (known.deleted.is_some(), &known.pod.created, &known.pod.uid))
        })
    }

    /// The pod of this name; of several that had it one after the other the one that is still there, else the last.
    pub fn of_name(&self, namespace: &str, name: &str) -> Option<&Known> {
        let named =
            self.0.values().filter(|known| known.pod.namespace == namespace && known.pod.name == name);
        named.max_by_key(|known| (known.deleted.is_none(), known.deleted, &known.pod.created, &known.pod.uid))
    }

    /// Drops those that were deleted long ago and that are not `needed`.
    pub fn sweep(&mut self, now: Instant, needed: impl Fn(&Pod) -> bool) {
        self.0.retain(|_, known| known.deleted.is_none_or(|at| at + LINGER > now) || needed(&known.pod));
    }
}

impl Pod {
    /// The uid that its control groups carry.
    pub fn cgroup_uid(&self) -> &str {
        self.static_uid.as_deref().unwrap_or(&self.uid)
    }
}

/// How many ids of earlier containers are remembered of one pod.
const MOST_CONTAINERS: usize = 256;

/// A list of pods, as the API server writes it.
#[derive(Debug, Deserialize)]
pub struct List {
    pub metadata: ListMetadata,
    #[serde(default)]
    pub items: Vec<Written>,
}

/// What stands above a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMetadata {
    pub resource_version: String,
}

/// A pod as the API server writes it; what is not needed is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Written {
    pub metadata: Metadata,
    status: Status,
}

/// What stands above a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub uid: String,
    namespace: String,
    name: String,
    pub resource_version: String,
    creation_timestamp: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    last_state: LastState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastState {
    terminated: Option<Terminated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl From<Written> for Pod {
    fn from(written: Written) -> Self {
        let Written { metadata, status } = written;
        let static_uid = metadata.annotations.as_ref().and_then(static_uid);
        Self {
            static_uid,
            labels: labels(metadata.labels.unwrap_or_default()),
            is_finished: matches!(&*status.phase, "Succeeded" | "Failed"),
            containers: containers(status),
            uid: metadata.uid,
            namespace: metadata.namespace,
            name: metadata.name,
            created: metadata.creation_timestamp.unwrap_or_default(),
        }
    }
}

/// The uid of a static pod, which the API server knows by a mirror with a uid of its own. It is a hash, and never looks
/// like the uid of another pod: nobody can claim that.
fn static_uid(annotations: &BTreeMap<String, String>) -> Option<String> {
    let hash = annotations.get("kubernetes.io/config.hash")?;
    let is_hash = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && annotations.get("kubernetes.io/config.mirror") == Some(hash)).then(|| hash.clone())
}

/// Labels by the names that rules know them by. Where two have one name and different values, neither is believed:
/// the one may be checked by an admission policy, and the other be set past it.
fn labels(written: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (name, value) in written {
        let entry = labels.entry(label_name(&name)).or_insert_with(|| Some(value.clone()));
        if entry.as_ref() != Some(&value) {
            *entry = None;
        }
    }
    labels.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn label_name(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect()
}

fn containers(status: Status) -> BTreeMap<String, String> {
    let lists =
        [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let mut containers = BTreeMap::new();
    for ContainerStatus { name, container_id, last_state } in lists.into_iter().flatten().flatten() {
        let before = last_state.terminated.and_then(|terminated| terminated.container_id);
        for id in [container_id, before].into_iter().flatten() {
            // `containerd://<id>`
            let id = id.split_once("://").map_or(&*id, |(_, id)| id).to_owned();
            if !id.is_empty() {
                containers.insert(id, name.clone());
            }
        }
    }
    containers
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef";

    fn read(json: &str) -> Pod {
        serde_json::from_str::<Written>(json).expect("a pod").into()
    }

    #[test]
    fn a_pod_is_reduced_to_what_is_needed() {
        let pod = read(
            r#"{"kind": "Pod", "metadata": {"uid": "u", "namespace": "ns", "name": "p", "labels": {"a.b/c-d": "x"},
                "managedFields": [{"a": 1}], "annotations": null},
                "spec": {"containers": [{"name": "main"}]},
                "status": {"phase": "Running", "initContainerStatuses": [{"name": "init", "containerID": "cri-o://1"}],
                "containerStatuses": [{"name": "main", "containerID": "containerd://2", "ready": true,
                "lastState": {"terminated": {"containerID": "containerd://3", "exitCode": 1}}},
                {"name": "waits", "containerID": ""}], "ephemeralContainerStatuses": [{"name": "debug", "containerID": "docker://4"}]}}"#,
        );
        let containers: Vec<(&str, &str)> =
            pod.containers.iter().map(|(id, name)| (&**id, &**name)).collect();
        assert_eq!(containers, [("1", "init"), ("2", "main"), ("3", "main"), ("4", "debug")]);
        assert_eq!((&*pod.uid, &*pod.namespace, &*pod.name, pod.is_finished), ("u", "ns", "p", false));
        assert_eq!(pod.labels, [("a_b_c_d".to_owned(), "x".to_owned())].into());
    }

    #[track_caller]
    fn check_labels(written: &[(&str, &str)], want: &[(&str, &str)]) {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        assert_eq!(labels(own(written)), own(want));
    }

    #[test]
    fn labels_that_become_one_are_believed_only_where_they_agree() {
        check_labels(&[("a-b", "x"), ("a.b", "x"), ("c", "y")], &[("a_b", "x"), ("c", "y")]);
        check_labels(&[("a-b", "x"), ("a.b", "z"), ("a_b", "x")], &[]);
    }

    fn pod(uid: &str, name: &str, created: &str) -> Pod {
        Pod {
            uid: uid.into(),
            namespace: "ns".into(),
            name: name.into(),
            created: created.into(),
            ..Pod::default()
        }
    }

    fn mirror(uid: &str, created: &str) -> Pod {
        Pod { static_uid: Some(HASH.into()), ..pod(uid, uid, created) }
    }

    #[test]
    fn a_static_pod_is_found_by_its_hash_and_the_first_claim_counts() {
        let mut pods = Pods::default();
        pods.put(mirror("late", "2026-01-02T00:00:00Z"));
        pods.put(mirror("early", "2026-01-01T00:00:00Z"));
        assert_eq!(pods.of_cgroup(HASH).map(|known| &*known.pod.uid), Some("early"));
        assert_eq!(pods.of_cgroup("late").map(|known| &*known.pod.uid), Some("late"));
        assert!(pods.of_cgroup("other").is_none());
    }

    #[track_caller]
    fn check_static(hash: &str, mirror: &str, want: bool) {
        let annotations = [("kubernetes.io/config.hash", hash), ("kubernetes.io/config.mirror", mirror)];
        let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(static_uid(&annotations.into()).is_some(), want);
    }

    #[test]
    fn no_pod_can_claim_anothers_uid() {
        check_static(HASH, HASH, true);
        check_static(HASH, "file", false);
        let uid = "5f32d849-6210-4886-a48d-e0d90e1d0206";
        check_static(uid, uid, false);
    }

    #[test]
    fn a_name_is_the_living_pods_and_else_the_last_ones() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        pods.put(pod("1", "p", "2026-01-01T00:00:00Z"));
        pods.delete("1", now);
        assert_eq!(pods.of_name("ns", "p").map(|known| &*known.pod.uid), Some("1"));
        pods.put(pod("2", "p", "2026-01-02T00:00:00Z"));
        assert_eq!(pods.of_name("ns", "p").map(|known| &*known.pod.uid), Some("2"));
        pods.replace(vec![], now + Duration::from_secs(1));
        assert_eq!(pods.of_name("ns", "p").map(|known| &*known.pod.uid), Some("2"));
        assert!(pods.of_name("other", "p").is_none());
    }

    #[test]
    fn a_deleted_pod_is_forgotten_after_five_minutes_unless_it_has_processes() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        ["1", "2", "3"].iter().for_each(|uid| pods.put(pod(uid, uid, "")));
        pods.delete("1", now);
        pods.delete("2", now);
        pods.sweep(now + LINGER - Duration::from_secs(1), |_| false);
        assert!(pods.of_cgroup("1").is_some());
        pods.sweep(now + LINGER, |pod| pod.uid == "2");
        let left = ["1", "2", "3"].map(|uid| pods.of_cgroup(uid).is_some());
        assert_eq!(left, [false, true, true]);
    }
}
