//! Who pays for a pod: a kubelet and an API server that speak the real protocols, well and badly.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::fs;
use std::path::Path;
use std::time::Duration;

use fake_kube::{Container, Kubelet, Manner, Pod};
use serde_yaml::Value;
use wattribute_e2e::{Sample, Scrape, device_mj, eventually, team_mj};
use world::{Node, SOON, World, failures};

const DELAY: Duration = Duration::from_secs(5);
/// For what must come within it, on a machine that may be slow.
const LONG_DELAY: Duration = Duration::from_secs(15);

/// By namespace; whoever has none is wrong.
const BY_NAMESPACE: &str = r#"
labels: [team, project]
idle_watts: {".*": 70}
rules:
  - name: namespace
    match: ['namespace=~"(?P<dept>[a-z]+)-prod"']
    owner: {team: "${dept}", project: "${container}"}
  - name: whoever it is
    match: ['uid=~".+"']
    owner: {team: wrong}
"#;

/// By label, else it is wrong.
const BY_LABEL: &str = r#"
rules:
  - name: label
    match: ['pod_label_example_org_team=~".+"']
    owner: {team: "${pod_label_example_org_team}"}
  - name: whoever it is
    match: ['scheduler="kubernetes"']
    owner: {team: wrong}
"#;

fn labelled(number: u8, team: &str) -> Pod {
    Pod::numbered(number, "lab", &format!("pod-{number}")).label("example.org/team", team)
}

#[track_caller]
fn check_nobody_else(scrape: &Scrape) {
    let others = ["wrong", "unattributed"].map(|team| team_mj(scrape, team, ""));
    assert_eq!(others, [0, 0]);
}

#[test]
fn the_namespace_of_a_pod_pays_for_its_processes() {
    let pod = Pod::numbered(1, "speech-prod", "train");
    let hash = "0123456789abcdef0123456789abcdef";
    let fixed = Pod { mirror_of: Some(hash.into()), ..Pod::numbered(2, "vision-prod", "static") };
    let node = Node::new("kube-namespace", 2).api(&[pod.clone(), fixed.clone()]);
    let mut world = node.process(&pod, 0).process(&fixed, 1).start(BY_NAMESPACE, LONG_DELAY);
    world.until_pays("speech");
    let scrape = world.until_pays("vision");
    check_nobody_else(&scrape);
    let labels = [("team", "speech"), ("project", "main"), ("kind", "active")];
    assert_eq!(scrape.find("wattribute_team_energy_joules_total", &labels).len(), 1);
    let rule = [("rule", "namespace"), ("evidence", "scheduler")];
    assert!(scrape.millijoules("wattribute_rule_energy_joules_total", &rule) > Some(0));
    let workload = [("workload", "pod:speech-prod/train")];
    assert_eq!(scrape.find("wattribute_workload_energy_joules_total", &workload).len(), 1);
}

