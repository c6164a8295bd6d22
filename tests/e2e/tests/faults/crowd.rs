//! Ten thousand processes on a GPU at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_nvml::{Crowd, Gpu, Load, Scenario, Seconds};
use wattribute_e2e::{Auditor, Exporter, Flags, Process, Scrape, Scratch, device_mj, team_mj};

use crate::run::median;

#[test]
fn ten_thousand_processes_slow_no_scrape_and_lose_no_joule() {
    let scratch = Scratch::new("crowd");
    let process = Process::named("worker").start();
    let mut scenario = Scenario::starting_now(vec![Gpu::numbered(0), Gpu::numbered(1)]);
    scenario.loads.extend([0, 1].map(|gpu| Load::constant(process.pid(), gpu, 50)));
    let rules = "idle_watts: {\"NVIDIA H100.*\": 70}\nrules:\n  - name: w\n    match: ['comm=\"worker\"']\n    owner: {team: w}\n";
    let flags = Flags {
        rules_files: vec![scratch.write("rules.yaml", rules)],
        state_dir: Some(scratch.path("state")),
        exposition_delay: Some(Duration::from_secs(2)),
        ..Flags::with_fake(&scratch, &scenario)
    };
    let exporter = Exporter::start(&scratch, flags).expect("it starts");
    let (begin_us, end_us) = (scenario.now_us() + 3_000_000, scenario.now_us() + 11_000_000);
    let [from_s, until_s] = [begin_us, end_us].map(Seconds::from_us);
    let until_s = Some(until_s);
    let crowd = Crowd { gpu: 0, pids_from: 5_000_000, count: 10_000, memory_mib: Some(1), from_s, until_s };
    scenario.crowds.push(crowd);
    scenario.save(&scratch.path("scenario.yaml")).expect("an edit of the future");
    let (mut auditor, mut usual, mut meanwhile, mut rhythm) = (Auditor::default(), vec![], vec![], vec![]);
    // Until a while after all that the crowd had is seen.
    while scenario.now_us() < end_us + 5_000_000 {
        let (t_us, begin) = (scenario.now_us(), Instant::now());
        let answer = exporter.get("/metrics", &[]).expect("a scrape");
        let crowded = (begin_us + 1_000_000..end_us).contains(&t_us);
        (if crowded { &mut meanwhile } else { &mut usual }).push(begin.elapsed());
        assert!(answer.body.len() < 200_000, "{} bytes", answer.body.len());
        let scrape = auditor.scrape(&exporter);
        let labels = [("uuid", scenario.gpus[1].uuid.as_str())];
        let time = scrape.value("wattribute_gpu_last_sample_timestamp_seconds", &labels);
        // The exporter is ready with the first GPU that answers.
        let millis = time.and_then(|time| Some(Duration::from_secs_f64(time.parse().ok()?).as_millis()));
        rhythm.extend(millis.filter(|_| crowded));
        sleep(Duration::from_millis(250));
    }
    // Single ones may be slow because the machine is.
    let (usual, meanwhile) = (median(usual.into_iter()), median(meanwhile.into_iter()));
    assert!(meanwhile < usual * 3 + Duration::from_millis(250), "{usual:?}, in the crowd {meanwhile:?}");
    rhythm.dedup();
    let gap = median(rhythm.windows(2).map(|pair| pair[1] - pair[0]));
    assert!(gap < 1500, "the other GPU keeps its rhythm: {rhythm:?}");
    let strangers = ("unattributed", scenario.gpus[0].uuid.as_str());
    let hold = |scrape: &Scrape| team_mj(scrape, strangers.0, strangers.1) > 0;
    let scrape = auditor.until(&exporter, "strangers hold, too", hold);
    for (gpu, card) in scenario.gpus.iter().enumerate() {
        let (all, own) = (device_mj(&scrape, &card.uuid), team_mj(&scrape, "w", &card.uuid));
        assert!(own > all / 2, "gpu {gpu}: {own} of {all} mJ");
    }
}
