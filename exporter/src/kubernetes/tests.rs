//! What the kubelet says, out of bytes that were recorded; and what the stage decides, on virtual time.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use wattribute::facts::{Facts, Field, ProcessKey};
use wattribute::rules::{RuleSet, Source};

use super::desk::*;
use super::kubelet::Holding;
use super::podresources::{Container, Given, parse};
use super::pods::{List, Pod};
use super::*;
use crate::allocation::Device;

const UID: &str = "5f32d849-6210-4886-a48d-e0d90e1d0206";
const ID: &str = "6f2ffe4c0d8b1e0dbdc2b4ff8b9e2d4f6f2ffe4c0d8b1e0dbdc2b4ff8b9e2d4f";

/// An answer of a kubelet: the pod `train` in `speech` with two GPUs, each on a NUMA node and one of them on both, with
/// processors and memory; a pod without devices; and a pod with a claim. Written by Google's own library.
const RECORDED: &[u8] = b"\x0a\x80\x01\x0a\x05train\x12\x06speech\x1ao\x0a\x04main\
    \x12\x17\x0a\x0envidia.com/gpu\x12\x05GPU-a\
    \x12\x1d\x0a\x0envidia.com/gpu\x12\x05GPU-b\x1a\x04\x0a\x02\x08\x01\
    \x12\x17\x0a\x0envidia.com/gpu\x12\x05GPU-b\
    \x1a\x02\x00\x01\x22\x12\x0a\x06memory\x10\x80\x80\x80\x80 \x1a\x02\x0a\x00\
    \x0a\x18\x0a\x03web\x12\x07default\x1a\x08\x0a\x06server\
    \x0aK\x0a\x05claim\x12\x06speech\x1a:\x0a\x01c*5\x12\x03one\x1a\x06speech\
    \x22&\x0a\x08\x0a\x06vendor\x12\x0egpu.nvidia.com\x1a\x03n-1\x22\x05gpu-0";

#[test]
fn an_answer_says_who_was_given_what() {
    let given = |by: &str, id: &str| Given { by: by.into(), id: id.into() };
    let container = |namespace: &str, pod: &str, name: &str| {
        let (namespace, pod, name) = (namespace.into(), pod.into(), name.into());
        Container { namespace, pod, name, ..Container::default() }
    };
    let gpus = ["GPU-a", "GPU-b"].map(|id| given("nvidia.com/gpu", id)).into();
    let claimed = [given("gpu.nvidia.com", "gpu-0")].into();
    let want = [
        Container { devices: gpus, ..container("speech", "train", "main") },
        container("default", "web", "server"),
        Container { claimed, ..container("speech", "claim", "c") },
    ];
    assert_eq!(parse(RECORDED).as_deref(), Ok(&want[..]));
}

