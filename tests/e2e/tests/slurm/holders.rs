//! Jobs that have a GPU and compute nothing on it, on a real Slurm: they pay all the same.

use std::thread::sleep;
use std::time::Duration;

use fake_nvml::{Gpu, Scenario};
use wattribute_e2e::{Auditor, Exporter, Flags, Scratch, eventually, team_mj};

use crate::cluster::Cluster;

const RULES: &str = r#"
labels: [team]
idle_watts: {".*": 70}
rules:
  - name: account
    match: ['scheduler="slurm"', 'slurm_partition="gpu"', 'slurm_user="daemon"', 'uid="1"', 'group="daemon"']
    owner: {team: "${slurm_account}"}
"#;
/// Of a noisy machine: two lists of jobs, and the exposition delay.
const LONG: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(500);
const DAEMON: [&str; 2] = ["--uid=daemon", "--gid=daemon"];
const HELD: &str = "wattribute_workload_gpu_held_seconds_total";

#[test]
fn who_holds_a_gpu_pays_for_its_idleness_until_the_job_ends() {
    let cluster = Cluster::start();
    let scratch = Scratch::new("slurm-holders");
    let (first, of_first) = cluster.hold(&[&DAEMON[..], &["--account=astro"]].concat());
    let (second, of_second) = cluster.hold(&[&DAEMON[..], &["--account=bio"]].concat());
    assert_ne!(of_first, of_second);
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0), Gpu::numbered(1)]);
    let mut flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", RULES)],
        exposition_delay: Some(Duration::from_secs(6)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    flags.env.push(("SLURM_CONF".into(), cluster.folder().join("slurm.conf").into()));
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (mut auditor, [one, other]) =
        (Auditor::default(), [of_first, of_second].map(|at| &*scenario.gpus[at].uuid));

    let scrape = eventually(LONG, "both pay", || {
        sleep(PAUSE);
        let scrape = auditor.scrape(&exporter);
        (team_mj(&scrape, "astro", one) > 100_000 && team_mj(&scrape, "bio", other) > 100_000)
            .then_some(scrape)
    });
    assert_eq!(
        (team_mj(&scrape, "astro", other), team_mj(&scrape, "bio", one)),
        (0, 0),
        "{}",
        exporter.stderr()
    );
    for (job, uuid) in [(&first, one), (&second, other)] {
        let labels = [("workload", &*format!("slurm:{}", job.id)), ("uuid", uuid)];
        let held: f64 = scrape.value(HELD, &labels).expect("a series").parse().expect("a number");
        assert!(held > 1.0, "{held}");
        let energy = scrape.millijoules("wattribute_workload_energy_joules_total", &labels);
        assert!(energy > Some(100_000), "{energy:?}");
    }
    let rule = [("rule", "account"), ("evidence", "scheduler")];
    let by_rule = scrape.millijoules("wattribute_rule_energy_joules_total", &rule);
    assert_eq!(by_rule, Some(team_mj(&scrape, "astro", "") + team_mj(&scrape, "bio", "")));

    cluster.cancel(&first);
    let mut last = team_mj(&scrape, "astro", one);
    eventually(LONG, "the first pays no more", || {
        // Longer than the exposition delay's steps: one that pays is seen to.
        sleep(6 * PAUSE);
        let scrape = auditor.scrape(&exporter);
        let before = std::mem::replace(&mut last, team_mj(&scrape, "astro", one));
        (last == before).then_some(())
    });
    let before = auditor.scrape(&exporter);
    eventually(LONG, "the GPU is nobody's and the other's is not", || {
        sleep(PAUSE);
        let scrape = auditor.scrape(&exporter);
        let grew = |team, uuid| team_mj(&scrape, team, uuid) > team_mj(&before, team, uuid) + 100_000;
        assert_eq!(team_mj(&scrape, "astro", ""), team_mj(&before, "astro", ""));
        (grew("unallocated", one) && grew("bio", other)).then_some(())
    });
}

/// A prolog's files need no Slurm: here there is none.
#[test]
fn a_job_that_a_prolog_names_pays_until_its_file_is_gone() {
    let scratch = Scratch::new("slurm-prolog");
    let folder = scratch.path("jobs");
    std::fs::create_dir(&folder).expect("a folder");
    let scenario = Scenario::starting_now(vec![Gpu::numbered(0), Gpu::numbered(1)]);
    std::fs::write(folder.join(&scenario.gpus[1].uuid), "211\n").expect("a file");
    let rules =
        "idle_watts: {\".*\": 70}\nrules: [{name: job, match: ['job_id=\"211\"'], owner: {team: astro}}]\n";
    let mut flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", rules)],
        exposition_delay: Some(Duration::from_secs(6)),
        others: vec![format!("--slurm.job-mapping-dir={}", folder.display())],
        ..Flags::with_fake(&scratch, &scenario)
    };
    flags.env.push(("PATH".into(), "/nowhere".into()));
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (mut auditor, [other, held]) = (Auditor::default(), [0, 1].map(|at: usize| &*scenario.gpus[at].uuid));
    eventually(LONG, "it pays", || {
        sleep(PAUSE);
        let scrape = auditor.scrape(&exporter);
        assert_eq!(team_mj(&scrape, "astro", other), 0);
        (team_mj(&scrape, "astro", held) > 100_000).then_some(())
    });
    std::fs::remove_file(folder.join(held)).expect("a file");
    let before = auditor.scrape(&exporter);
    eventually(LONG, "it pays no more", || {
        sleep(PAUSE);
        let scrape = auditor.scrape(&exporter);
        let vacant = |scrape| team_mj(scrape, "unallocated", held);
        (vacant(&scrape) > vacant(&before) + 200_000).then_some(())
    });
}