/// A file of the base for kustomize.
fn base(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/kubernetes/base");
    fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn the_role_that_ships_allows_what_is_asked_and_no_more_and_the_rules_bill_namespaces() {
    let pod = Pod::numbered(1, "speech-prod", "train");
    let node = Node::new("kube-role", 1).api(std::slice::from_ref(&pod)).process(&pod, 0);
    let mut world = node.start(&base("rules.yaml"), LONG_DELAY);
    world.until_pays("speech-prod");
    world.until("pods are watched", |world, _| world.api().asked()[1] > 0);
    let account = base("account.yaml");
    let mut documents =
        account.split("\n---\n").map(|text| serde_yaml::from_str::<Value>(text).expect("YAML"));
    let role = documents.find(|document| document["kind"].as_str() == Some("ClusterRole")).expect("a role");
    let allowed: Value =
        serde_yaml::from_str("[{apiGroups: [''], resources: [pods], verbs: [list, watch]}]").expect("YAML");
    assert_eq!(role["rules"], allowed);
    assert!(world.api().asked()[0] > 0);
    assert_eq!(world.api().strays(), 0);
}

#[test]
fn a_label_that_comes_late_delays_the_verdict_and_changes_nothing() {
    let pod = labelled(1, "nlp");
    let mut world = Node::new("kube-late", 1).api(&[]).process(&pod, 0).start(BY_LABEL, LONG_DELAY);
    std::thread::sleep(Duration::from_secs(3));
    world.api().put(&pod);
    check_nobody_else(&world.until_pays("nlp"));
    world.api().put(&labelled(1, "vision"));
    check_nobody_else(&world.until_pays("vision"));
}

#[test]
fn a_list_that_takes_long_delays_the_verdict_and_changes_nothing() {
    let pod = labelled(1, "nlp");
    let node = Node::new("kube-slow", 1).api(std::slice::from_ref(&pod)).process(&pod, 0);
    node.api.as_ref().expect("there is one").delay(Duration::from_secs(3));
    let mut world = node.start(BY_LABEL, LONG_DELAY);
    check_nobody_else(&world.until_pays("nlp"));
    assert!(world.longest_gap() < 2_500, "{} ms without a sample", world.longest_gap());
}

#[test]
fn an_api_server_that_never_tells_leaves_the_energy_unattributed_and_counted() {
    let pod = labelled(1, "nlp");
    let node = Node::new("kube-never", 1).api(std::slice::from_ref(&pod)).process(&pod, 0);
    node.api.as_ref().expect("there is one").refuse(Some(403));
    let mut world = node.start(BY_LABEL, DELAY);
    let scrape = world.until_pays("unattributed");
    assert_eq!((team_mj(&scrape, "nlp", ""), team_mj(&scrape, "wrong", "")), (0, 0));
    assert!(failures(&scrape, "facts_never_came") > 0 && failures(&scrape, "kubernetes_api_denied") > 0);
    world.api().refuse(None);
    world.until_pays("nlp");
}

#[test]
fn streams_that_end_break_or_are_forgotten_are_taken_up_again() {
    let first = labelled(1, "first");
    let pods: Vec<Pod> = (1..5).map(|number| labelled(number, &format!("team{number}"))).collect();
    let mut node = Node::new("kube-streams", 4).api(&[first]);
    for (gpu, pod) in pods.iter().enumerate() {
        node = node.process(pod, gpu);
    }
    let mut world = node.start(BY_LABEL, DELAY);
    world.until_pays("first");
    // The server ends the stream, which is normal: no new list.
    world.api().end_watches();
    world.api().put(&pods[1]);
    world.until_pays("team2");
    assert_eq!(world.api().asked()[0], 1);
    // It has forgotten what happened: a new list.
    world.api().put(&pods[2]);
    world.api().forget();
    world.until_pays("team3");
    eventually(SOON, "a new list", || (world.api().asked()[0] > 1).then_some(()));
    // It fails for a while.
    world.api().refuse(Some(503));
    world.api().end_watches();
    world.until("a failure", |_, scrape| failures(scrape, "kubernetes_api_unreachable") > 0);
    world.api().put(&pods[3]);
    world.api().refuse(None);
    world.until_pays("team4");
}

#[test]
fn a_pod_that_holds_a_gpu_and_runs_nothing_pays_its_idle_energy() {
    let uuid = Node::new("kube-idle-uuid", 1).uuid(0).to_owned();
    let node = Node::new("kube-idle", 1).kubelet(&[Container::with_gpus("speech-prod", "train", &[&uuid])]);
    let mut world = node.start(BY_NAMESPACE, DELAY);
    let scrape = world.until_pays("speech");
    let (speech, all) = (team_mj(&scrape, "speech", &uuid), device_mj(&scrape, &uuid));
    assert!(speech * 2 > all, "{speech} of {all} mJ");
    // The pod goes: nobody holds it.
    world.kubelet().give(&[]);
    world.until_pays("unallocated");
}

#[test]
fn two_pods_with_a_gpu_each_hold_each_its_own() {
    let uuids: Vec<String> = (0..3).map(|gpu| Node::new("kube-uuids", 3).uuid(gpu).to_owned()).collect();
    let containers = [
        Container::with_gpus("speech-prod", "one", &[&uuids[2]]),
        Container::with_gpus("vision-prod", "two", &[&uuids[1]]),
        // Nobody can know which GPU that is.
        Container::with_gpus("robots-prod", "three", &["0"]),
    ];
    let mut world = Node::new("kube-two", 3).kubelet(&containers).start(BY_NAMESPACE, DELAY);
    world.until_pays("speech");
    let scrape = world.until_pays("vision");
    let held = |team: &str| uuids.iter().map(|uuid| team_mj(&scrape, team, uuid) > 0).collect::<Vec<_>>();
    assert_eq!(held("speech"), [false, false, true]);
    assert_eq!(held("vision"), [false, true, false]);
    assert_eq!(held("robots"), [false, false, false]);
    assert_eq!(failures(&scrape, "kubelet_unknown_device"), 1);
}

#[test]
fn replicas_of_a_shared_gpu_pay_by_their_number() {
    let uuid = Node::new("kube-replicas-uuid", 1).uuid(0).to_owned();
    let ids: Vec<String> = (0..4).map(|number| format!("{uuid}::{number}")).collect();
    let containers = [
        Container::with_gpus("speech-prod", "one", &[&ids[0]]),
        Container::with_gpus("vision-prod", "three", &[&ids[1], &ids[2], &ids[3]]),
    ];
    let mut world = Node::new("kube-replicas", 1).kubelet(&containers).start(BY_NAMESPACE, DELAY);
    let scrape = world.until_pays("speech");
    let [one, three] = ["speech", "vision"].map(|team| team_mj(&scrape, team, &uuid));
    // A millijoule of rounding in each interval at most.
    assert!(three.abs_diff(3 * one) < 1_000, "{one} and {three} mJ");
}

#[test]
fn whatever_the_kubelet_does_samples_keep_their_rhythm_and_what_it_said_last_stands() {
    let uuid = Node::new("kube-faults-uuid", 1).uuid(0).to_owned();
    let node = Node::new("kube-faults", 1).kubelet(&[Container::with_gpus("speech-prod", "one", &[&uuid])]);
    let mut world = node.start(BY_NAMESPACE, DELAY);
    world.until_pays("speech");
    let nobodys = |scrape: &Scrape| ["unallocated", "unattributed"].map(|team| team_mj(scrape, team, ""));
    let before = nobodys(&world.scrape());
    let files = world.open_files();
    for (manner, reason) in [
        (Manner::Slow(Duration::from_secs(60)), "kubelet_unreachable"),
        (Manner::Garbage, "kubelet_malformed"),
        (Manner::Huge, "kubelet_malformed"),
        (Manner::Refusing, "kubelet_unreachable"),
        (Manner::Closing, "kubelet_unreachable"),
    ] {
        check_fault(&mut world, manner, reason);
    }
    eventually(SOON, "nothing is left open", || (world.open_files() <= files + 1).then_some(()));
    // It restarts, and meanwhile the pod has gone and another has its GPU.
    world.node.kubelet = None;
    let count = failures(&world.scrape(), "kubelet_unreachable");
    world.until("the socket is gone", |_, scrape| failures(scrape, "kubelet_unreachable") > count);
    let other = [Container::with_gpus("vision-prod", "two", &[&uuid])];
    world.node.kubelet = Some(Kubelet::start(&world.node.socket(), &other));
    let scrape = world.until_pays("vision");
    assert_eq!(nobodys(&scrape), before, "somebody held it all the time");
    assert!(world.longest_gap() < 4_000, "{} ms without a sample", world.longest_gap());
}

/// The kubelet answers so until it is counted, and then well again.
#[track_caller]
fn check_fault(world: &mut World, manner: Manner, reason: &str) {
    let count = failures(&world.scrape(), reason);
    world.kubelet().behave(manner);
    world.until(&format!("{manner:?}"), |_, scrape| failures(scrape, reason) > count);
    world.kubelet().behave(Manner::Good);
    let calls = world.kubelet().calls();
    eventually(SOON, "another question", || (world.kubelet().calls() > calls).then_some(()));
}

#[test]
fn outside_a_cluster_nothing_is_asked_and_the_facts_are_absent() {
    let pod = Pod::numbered(1, "speech-prod", "train");
    let mut world = Node::new("kube-none", 1).process(&pod, 0).start(BY_NAMESPACE, DELAY);
    let scrape = world.until_pays("wrong");
    assert_eq!(team_mj(&scrape, "speech", ""), 0);
    let is_of_kubernetes = |sample: &&Sample| sample.labels["reason"].starts_with("kube");
    let failures = scrape.find("wattribute_identify_failures_total", &[]);
    assert_eq!(failures.into_iter().find(is_of_kubernetes), None);
    let log = world.exporter.stderr();
    assert_eq!(log.matches("KUBERNETES_SERVICE_HOST").count(), 1, "{log}");
    assert!(!log.contains("the kubelet"), "{log}");
}
