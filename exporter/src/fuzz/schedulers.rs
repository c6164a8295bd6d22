//! What schedulers say: Slurm's tools and prolog, the kubelet, the API server.

use std::collections::BTreeSet;
use std::fs;

use super::{Outcome, Target, known, text};
use crate::slurm::{gres, hostlist, parse, prolog};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "scontrol_text", feed: scontrol_text, seeds: SCONTROL, rounds: 3000 },
    Target { name: "scontrol_json", feed: scontrol_json, seeds: SCONTROL_JSON, rounds: 3000 },
    Target { name: "squeue", feed: squeue, seeds: &[b"7|2026-11-01T10:00:00\n8|N/A\n"], rounds: 3000 },
    Target { name: "gres", feed: gpus, seeds: GRES, rounds: 3000 },
    Target {
        name: "hostlist",
        feed: nodes,
        seeds: &[b"gpu[01-04,9],login", b"a[1-2]b[3,5-6]"],
        rounds: 2000,
    },
    Target { name: "prolog", feed: mapping, seeds: &[b"211\n212\n\n", b"4294967295\nx\n"], rounds: 600 },
    #[cfg(feature = "kubernetes")]
    Target { name: "kubelet", feed: kubernetes::kubelet, seeds: &[kubernetes::LIST], rounds: 5000 },
    #[cfg(feature = "kubernetes")]
    Target { name: "pods", feed: kubernetes::pods, seeds: &[kubernetes::PODS], rounds: 3000 },
    #[cfg(feature = "kubernetes")]
    Target {
        name: "watch",
        feed: kubernetes::watch,
        seeds: &[kubernetes::CHANGES, kubernetes::END],
        rounds: 3000,
    },
];

const SCONTROL: &[&[u8]] = &[
    b"JobId=7 JobName=train UserId=alice(1001) GroupId=staff(50) MCS_label=N/A Account=astro QOS=normal Partition=gpu \
      AllocNode:Sid=login:1 NtasksPerN:B:S:C=0:0:*:* Nodes=gpu[01-02] CPU_IDs=0-1 Mem=1 GRES=gpu:a100:2(IDX:0-1) \
      MinCPUsNode=1\n",
    b"JobId=7 ArrayJobId=7 JobName=x Account=rich QOS= UserId=a(1) GroupId=b(2) Account=poor QOS=n Partition=p \
      AllocNode:Sid=l:1\nJobId=8 JobName=x UserId=a(1) GroupId=b(2) Account=poor QOS=n Partition=p AllocNode:Sid=l:1\n",
];
const SCONTROL_JSON: &[&[u8]] = &[
    br#"{"jobs": [{"job_id": 7, "user_id": 1001, "user_name": "alice", "group_id": 50, "account": "astro", "name": "a b",
    "partition": "gpu", "nodes": "gpu[01-02]", "gres_detail": ["gpu:a100:2(IDX:0-1)", "gpu:a100:1(IDX:3)"]}]}"#,
    br#"{"jobs": [{"job_id": 7, "user_id": 1, "job_resources": {"nodes": "a1"}, "gres_detail": []}], "errors": []}"#,
];
const GRES: &[&[u8]] = &[
    b"gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:4),craynetwork:1",
    b"shard:a100:8(0/8,8/8),mps:100(IDX:0)",
    b"gpu:1g.10gb:1(IDX:3)",
];

fn scontrol_text(bytes: &[u8]) -> Outcome {
    job(parse::parse_text(&text(bytes), 7))
}

fn scontrol_json(bytes: &[u8]) -> Outcome {
    job(parse::parse_json(&text(bytes), 7))
}

/// What a job has is looked for, too.
fn job(job: Option<parse::Job>) -> Outcome {
    if let Some(shares) = job.as_ref().and_then(|job| job.shares.as_ref()) {
        gres::here(shares, &["gpu01".into()]);
    }
    known(job)
}

fn squeue(bytes: &[u8]) -> Outcome {
    known(parse::parse_list(&text(bytes)))
}

fn gpus(bytes: &[u8]) -> Outcome {
    bounded(gres::gpus(&text(bytes)))
}

