//! Which GPUs of this node a job has, out of what Slurm says of it: pure.
//!
//! Slurm numbers a node's GPUs in the order of its gres.conf, or as `AutoDetect=nvml` found them; both follow the
//! device files `/dev/nvidia0`, `/dev/nvidia1`, …, as NVML does. So an index of Slurm is taken for NVML's.
//! Callers: `roster`.

use super::hostlist::{expand, numbers};
use super::parse::Share;

/// Indices of GPUs, and how many replicas of each: 1 of one that is held whole.
pub type Gpus = Vec<(u32, u64)>;

/// The GPUs that a job has on the node with one of these names; `None` where that cannot be told.
pub fn here(shares: &[Share], names: &[String]) -> Option<Gpus> {
    let mut parts = Vec::new();
    for share in shares {
        expand(&share.nodes)?.into_iter().for_each(|node| parts.push((node, &share.gres)));
    }
    // A job of one node that runs here has it here, however the node is called.
    if let [(_, gres)] = parts[..] {
        return gpus(gres);
    }
    let mut ours = parts.iter().filter(|(node, _)| names.iter().any(|name| is_same(node, name)));
    let found = ours.next().map_or(Some(Gpus::new()), |(_, gres)| gpus(gres));
    if ours.next().is_none() { found } else { None }
}

/// Whether a node's name and a host's are the same, where one of them may have the domain behind it.
fn is_same(node: &str, host: &str) -> bool {
    let short = |name: &str| name.split_once('.').map_or(name.len(), |(name, _)| name.len());
    node == host || &node[..short(node)] == host || node == &host[..short(host)]
}

/// The GPUs in `gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:4),craynetwork:1`; `None` where it cannot be told which.
pub fn gpus(gres: &str) -> Option<Gpus> {
    let mut gpus = Gpus::new();
    for one in split(gres) {
        let (kind, place) = one.split_once('(').unwrap_or((one, ""));
        let place = place.strip_suffix(')').unwrap_or(place);
        let mut words = kind.split(':');
        let name = words.next().unwrap_or_default();
        let (count, types) = match words.collect::<Vec<_>>()[..] {
            [count] => (count, ""),
            [type_, count] => (count, type_),
            _ => ("", ""),
        };
        if !matches!(name, "gpu" | "shard" | "mps") {
            continue;
        }
        let count: u64 = count.parse().ok()?;
        if count > 0 {
            // Instances have indices of their own, which say nothing of their GPUs.
            gpus.extend(if is_instance(types) { None } else { indices(name, count, place) }?);
        }
    }
    Some(gpus)
}

/// What stands between the commas that are in no parenthesis.
fn split(gres: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let parts = gres.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.filter(|part| !part.is_empty())
}

/// `IDX:0-1` for `count` GPUs, or for shares of a GPU; `0/4,2/4` for the shares of each.
fn indices(name: &str, count: u64, place: &str) -> Option<Gpus> {
    let Some(ranges) = place.strip_prefix("IDX:") else { return shares(count, place) };
    let indices: Option<Vec<u32>> = numbers(ranges)?.iter().map(|number| number.parse().ok()).collect();
    let indices = indices?;
    match (name, &indices[..]) {
        ("gpu", all) if all.len() as u64 == count => {
            Some(indices.into_iter().map(|index| (index, 1)).collect())
        }
        ("shard" | "mps", [only]) => Some(vec![(*only, count)]),
        _ => None,
    }
}

fn shares(count: u64, place: &str) -> Option<Gpus> {
    let parts: Option<Vec<u64>> =
        place.split(',').map(|part| part.split_once('/').and_then(|(mine, _)| mine.parse().ok())).collect();
    let parts = parts.filter(|parts| parts.iter().sum::<u64>() == count)?;
    Some((0..).zip(parts).filter(|(_, mine)| *mine > 0).collect())
}

