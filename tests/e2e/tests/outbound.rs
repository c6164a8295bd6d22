//! The exporter speaks to nobody whom it was not told to: in a network namespace with nothing but loopback, its calls of
//! the kernel about the network are written down (strace) from start to stop, and looked through.
//!
//! Each test runs itself again inside such a namespace, so that all it starts is in there, too.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

use fake_kube::{ApiServer, Container, Kubelet, Pod};
use fake_nvml::{Gpu, Load, Scenario};
use rustix::process::Signal;
use wattribute_e2e::{
    Auditor, Exporter, Flags, PATIENCE, Process, Scratch, eventually, require, team_mj, wattribute,
};

const INSIDE: &str = "WATTRIBUTE_TEST_IS_INSIDE";
/// Names of users and groups are asked of the C library, which asks a cache on this machine first, if there is one.
const NAME_CACHE: &str = "/var/run/nscd/socket";
/// Where a kubelet is looked for unless told otherwise.
const KUBELET: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";

/// Whether this is the run inside; else the run inside is done and has passed.
#[track_caller]
fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let (unshare, ip) = (require("unshare"), require("ip"));
    let script = format!("'{}' link set lo up && exec \"$0\" \"$@\"", ip.display());
    let mut command = Command::new(unshare);
    command.args(["--net", "sh", "-c", &script]).arg(env::current_exe().expect("a test has a path"));
    let output = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().expect("it runs");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// A program that is the exporter with its calls written to a file. It keeps its pid.
