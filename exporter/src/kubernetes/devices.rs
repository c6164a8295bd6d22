//! Which GPU a device plugin means by its names of devices. What is not certain is not mapped: nobody is billed for a
//! GPU on a guess.
//!
//! Pure, but for [`Minors::read`]. Caller: `kubelet`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::podresources::{Container, Given};
use crate::allocation::Device;

/// The driver of NVIDIA's dynamic resource allocation.
const CLAIM_DRIVER: &str = "gpu.nvidia.com";

/// What a device plugin's name of a device says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// This GPU or MIG instance, or a replica of it.
    Device(Device),
    /// A GPU, but nobody can be sure which.
    Unsure,
    /// No GPU of ours.
    Other,
}

/// What a container holds: of each device the number of its replicas, 1 where it is held whole; and the names that
/// could not be mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub devices: BTreeMap<Device, u64>,
    pub unsure: Vec<String>,
}

/// The GPUs by the number of their `/dev/nvidia<N>`, which is not the index that NVML counts by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minors(BTreeMap<u32, Arc<str>>);

/// What this container holds.
pub fn held(container: &Container, minors: &Minors) -> Held {
    let mut held = Held::default();
    for given in &container.devices {
        match meaning(given, minors) {
            Meaning::Device(device) => *held.devices.entry(device).or_default() += 1,
            Meaning::Unsure => held.unsure.push(given.id.clone()),
            Meaning::Other => {}
        }
    }
    // A claim names its devices by a number whose meaning has changed between versions of the driver.
    let claimed = container.claimed.iter().filter(|given| given.by == CLAIM_DRIVER);
    held.unsure.extend(claimed.map(|given| given.id.clone()));
    held
}

/// Whether any of these names needs [`Minors`].
pub fn need_minors(containers: &[Container]) -> bool {
    let mut all = containers.iter().flat_map(|container| &container.devices);
    all.any(|given| is_of_gpus(&given.by) && given.id.starts_with("nvidia"))
}

fn meaning(given: &Given, minors: &Minors) -> Meaning {
    // NVIDIA's plugin names the replicas of a shared device `<uuid>::<number>`.
    let (id, replica) = given.id.split_once("::").unwrap_or((&given.id, "0"));
    if is_uuid(id) && is_number(replica) {
        return Meaning::Device(Device::Uuid(id.into()));
    }
    if !is_of_gpus(&given.by) && !id.starts_with("GPU-") && !id.starts_with("MIG-") {
        return Meaning::Other;
    }
    minor(&given.id)
        .and_then(|minor| minors.0.get(&minor))
        .map_or(Meaning::Unsure, |uuid| Meaning::Device(Device::Uuid(Arc::clone(uuid))))
}

/// `nvidia.com/gpu`, its renamed forms such as `nvidia.com/gpu.shared`, and `nvidia.com/mig-1g.10gb`.
fn is_of_gpus(resource: &str) -> bool {
    let kind = resource.strip_prefix("nvidia.com/").unwrap_or_default();
    kind == "gpu" || kind.starts_with("gpu.") || kind.starts_with("mig-")
}

/// Of GKE's `nvidia0`, or its replica `nvidia0/vgpu1`. Its MIG instances, `nvidia0/gi1`, have no certain UUID.
fn minor(id: &str) -> Option<u32> {
    let (device, part) = id.split_once('/').unwrap_or((id, "vgpu0"));
    let number = device.strip_prefix("nvidia").filter(|number| is_number(number))?;
    part.strip_prefix("vgpu").filter(|replica| is_number(replica))?;
    number.parse().ok()
}

/// `GPU-<uuid>`, `MIG-<uuid>`, or as drivers before R470 wrote it `MIG-GPU-<uuid>/<number>/<number>`. Nothing may be
/// appended: plugins that append a number of their own choose the GPU by other means than the kubelet's.
fn is_uuid(id: &str) -> bool {
    if let Some(old) = id.strip_prefix("MIG-GPU-") {
        let mut parts = old.split('/');
        return parts.next().is_some_and(is_plain_uuid)
            && parts.next().is_some_and(is_number)
            && parts.next().is_some_and(is_number)
            && parts.next().is_none();
    }
    id.strip_prefix("GPU-").or_else(|| id.strip_prefix("MIG-")).is_some_and(is_plain_uuid)
}

