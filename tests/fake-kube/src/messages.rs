//! The kubelet's answer, written by the field numbers of its `api.proto`.

/// A container and the devices that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its own name.
    pub name: String,
    /// Resource and ids, as the device plugin calls them.
    pub devices: Vec<(String, Vec<String>)>,
}

impl Container {
    /// The container `main` of a pod, with these GPUs.
    #[must_use]
    pub fn with_gpus(namespace: &str, pod: &str, ids: &[&str]) -> Self {
        let ids = ids.iter().map(ToString::to_string).collect();
        let devices = vec![("nvidia.com/gpu".into(), ids)];
        Self { namespace: namespace.into(), pod: pod.into(), name: "main".into(), devices }
    }
}

/// `ListPodResourcesResponse`, each container in a pod of its own.
pub(crate) fn response(containers: &[Container]) -> Vec<u8> {
    containers.iter().flat_map(|container| field(1, &pod(container))).collect()
}

fn pod(container: &Container) -> Vec<u8> {
    let Container { namespace, pod, name, devices } = container;
    let mut inside = field(1, name.as_bytes());
    for (resource, ids) in devices {
        // Like a kubelet that knows of NUMA nodes: a message of its own for each device.
        for id in ids {
            let device = [field(1, resource.as_bytes()), field(2, id.as_bytes()), field(3, &topology())];
            inside.extend(field(2, &device.concat()));
        }
    }
    // Processors 0 and 1, packed.
    inside.extend(field(3, &[0, 1]));
    [field(1, pod.as_bytes()), field(2, namespace.as_bytes()), field(3, &inside)].concat()
}

/// NUMA node 1.
fn topology() -> Vec<u8> {
    field(1, &[1 << 3, 1])
}

/// A field with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(lowest(length) | 0x80);
        length >>= 7;
    }
    out.push(lowest(length));
    out.extend(bytes);
    out
}

/// The lowest byte of a number.
fn lowest(number: usize) -> u8 {
    number.to_le_bytes()[0]
}