fn traced(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let log = scratch.path("calls");
    let script = format!(
        "#!/bin/sh\nexec '{}' -D -f -q -s 64 -e trace=network -o '{}' '{}' \"$@\"\n",
        require("strace").display(),
        log.display(),
        wattribute().display()
    );
    let program = scratch.write("traced.sh", &script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own");
    (program, log)
}

/// What it did, when it has ended.
#[track_caller]
fn calls(log: &Path, pid: u32) -> Vec<String> {
    let end = format!("{pid} +++ exited with");
    eventually(PATIENCE, "the last call is written down", || {
        let text = fs::read_to_string(log).ok()?;
        // The pid is padded.
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.iter().any(|line| line.starts_with(&end)).then_some(lines)
    })
}

/// As strace writes an address on loopback.
fn address(port: u16) -> String {
    format!("sin_port=htons({port}), sin_addr=inet_addr(\"127.0.0.1\")")
}

/// It listens at no other port, connects to no other places, and sends nothing to an address. Gives how often it
/// connected to each of these places.
#[track_caller]
fn check(calls: &[String], listens: Option<u16>, places: &[&str]) -> Vec<usize> {
    let of = |name: &str| {
        let begin = format!(" {name}(");
        calls.iter().filter(move |line| line.contains(&begin)).cloned().collect::<Vec<_>>()
    };
    for line in of("socket") {
        let is_local = line.contains("AF_UNIX") || line.contains("AF_INET, SOCK_STREAM");
        assert!(is_local, "a socket of another kind: {line}");
    }
    for line in of("bind") {
        assert!(listens.is_some_and(|port| line.contains(&address(port))), "another address: {line}");
    }
    for line in ["sendto", "sendmsg", "sendmmsg"].into_iter().flat_map(of) {
        assert!(!line.contains("sa_family="), "a datagram: {line}");
    }
    let connections = of("connect");
    for line in &connections {
        let is_known = places.iter().chain(&[NAME_CACHE]).any(|place| line.contains(place));
        assert!(is_known, "a connection that nobody asked for: {line}");
    }
    places.iter().map(|place| connections.iter().filter(|line| line.contains(place)).count()).collect()
}

const RULES: &str = r#"
rules:
  - name: a user
    match: ['user!="nobody"', 'group!="nobody"', 'comm="worker"']
    owner: {team: people}
"#;

#[test]
fn alone_it_connects_to_nobody_and_sends_nothing() {
    if !is_inside("alone_it_connects_to_nobody_and_sends_nothing") {
        return;
    }
    let scratch = Scratch::new("outbound");
    // One who has a name, and one who has none.
    let workers =
        [(0, 0), (54_321, 54_321)].map(|(uid, gid)| Process::named("worker").user(uid, gid).start());
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    scenario.loads = workers.iter().map(|worker| Load::constant(worker.pid(), 0, 40)).collect();
    let (program, log) = traced(&scratch);
    let mut flags = Flags {
        program: Some(program),
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    // The test itself may run in a pod.
    flags.env.push(("KUBERNETES_SERVICE_HOST".into(), "".into()));
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    let mut auditor = Auditor::default();
    auditor.until(&exporter, "the team pays", |scrape| team_mj(scrape, "people", "") > 10_000);
    for path in ["/", "/api/v1/processes", "/-/healthy", "/nothing"] {
        exporter.get(path, &[]).expect("an answer");
    }
    exporter.signal(Signal::HUP);
    auditor.watch(&exporter, Duration::from_secs(1));
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.wait().status.code(), Some(0), "{}", exporter.stderr());
    let calls = calls(&log, exporter.pid());
    assert!(calls.iter().any(|line| line.contains(" accept4(")), "nothing was written down: {calls:?}");
    check(&calls, Some(exporter.address().port()), &[KUBELET]);
}

#[test]
fn in_a_cluster_it_speaks_to_the_api_server_and_the_kubelet_alone() {
    if !is_inside("in_a_cluster_it_speaks_to_the_api_server_and_the_kubelet_alone") {
        return;
    }
    let scratch = Scratch::new("outbound-kube");
    fs::create_dir(scratch.path("account")).expect("a folder");
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0)]);
    let container = Container::with_gpus("speech", "train", &[&scenario.gpus[0].uuid]);
    let socket = scratch.path("kubelet.sock");
    let _kubelet = Kubelet::start(&socket, &[container]);
    let api = ApiServer::start(&scratch.path("account"), &[Pod::numbered(1, "speech", "train")]);
    let path = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let (program, log) = traced(&scratch);
    let rules = "rules:\n  - name: n\n    match: ['namespace!=\"\"']\n    owner: {team: \"${namespace}\"}\n";
    let mut flags = Flags {
        program: Some(program),
        rules_files: vec![scratch.write("rules.yaml", rules)],
        exposition_delay: Some(Duration::from_secs(2)),
        others: vec![
            path("kubernetes.pod-resources-socket", &socket),
            path("kubernetes.service-account", &scratch.path("account")),
        ],
        ..Flags::with_fake(&scratch, &scenario)
    };
    flags.env.extend(api.environment().into_iter().map(|(name, value)| (name, value.into())));
    let port = api.environment().into_iter().find(|(name, _)| name == "KUBERNETES_SERVICE_PORT");
    let port: u16 = port.and_then(|(_, port)| port.parse().ok()).expect("a port");
    let mut exporter = Exporter::start(&scratch, flags).expect("it starts");
    Auditor::default().until(&exporter, "the pod holds", |scrape| team_mj(scrape, "speech", "") > 10_000);
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.wait().status.code(), Some(0), "{}", exporter.stderr());
    let calls = calls(&log, exporter.pid());
    let times = check(&calls, Some(exporter.address().port()), &[&address(port), "/kubelet.sock"]);
    assert!(times.iter().all(|times| *times > 0), "{times:?}: they were not asked");
}

#[test]
fn a_report_speaks_to_the_server_that_was_named_alone() {
    if !is_inside("a_report_speaks_to_the_server_that_was_named_alone") {
        return;
    }
    let scratch = Scratch::new("outbound-report");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            // Whoever asks has gone or gets it.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let (program, log) = traced(&scratch);
    let mut command = Command::new(program);
    command.args([
        "report",
        &format!("--prometheus=http://127.0.0.1:{port}"),
        "--month=2024-03",
        "--http.retries=0",
    ]);
    let mut child = command.current_dir(scratch.path("")).spawn().expect("it runs");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1), "the server refuses");
    let times = check(&calls(&log, child.id()), None, &[&address(port)]);
    assert!(times[0] > 0, "it was not asked");
}
