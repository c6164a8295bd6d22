//! Reads the kubelet's answer to `v1.PodResourcesLister/List`: which container was given which devices.
//!
//! Pure. What a device is, is decided in `devices`; CPUs, memory and NUMA nodes are skipped. Caller: `kubelet`.

use std::collections::BTreeSet;

use super::protobuf::{Malformed, fields, text};

/// A container and what it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub namespace: String,
    pub pod: String,
    pub name: String,
    /// By a device plugin. The kubelet may tell one device several times, once for each NUMA node.
    pub devices: BTreeSet<Given>,
    /// By a driver of dynamic resource allocation.
    pub claimed: BTreeSet<Given>,
}

/// A device that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    /// The resource, such as `nvidia.com/gpu`; of a claim the driver, such as `gpu.nvidia.com`.
    pub by: String,
    /// As the plugin or driver calls it.
    pub id: String,
}

/// All containers of the answer.
///
/// # Errors
/// Where the message breaks its format: then nothing of it is believed.
pub fn parse(answer: &[u8]) -> Result<Vec<Container>, Malformed> {
    let mut containers = Vec::new();
    for field in fields(answer) {
        if let (1, Some(pod)) = field? {
            containers.extend(parse_pod(pod)?);
        }
    }
    Ok(containers)
}

fn parse_pod(message: &[u8]) -> Result<Vec<Container>, Malformed> {
    let (mut name, mut namespace, mut containers) = (String::new(), String::new(), Vec::new());
    for field in fields(message) {
        match field? {
            (1, Some(bytes)) => name = text(bytes)?,
            (2, Some(bytes)) => namespace = text(bytes)?,
            (3, Some(bytes)) => containers.push(parse_container(bytes)?),
            _ => {}
        }
    }
    for container in &mut containers {
        container.namespace.clone_from(&namespace);
        container.pod.clone_from(&name);
    }
    Ok(containers)
}

fn parse_container(message: &[u8]) -> Result<Container, Malformed> {
    let mut container = Container::default();
    for field in fields(message) {
        match field? {
            (1, Some(bytes)) => container.name = text(bytes)?,
            (2, Some(bytes)) => container.devices.extend(parse_devices(bytes)?),
            (5, Some(bytes)) => container.claimed.extend(parse_claim(bytes)?),
            _ => {}
        }
    }
    Ok(container)
}

fn parse_devices(message: &[u8]) -> Result<Vec<Given>, Malformed> {
    let (mut by, mut ids) = (String::new(), Vec::new());
    for field in fields(message) {
        match field? {
            (1, Some(bytes)) => by = text(bytes)?,
            (2, Some(bytes)) => ids.push(text(bytes)?),
            _ => {}
        }
    }
    Ok(ids.into_iter().map(|id| Given { by: by.clone(), id }).collect())
}

/// Of a claim only the devices in it.
fn parse_claim(message: &[u8]) -> Result<Vec<Given>, Malformed> {
    let mut all = Vec::new();
    for field in fields(message) {
        let (4, Some(device)) = field? else { continue };
        let mut given = Given::default();
        for field in fields(device) {
            match field? {
                (2, Some(bytes)) => given.by = text(bytes)?,
                (4, Some(bytes)) => given.id = text(bytes)?,
                _ => {}
            }
        }
        all.push(given);
    }
    Ok(all)
}