fn is_plain_uuid(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Minors {
    /// Those that the driver tells below this /proc; none where it tells nothing.
    pub fn read(procfs: &Path) -> Self {
        let folders = fs::read_dir(procfs.join("driver/nvidia/gpus")).into_iter().flatten().flatten();
        let texts = folders.filter_map(|folder| fs::read_to_string(folder.path().join("information")).ok());
        Self(texts.filter_map(|text| parse_information(&text)).collect())
    }
}

/// The number and the UUID in what the driver says of a GPU.
fn parse_information(text: &str) -> Option<(u32, Arc<str>)> {
    let value = |name| {
        let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    // As long as the driver has not woken the GPU there are question marks for the UUID.
    let uuid = value("GPU UUID").filter(|uuid| is_uuid(uuid))?;
    Some((value("Device Minor")?.parse().ok()?, uuid.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: &str = "GPU-8f6c2d1e-0000-4000-8000-00000000000a";
    const MIG: &str = "MIG-8f6c2d1e-0000-4000-8000-00000000000b";
    const INFORMATION: &str = "Model: \t\t NVIDIA L4\nIRQ:   \t\t 57\nGPU UUID: \t GPU-8f6c2d1e-0000-4000-8000-00000000000a\nDevice Minor: \t 3\n";

    /// What these devices of this resource are: UUIDs with the number of replicas, and what could not be mapped.
    #[track_caller]
    fn check(resource: &str, ids: &[&str], want: &[(&str, u64)], unsure: &[&str]) {
        let given = |id: &&str| Given { by: resource.into(), id: (*id).into() };
        let container = Container { devices: ids.iter().map(given).collect(), ..Container::default() };
        let minors = Minors(parse_information(INFORMATION).into_iter().collect());
        let held = held(&container, &minors);
        let want = want.iter().map(|(uuid, replicas)| (Device::Uuid((*uuid).into()), *replicas));
        assert_eq!(held.devices, want.collect());
        assert_eq!(held.unsure, unsure);
    }

    #[test]
    fn a_uuid_is_its_device() {
        check("nvidia.com/gpu", &[GPU], &[(GPU, 1)], &[]);
        check("nvidia.com/mig-1g.10gb", &[MIG], &[(MIG, 1)], &[]);
        check("example.com/fast", &[GPU], &[(GPU, 1)], &[]);
        let old = "MIG-GPU-8f6c2d1e-0000-4000-8000-00000000000a/7/0";
        check("nvidia.com/mig-1g.10gb", &[old], &[(old, 1)], &[]);
    }

    #[test]
    fn replicas_of_a_shared_gpu_are_counted() {
        let ids = [0, 3, 11].map(|replica| format!("{GPU}::{replica}"));
        check("nvidia.com/gpu.shared", &ids.each_ref().map(String::as_str), &[(GPU, 3)], &[]);
        check("nvidia.com/mig-1g.10gb", &[&format!("{MIG}::1")], &[(MIG, 1)], &[]);
    }

    #[test]
    fn the_number_of_a_device_file_is_looked_up() {
        check("nvidia.com/gpu", &["nvidia3"], &[(GPU, 1)], &[]);
        check("nvidia.com/gpu", &["nvidia3/vgpu0", "nvidia3/vgpu1"], &[(GPU, 2)], &[]);
    }

    #[test]
    fn what_is_not_certain_is_not_mapped() {
        let unsure = ["0", "GPU-8f6c2d1e", "nvidia0", "nvidia3/gi1", "nvidia3/gi1/vgpu0", "nvidiactl"];
        check("nvidia.com/gpu", &unsure, &[], &unsure);
        // Not the kubelet, but the plugin has chosen the GPU behind these.
        let chosen = [&*format!("{GPU}-0"), &format!("{GPU}::x"), &format!("{GPU}/1")];
        check("nvidia.com/gpu", &chosen, &[], &{
            let mut sorted = chosen;
            sorted.sort_unstable();
            sorted
        });
    }

    #[test]
    fn other_devices_are_no_gpus() {
        check("intel.com/qat", &["0", "nvidia3"], &[], &[]);
        check("nvidia.com/hostdev", &["0000:01:00.0"], &[], &[]);
        check("amd.com/gpu", &["0000:01:00.0"], &[], &[]);
    }

    #[test]
    fn a_claim_is_not_mapped_but_said() {
        let claim = |by: &str| Given { by: by.into(), id: "gpu-0".into() };
        let claimed = [claim(CLAIM_DRIVER), claim("net.example.com")].into();
        let container = Container { claimed, ..Container::default() };
        assert_eq!(held(&container, &Minors::default()).unsure, ["gpu-0"]);
    }

    #[test]
    fn a_gpu_that_sleeps_has_no_uuid_yet() {
        let asleep = INFORMATION.replace("8f6c2d1e", "????????");
        assert_eq!(parse_information(&asleep), None);
        assert_eq!(parse_information(""), None);
    }
}