/// Whether this type of GPU is a MIG instance: `1g.5gb`, `a100_3g.20gb`.
fn is_instance(types: &str) -> bool {
    let profile = types.rsplit('_').next().unwrap_or_default();
    let parts = profile
        .split_once("g.")
        .map(|(slices, memory)| (slices, memory.split("gb").next().unwrap_or_default()));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.is_some_and(|(slices, memory)| is_number(slices) && is_number(memory))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(gres: &str, want: Option<&[(u32, u64)]>) {
        assert_eq!(gpus(gres), want.map(<[_]>::to_vec), "{gres}");
    }

    #[test]
    fn indices_of_whole_gpus_are_read() {
        check("", Some(&[]));
        check("gpu:1(IDX:0)", Some(&[(0, 1)]));
        check("gpu:a100:2(IDX:2-3)", Some(&[(2, 1), (3, 1)]));
        check("gpu:4(IDX:0-3)", Some(&[(0, 1), (1, 1), (2, 1), (3, 1)]));
        check("gpu:3(IDX:0,2,4)", Some(&[(0, 1), (2, 1), (4, 1)]));
        check("gpu:3(IDX:0-1,4)", Some(&[(0, 1), (1, 1), (4, 1)]));
        check("gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:4)", Some(&[(0, 1), (1, 1), (4, 1)]));
        check("nic:1(IDX:0),gpu:h100:1(IDX:7),license:3", Some(&[(7, 1)]));
        check("gpu:0,gpu:a100:0(IDX:N/A)", Some(&[]));
    }

    #[test]
    fn shares_of_a_gpu_are_replicas() {
        check("shard:3(IDX:1)", Some(&[(1, 3)]));
        check("mps:a100:50(IDX:0)", Some(&[(0, 50)]));
        check("shard:a100:3(0/4,3/4)", Some(&[(1, 3)]));
        check("shard:5(2/4,0/4,3/4)", Some(&[(0, 2), (2, 3)]));
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        for unclear in [
            "gpu:2",
            "gpu:2(IDX:N/A)",
            "gpu:2(IDX:0)",
            "gpu:1(IDX:0-1)",
            "gpu:x(IDX:0)",
            "gpu",
            "gpu:a:b:1(IDX:0)",
            "gpu:1(IDX:-1)",
            "gpu:1(IDX:99999999999)",
            "shard:3(IDX:0-1)",
            "shard:3(0/4,2/4)",
            "shard:3(x)",
            "gpu:1g.5gb:1(IDX:5)",
            "gpu:a100_3g.20gb:1(IDX:0)",
            "gpu:h100_1g.10gb+me:1(IDX:0)",
        ] {
            check(unclear, None);
        }
    }

    fn share(nodes: &str, gres: &str) -> Share {
        Share { nodes: nodes.into(), gres: gres.into() }
    }

    #[track_caller]
    fn check_here(shares: &[(&str, &str)], host: &str, want: Option<&[(u32, u64)]>) {
        let shares: Vec<Share> = shares.iter().map(|(nodes, gres)| share(nodes, gres)).collect();
        assert_eq!(here(&shares, &[host.into()]), want.map(<[_]>::to_vec), "{shares:?} on {host}");
    }

    #[test]
    fn of_several_nodes_this_one_counts() {
        let shares = [("gpu[01-02]", "gpu:2(IDX:0-1)"), ("gpu03", "gpu:1(IDX:3)")];
        check_here(&shares, "gpu02", Some(&[(0, 1), (1, 1)]));
        check_here(&shares, "gpu03.example.org", Some(&[(3, 1)]));
        check_here(&shares, "gpu04", Some(&[]));
        check_here(&[("a.x,b.x", "gpu:1(IDX:3)")], "a", Some(&[(3, 1)]));
        check_here(&[("a.x,a.y", "gpu:1(IDX:3)")], "a", None);
        check_here(&[("a.x,a.y", "gpu:1(IDX:3)")], "a.x", Some(&[(3, 1)]));
        check_here(&[("node", "gpu:1(IDX:3)")], "whatever", Some(&[(3, 1)]));
        check_here(&[], "a", Some(&[]));
        check_here(&[("a[", "gpu:1(IDX:3)")], "a", None);
    }

    proptest! {
        #[test]
        fn no_gres_is_too_strange(text in "[gpushard0-9:,()/IDX.-]{0,40}|\\PC*") {
            let found = gpus(&text);
            prop_assert!(found.is_none_or(|all| all.iter().all(|(_, replicas)| *replicas > 0)));
        }
    }
}
