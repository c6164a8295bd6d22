//! How MIG divided a GPU, as a capture has it.

use serde::{Deserialize, Serialize};
use wattribute::split::InstanceId;

use crate::sample::{Mig, MigInstance};

/// A [`Mig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigLine {
    pub slices: u32,
    pub instances: Vec<MigInstanceLine>,
}

/// A [`MigInstance`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigInstanceLine {
    pub id: InstanceLine,
    pub uuid: String,
    pub slices: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<u32>,
}

/// An [`InstanceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceLine {
    pub gpu: u32,
    pub compute: u32,
}

impl From<InstanceId> for InstanceLine {
    fn from(InstanceId { gpu, compute }: InstanceId) -> Self {
        Self { gpu, compute }
    }
}

impl From<InstanceLine> for InstanceId {
    fn from(InstanceLine { gpu, compute }: InstanceLine) -> Self {
        Self { gpu, compute }
    }
}

impl MigLine {
    /// With the instances under these names.
    pub fn of(mig: &Mig, mut name: impl FnMut(&str) -> String) -> Self {
        let instances = mig.instances.iter().map(|one| MigInstanceLine {
            id: one.id.into(),
            uuid: name(&one.uuid),
            slices: one.slices,
            memory_bytes: one.memory,
            activity: one.activity,
        });
        Self { slices: mig.slices, instances: instances.collect() }
    }

    /// The division.
    pub fn mig(self) -> Mig {
        let instances = self.instances.into_iter().map(|one| MigInstance {
            id: one.id.into(),
            uuid: one.uuid.into(),
            slices: one.slices,
            memory: one.memory_bytes,
            activity: one.activity,
        });
        Mig { slices: self.slices, instances: instances.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_under_the_names_it_was_given() {
        let id = InstanceId { gpu: 7, compute: 0 };
        let instance =
            MigInstance { id, uuid: "MIG-secret".into(), slices: 3, memory: Some(1), activity: Some(10) };
        let mig = Mig { slices: 7, instances: vec![instance.clone()] };
        let text = serde_json::to_string(&MigLine::of(&mig, |_| "MIG-1".into())).expect("JSON");
        let line: MigLine = serde_json::from_str(&text).expect("a line");
        let renamed = MigInstance { uuid: "MIG-1".into(), ..instance };
        assert_eq!(line.mig(), Mig { slices: 7, instances: vec![renamed] });
    }
}