fn nodes(bytes: &[u8]) -> Outcome {
    hostlist::numbers(&text(bytes));
    bounded(hostlist::expand(&text(bytes)))
}

/// However much the text asks for.
fn bounded<T>(list: Option<Vec<T>>) -> Outcome {
    match list {
        Some(list) if list.len() > 400_000 => Outcome::Broken("a short text makes a long list"),
        list => known(list),
    }
}

fn mapping(bytes: &[u8]) -> Outcome {
    let folder = super::files::scratch();
    let file = folder.join("0");
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, bytes));
    let mapping = prolog::Prolog::new(&folder).read();
    // What is left of it is in the folder for temporary files.
    let _ = fs::remove_dir_all(&folder);
    match (written, mapping) {
        (Ok(()), Some(mapping)) => {
            let jobs: BTreeSet<u32> =
                text(bytes).lines().filter_map(|line| line.trim().parse().ok()).collect();
            if mapping.keys().all(|job| jobs.contains(job)) {
                Outcome::Read
            } else {
                Outcome::Broken("a job is named that the file does not name")
            }
        }
        _ => Outcome::Refused(String::new()),
    }
}

#[cfg(feature = "kubernetes")]
mod kubernetes {
    //! What the kubelet and the API server answer.

    use super::super::{Outcome, said};
    use crate::kubernetes::devices::{Minors, held, need_minors};
    use crate::kubernetes::pods::{List, Pod};
    use crate::kubernetes::{podresources, watch};

    pub const LIST: &[u8] =
        b"\x0a\x44\x0a\x05train\x12\x06speech\x1a\x33\x0a\x04main\x12\x17\x0a\x0envidia.com/gpu\x12\x05GPU-a\
        \x12\x12\x0a\x0envidia.com/gpu\x12\x00";
    pub const PODS: &[u8] =
        br#"{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"uid":"u","namespace":"n","name":"p",
        "creationTimestamp":"2026-11-01T10:00:00Z","labels":{"app":"a","a.b/c":"d"},
        "annotations":{"kubernetes.io/config.hash":"0123456789abcdef0123456789abcdef",
        "kubernetes.io/config.mirror":"0123456789abcdef0123456789abcdef"}},
        "status":{"phase":"Running","containerStatuses":[{"name":"main","containerID":"containerd://abc",
        "lastState":{"terminated":{"containerID":"containerd://abd"}}}]}}]}"#;
    pub const CHANGES: &[u8] =
        br#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"uid":"u","resourceVersion":"7"},"status":{}}}
{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12","creationTimestamp":null}}}

{"type":"DELETED","object":{"metadata":{"uid":"u","resourceVersion":"13"}}}
"#;
    pub const END: &[u8] =
        b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"m\"}}\n";

    pub fn kubelet(bytes: &[u8]) -> Outcome {
        let containers = podresources::parse(bytes);
        if let Ok(containers) = &containers {
            need_minors(containers);
            containers.iter().for_each(|container| drop(held(container, &Minors::default())));
        }
        said(containers.map_err(|_| ""))
    }

    pub fn pods(bytes: &[u8]) -> Outcome {
        let list = serde_json::from_slice::<List>(bytes);
        said(list.map(|list| list.items.into_iter().map(Pod::from).collect::<Vec<_>>()).map_err(|_| ""))
    }

    /// However the stream is cut, it says the same.
    pub fn watch(bytes: &[u8]) -> Outcome {
        let (whole, error) = changes(bytes, bytes.len().max(1));
        if changes(bytes, 7).0 != whole {
            return Outcome::Broken("a stream says something else when it comes in other pieces");
        }
        said(error.map_or(Ok(()), Err))
    }

    fn changes(bytes: &[u8], piece: usize) -> (Vec<watch::Change>, Option<String>) {
        let (mut lines, mut changes) = (watch::Lines::default(), vec![]);
        for piece in bytes.chunks(piece) {
            lines.extend(piece);
            loop {
                match lines.next() {
                    Ok(Some(change)) => changes.push(change),
                    Ok(None) => break,
                    Err(error) => return (changes, Some(error.to_string())),
                }
            }
        }
        (changes, None)
    }
}
