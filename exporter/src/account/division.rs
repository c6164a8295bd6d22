//! How MIG divided a GPU in an interval: what the samples at its two ends said, together.

use wattribute::split::Instance;

use crate::sample::{Mig, MigInstance};

/// The instances of an interval that began under `before` and ended under `now`. One that was destroyed in between
/// still pays for it, by what its processes held; with those created since it may make more slices than the GPU has.
pub fn joined(before: Option<&Mig>, now: Option<&Mig>) -> Option<Mig> {
    let mut all = now?.clone();
    let is_gone = |own: &&MigInstance| all.instances.iter().all(|other| other.id != own.id);
    let gone: Vec<MigInstance> =
        before.iter().flat_map(|before| &before.instances).filter(is_gone).cloned().collect();
    all.instances.extend(gone.into_iter().map(|own| MigInstance { activity: None, ..own }));
    Some(all)
}

/// Whether the same instances exist.
pub fn is_same(one: Option<&Mig>, other: Option<&Mig>) -> bool {
    let names = |mig: &Mig| mig.instances.iter().map(|own| (own.id, own.uuid.clone())).collect::<Vec<_>>();
    one.map(names) == other.map(names)
}

/// As the library wants them.
pub fn instances(mig: &Mig) -> Vec<Instance> {
    let instance = |own: &MigInstance| {
        let MigInstance { id, slices, memory, activity, .. } = *own;
        Instance { id, slices, memory, activity }
    };
    mig.instances.iter().map(instance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattribute::split::InstanceId;

    /// A GPU with these GPU instances, each fully active.
    fn mig(ids: &[u32]) -> Mig {
        let own = |&gpu: &u32| MigInstance {
            id: InstanceId { gpu, compute: 0 },
            uuid: format!("MIG-{gpu}").into(),
            slices: 1,
            memory: None,
            activity: Some(100_000),
        };
        Mig { slices: 7, instances: ids.iter().map(own).collect() }
    }

    #[track_caller]
    fn check(before: Option<&[u32]>, now: Option<&[u32]>, want: Option<&[(u32, bool)]>) {
        let [before, now] = [before, now].map(|ids| ids.map(mig));
        let got = joined(before.as_ref(), now.as_ref());
        let active = |own: &MigInstance| (own.id.gpu, own.activity.is_some());
        let got: Option<Vec<(u32, bool)>> = got.map(|mig| mig.instances.iter().map(active).collect());
        assert_eq!(got.as_deref(), want);
    }

    #[test]
    fn an_instance_that_was_destroyed_counts_until_the_end_of_the_interval() {
        check(Some(&[1, 2]), Some(&[2, 3]), Some(&[(2, true), (3, true), (1, false)]));
        check(None, Some(&[1]), Some(&[(1, true)]));
        check(Some(&[1]), None, None);
        check(Some(&[1]), Some(&[]), Some(&[(1, false)]));
    }
}