#[test]
fn an_answer_that_is_cut_short_is_not_believed() {
    let whole_pods = [0, 131, 157];
    for length in (0..RECORDED.len()).filter(|length| !whole_pods.contains(length)) {
        assert!(parse(&RECORDED[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn no_answer_panics(mut bytes: Vec<u8>, at in 0..RECORDED.len(), byte: u8) {
        let _ = parse(&bytes);
        bytes = RECORDED.to_vec();
        bytes[at] = byte;
        let _ = parse(&bytes);
    }
}

/// A desk at a time, in seconds, under rules.
struct Day {
    desk: Desk,
    begin: Instant,
}

fn rules(field: &str) -> RuleSet {
    let text = format!("rules:\n  - {{name: r, match: ['{field}=\"x\"'], owner: {{team: x}}}}\n");
    let source = Source { name: "test.yaml".into(), text };
    RuleSet::load(&[source], &mut |_, _| Err("no files".into())).expect("the rules")
}

fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, start: 1 }
}

fn pod(uid: &str, name: &str, more: &str) -> Pod {
    let json = format!(
        "{{\"metadata\": {{\"resourceVersion\": \"1\"}}, \"items\": [{{\"metadata\": {{\"uid\": \"{uid}\", \"namespace\": \
         \"speech\", \"name\": \"{name}\"{more}}}, \"status\": {{\"phase\": \"Running\", \"containerStatuses\": \
         [{{\"name\": \"main\", \"containerID\": \"containerd://{ID}\"}}]}}}}]}}"
    );
    let list: List = serde_json::from_str(&json).expect("a list");
    list.items.into_iter().map(Pod::from).next().expect("a pod")
}

fn finished(mut pod: Pod) -> Pod {
    pod.is_finished = true;
    pod
}

impl Day {
    fn new(access: Access) -> Self {
        let mut desk = Desk::new(access);
        assert_eq!(desk.want(&rules("pod_label_app"), 0), []);
        Self { desk, begin: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begin + Duration::from_secs(seconds)
    }

    /// Identify says that a process is in a pod; what is told of it.
    fn say(&mut self, pid: u32) -> String {
        self.desk.watch(process(pid));
        let mut facts = Facts::default();
        facts.set(Field::PodUid, UID);
        facts.set(Field::ContainerId, ID);
        let event = Event::Facts { process: process(pid), generation: 0, facts: Arc::new(facts) };
        let now = self.at(0);
        shown(&Told::Event(self.desk.hear(event, now)))
    }

    fn put(&mut self, seconds: u64, pod: Pod) -> Vec<String> {
        let now = self.at(seconds);
        self.desk.put(pod, now).iter().map(shown).collect()
    }

    fn delete(&mut self, seconds: u64, uid: &str) -> Vec<String> {
        let now = self.at(seconds);
        self.desk.delete(uid, now).iter().map(shown).collect()
    }

    /// The kubelet says that these pods hold a GPU each.
    fn hold(&mut self, seconds: u64, pods: &[&str]) -> Vec<String> {
        let holding = |pod: &&str| Holding {
            namespace: "speech".into(),
            pod: (*pod).into(),
            container: "main".into(),
            devices: [(Device::Uuid("GPU-a".into()), 1)].into(),
            unsure: vec![],
        };
        let now = self.at(seconds);
        self.desk.hold(pods.iter().map(holding).collect(), now).iter().map(shown).collect()
    }
}

/// What is told, in a line; `?` is pending.
fn shown(told: &Told) -> String {
    let text = |facts: &Facts| {
        let shown =
            facts.iter().filter(|(field, _)| **field != Field::ContainerId && **field != Field::Scheduler);
        let shown = shown.map(|(field, value)| {
            format!("{field}={}", value.unwrap_or("?").get(..8).unwrap_or(value.unwrap_or("?")))
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    match told {
        Told::Event(Event::Facts { process, facts, .. }) => format!("{}: {}", process.pid, text(facts)),
        Told::Event(other) => format!("{other:?}"),
        Told::Allocations(all) => {
            let held = all.held.iter().map(|(name, held)| format!("{name} {}", text(&held[0].facts)));
            held.collect::<Vec<_>>().join(", ")
        }
    }
}

const PENDING: &str = "1: pod_uid=5f32d849 namespace=? pod=? container=? pod_label_app=?";
const KNOWN: &str = "1: pod_uid=5f32d849 namespace=speech pod=train container=main";

#[test]
fn facts_are_pending_until_the_pod_is_known_and_told_once() {
    let mut day = Day::new(Access::Api);
    assert_eq!(day.say(1), PENDING);
    assert_eq!(day.put(1, pod("other", "web", "")), [""; 0]);
    assert_eq!(day.put(2, pod(UID, "train", "")), [KNOWN]);
    assert_eq!(day.put(3, pod(UID, "train", ", \"resourceVersion\": \"7\"")), [""; 0]);
    assert_eq!(day.say(1), KNOWN);
}

#[test]
fn labels_that_rules_name_are_told_again_when_they_change() {
    let mut day = Day::new(Access::Api);
    day.say(1);
    day.put(1, pod(UID, "train", ", \"labels\": {\"app\": \"a\"}"));
    let told = day.put(2, pod(UID, "train", ", \"labels\": {\"app\": \"b\", \"other\": \"x\"}"));
    assert_eq!(told, [format!("{KNOWN} pod_label_app=b")]);
    assert_eq!(day.put(3, pod(UID, "train", ", \"labels\": {\"app\": \"b\"}")), [""; 0]);
    assert_eq!(day.put(4, pod(UID, "train", "")), [KNOWN]);
}

#[test]
fn without_access_nothing_is_pending() {
    let mut day = Day::new(Access::None);
    assert_eq!(day.say(1), "1: pod_uid=5f32d849");
    assert_eq!(day.hold(1, &["train"]), ["pod:speech/train/main namespace=speech pod=train container=main"]);
}

#[test]
fn a_container_is_pending_until_the_pod_names_it_and_never_comes_once_the_pod_is_over() {
    let mut day = Day::new(Access::Api);
    day.say(1);
    let mut early = pod(UID, "train", "");
    early.containers.clear();
    let waiting = "1: pod_uid=5f32d849 namespace=speech pod=train container=?";
    assert_eq!(day.put(1, early.clone()), [waiting]);
    assert_eq!(day.put(2, pod(UID, "train", "")), [KNOWN]);
    assert_eq!(day.put(3, finished(early)), [""; 0], "a container that was there is remembered");
    let mut other = Day::new(Access::Api);
    other.say(1);
    let mut never = finished(pod(UID, "train", ""));
    never.containers.clear();
    assert_eq!(other.put(1, never), ["1: pod_uid=5f32d849 namespace=speech pod=train"]);
}

#[test]
fn a_process_that_ended_before_its_pod_was_known_still_gets_it_within_an_hour() {
    let mut day = Day::new(Access::Api);
    for pid in [1, 2] {
        day.say(pid);
    }
    day.desk.forget(process(1), day.at(0));
    day.desk.hear(Event::Ended { process: process(2) }, day.at(10));
    assert_eq!(day.put(3599, pod("other", "web", "")), [""; 0]);
    assert_eq!(day.put(3601, pod("other", "web2", "")), [""; 0]);
    assert_eq!(day.put(3605, pod(UID, "train", "")), [KNOWN.replace("1:", "2:")]);
    assert_eq!(day.put(3606, pod(UID, "trained", "")), [""; 0], "after that it is forgotten");
}

#[test]
fn a_process_that_ended_is_not_kept_for_what_may_not_be_read_of_it() {
    let mut day = Day::new(Access::Api);
    day.put(1, pod(UID, "train", ""));
    day.desk.watch(process(1));
    let mut facts = Facts::default();
    facts.set(Field::PodUid, UID);
    facts.set(Field::ContainerId, ID);
    facts.set_pending(Field::Exe);
    let now = day.at(2);
    day.desk.hear(Event::Facts { process: process(1), generation: 0, facts: Arc::new(facts) }, now);
    day.desk.forget(process(1), day.at(3));
    assert_eq!(day.put(4, pod(UID, "train", ", \"labels\": {\"app\": \"b\"}")), [""; 0]);
}

#[test]
fn who_was_deleted_keeps_its_facts() {
    let mut day = Day::new(Access::Api);
    day.put(1, pod(UID, "train", ""));
    assert_eq!(day.say(1), KNOWN);
    assert_eq!(day.delete(2, UID), [""; 0]);
    assert_eq!(day.delete(1000, "other"), [""; 0]);
    assert_eq!(day.say(1), KNOWN, "as long as it has a process");
}

#[test]
fn allocations_are_told_when_they_change_and_for_every_generation_of_the_rules() {
    let mut day = Day::new(Access::Api);
    let pending = "pod:speech/train/main pod_uid=? namespace=speech pod=train container=main pod_label_app=?";
    assert_eq!(day.hold(1, &["train"]), [pending]);
    assert_eq!(day.hold(4, &["train"]), [""; 0]);
    let known = "pod:speech/train/main pod_uid=5f32d849 namespace=speech pod=train container=main";
    assert_eq!(day.put(5, pod(UID, "train", "")), [known]);
    let told = day.desk.want(&rules("pod_label_other"), 1);
    assert!(matches!(&told[..], [Told::Allocations(all)] if all.generation == 1 && all.held.len() == 1));
    assert_eq!(day.hold(7, &[]), [""]);
}

#[test]
fn a_pod_that_has_finished_holds_nothing_whatever_the_kubelet_says() {
    let mut day = Day::new(Access::Api);
    day.put(1, pod(UID, "train", ""));
    assert_eq!(day.hold(2, &["train"]).len(), 1);
    assert_eq!(day.put(3, finished(pod(UID, "train", ""))), [""]);
    assert_eq!(day.hold(4, &["train"]), [""; 0]);
}

#[test]
fn a_deleted_pod_holds_nothing_until_the_kubelet_names_it_again() {
    let mut day = Day::new(Access::Api);
    day.put(1, pod(UID, "train", ""));
    day.hold(2, &["train"]);
    assert_eq!(day.delete(3, UID), [""]);
    assert_eq!(day.hold(4, &["train"]).len(), 1, "it was deleted by force and still runs");
    assert_eq!(day.put(5, pod("next", "train", ", \"labels\": {\"app\": \"b\"}")).len(), 1);
}

#[test]
fn pods_are_listed_anew_after_every_fifth_failure_in_a_row_or_where_the_version_is_gone() {
    let version = || Some("7".to_owned());
    let mut standing = Standing { from: Memory::Server, version: version(), failures: 0 };
    let away = Failure::Unreachable("the version is from the future".into());
    for failures in 1..=10 {
        standing.fail(&away);
        assert_eq!(standing.version.is_none(), failures % 5 == 0, "{failures}");
        assert_eq!(standing.from == Memory::Store, failures >= 5, "{failures}");
        standing.version = version();
    }
    let mut gone = Standing { from: Memory::Server, version: version(), failures: 0 };
    gone.fail(&Failure::Gone);
    assert_eq!((gone.from, gone.version), (Memory::Store, None));
}

#[test]
fn the_wait_doubles_up_to_half_a_minute() {
    for (failures, whole) in [(1, 1), (2, 2), (5, 16), (6, 30), (u32::MAX, 30)] {
        let (wait, whole) = (back_off(failures), Duration::from_secs(whole));
        assert!(wait <= whole && wait >= whole / 2, "{failures}: {wait:?}");
    }
}
