//! A pod as the API server tells it.

use serde_json::{Value, json};

/// A pod; its node is the exporter's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: Vec<(String, String)>,
    /// The name of each container and its id, as in the control group.
    pub containers: Vec<(String, String)>,
    /// `status.phase`.
    pub phase: String,
    /// Of a mirror pod: the uid of the static pod.
    pub mirror_of: Option<String>,
}

impl Pod {
    /// A running pod whose uid ends with this number, with the container `main`, whose id is made of it.
    #[must_use]
    pub fn numbered(number: u8, namespace: &str, name: &str) -> Self {
        Self {
            uid: format!("5f32d849-6210-4886-a48d-e0d90e1d02{number:02x}"),
            namespace: namespace.into(),
            name: name.into(),
            labels: vec![],
            containers: vec![("main".into(), format!("{number:064x}"))],
            phase: "Running".into(),
            mirror_of: None,
        }
    }

    /// With a label more.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// The control group of its first container, as systemd names it.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    #[track_caller]
    pub fn cgroup(&self) -> String {
        let uid = self.mirror_of.as_ref().unwrap_or(&self.uid).replace('-', "_");
        let (_, id) = self.containers.first().expect("a container");
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{id}.scope"
        )
    }

    pub(crate) fn object(&self, version: u64) -> Value {
        let labels: serde_json::Map<String, Value> =
            self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let statuses: Vec<Value> = self
            .containers
            .iter()
            .map(|(name, id)| {
                json!({"name": name, "containerID": format!("containerd://{id}"), "ready": true,
                "lastState": {}, "state": {"running": {}}})
            })
            .collect();
        let specs: Vec<Value> = self.containers.iter().map(|(name, _)| json!({"name": name})).collect();
        let annotations = self.mirror_of.as_ref().map(|hash| {
            json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash, "kubernetes.io/config.source": "file"})
        });
        json!({
            "metadata": {"uid": self.uid, "namespace": self.namespace, "name": self.name, "labels": labels,
                "annotations": annotations, "resourceVersion": version.to_string(),
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "kubelet"}]},
            "spec": {"nodeName": "gpu-1", "containers": specs},
            "status": {"phase": self.phase, "containerStatuses": statuses},
        })
    }
}
