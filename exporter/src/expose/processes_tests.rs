//! The processes API on a snapshot made by hand, the one that `docs/api.md` shows.

use super::overview::Rules;
use super::processes::Listing;
use super::processes_query::Query;
use crate::account::book::SeriesAmounts;
use crate::account::occupant::{Occupant, Reason, Standing};
use crate::account::series::{SeriesId, SeriesLabels, Subject};
use crate::account::snapshot::{GpuView, Snapshot};
use crate::sample::Card;
use serde_json::Value;
use std::sync::Arc;
use wattribute::facts::{Evidence, Facts, Field, ProcessKey};
use wattribute::owner::{Owner, Reserved};
use wattribute::rules::{Refusal, RuleSet, Source};
use wattribute::split::Role;
use wattribute::units::{Microseconds, Millijoules};

const DOCUMENT: &str = include_str!("../../../docs/api.md");
const GOLDEN: &str = include_str!("../../tests/golden/explain.web.json");

fn facts(fields: &[(Field, &str)]) -> Option<Arc<Facts>> {
    let mut facts = Facts::default();
    fields.iter().for_each(|(field, value)| facts.set(field.clone(), *value));
    Some(Arc::new(facts))
}

fn occupant(pid: u32, facts: Option<Arc<Facts>>, standing: Standing) -> Occupant {
    let process = ProcessKey { pid, start: 1 };
    let started = Some(1_790_000_000.0);
    let (mig_uuid, memory, utilization, series) = (None, None, None, None);
    Occupant { process, mig_uuid, started, memory, utilization, facts, standing, series }
}

fn occupants() -> Vec<Occupant> {
    let ada = [
        (Field::User, "ada"),
        (Field::Comm, "python3"),
        (Field::Scheduler, "slurm"),
        (Field::JobId, "211"),
        (Field::Cmdline, "python3 --key=secret"),
        (Field::Env("KEY".into()), "secret"),
    ];
    let billed = Standing::Billed {
        owner: Owner::new([("team", "ada")]),
        rule: "people".into(),
        evidence: Some(Evidence::Kernel),
        reason: None,
        role: Role::Holder,
    };
    let nobody = Standing::Billed {
        owner: Reserved::Unattributed.into(),
        rule: "".into(),
        evidence: None,
        reason: Some(Reason::Refused(Refusal::NoRule)),
        role: Role::Holder,
    };
    vec![
        Occupant {
            memory: Some(1024),
            utilization: Some(0.5),
            series: Some(SeriesId(1)),
            ..occupant(10, facts(&ada), billed)
        },
        Occupant { series: Some(SeriesId(2)), ..occupant(11, facts(&[(Field::Comm, "python3")]), nobody) },
        Occupant {
            memory: Some(2048),
            utilization: Some(0.25),
            ..occupant(12, None, Standing::Waiting(None))
        },
    ]
}

fn listing() -> Listing {
    let card = Card {
        uuid: "GPU-0".into(),
        index: 0,
        model: "NVIDIA H200".into(),
        pci_bus_id: String::new(),
        driver_version: String::new(),
        max_power: None,
    };
    let mut gpu = GpuView { up: true, ..GpuView::new(card) };
    gpu.occupants = occupants();
    let rules = "rules: [{name: people, match: ['user=\"ada\"'], owner: {team: ada}}]";
    let source = Source { name: "teams.yaml".into(), text: rules.into() };
    let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules");
    let mut snapshot = Snapshot { gpus: vec![gpu], rules: Arc::new(rules), ..Snapshot::default() };
    let subject = |pid: &str| Subject::Process {
        pid: pid.into(),
        comm: String::new(),
        user: String::new(),
        workload: String::new(),
    };
    let labels = |pid, owner| SeriesLabels { uuid: "GPU-0".into(), subject: subject(pid), owner };
    let series = Arc::make_mut(&mut snapshot.series);
    series.insert(SeriesId(1), Arc::new(labels("10", Some(Owner::new([("team", "ada")])))));
    series.insert(SeriesId(2), Arc::new(labels("other", None)));
    let amounts = |energy| SeriesAmounts { energy: Millijoules(energy), held: Microseconds::ZERO };
    snapshot.visible.series.insert(SeriesId(1), amounts(12_000));
    snapshot.hidden.series.insert(SeriesId(1), amounts(500));
    snapshot.visible.series.insert(SeriesId(2), amounts(7));
    Listing {
        snapshot: Arc::new(snapshot),
        host: "node1".into(),
        source: "nvml",
        rules: Rules::InForce { rules: 1 },
        generated: 1_790_000_000.25,
    }
}

fn answer(query: &str) -> Option<Value> {
    let query = Query::parse(query).expect("a question");
    let text = listing().answer(&query).expect("an answer")?;
    assert!(!text.contains("secret"), "{text}");
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The documents in the documentation.
fn documented() -> Vec<Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
    blocks.map(|block| serde_json::from_str(block).expect("JSON")).collect()
}

#[test]
fn the_answer_is_the_documented_one() {
    let documented = &documented()[1];
    assert_eq!(answer("").as_ref(), Some(documented), "docs/api.md against what is answered");
}

/// Every item of the documented lists is an item of the golden report's, which is longer.
#[test]
fn the_documented_report_is_a_part_of_the_golden_one() {
    let golden: Value = serde_json::from_str(GOLDEN).expect("JSON");
    for (key, value) in documented()[0].as_object().expect("a document") {
        match (value.as_array(), golden[key].as_array()) {
            (Some(shown), Some(all)) => {
                assert!(!shown.is_empty());
                shown.iter().for_each(|item| assert!(all.contains(item), "{key}: {item}"));
            }
            _ => assert_eq!(*value, golden[key], "{key}"),
        }
    }
}

#[test]
fn a_process_is_explained_by_the_facts_it_is_billed_by() {
    let explained = answer("pid=10").expect("it is on a GPU");
    let report = &explained["explanations"][0];
    assert_eq!(report["verdict"]["owner"]["team"], "ada");
    assert_eq!(report["process"]["gpu_uuid"], "GPU-0");
    assert_eq!(report["rules"][0]["file"], "teams.yaml");
    let cmdline = report["facts"].as_array().expect("facts").iter().find(|fact| fact["field"] == "cmdline");
    assert_eq!(cmdline.expect("the field")["state"], "withheld");
    assert_eq!(
        answer("pid=12").expect("it is there")["explanations"][0]["notes"][0],
        "its facts are still being read"
    );
    assert_eq!(answer("pid=13"), None);
    assert_eq!(answer("pid=10&gpu=1"), None);
}

#[test]
fn what_is_beyond_the_limit_is_left_out_and_said() {
    let pids = |query: &str| -> (Vec<u64>, bool) {
        let answer = answer(query).expect("an answer");
        assert_eq!(answer["processes"], 3);
        let shown = answer["gpus"][0]["processes"].as_array().expect("processes");
        let pids = shown.iter().filter_map(|one| one["pid"].as_u64()).collect();
        (pids, answer["truncated"] == true)
    };
    assert_eq!(pids("limit=2"), (vec![10, 11], true));
    assert_eq!(pids("limit=2&offset=2"), (vec![12], true));
    assert_eq!(pids("limit=3"), (vec![10, 11, 12], false));
    assert_eq!(pids("offset=9"), (vec![], true));
}

#[test]
fn the_page_has_the_busiest_first() {
    let table = listing().table();
    assert_eq!(table.rows.iter().map(|row| row.pid).collect::<Vec<_>>(), [10, 12, 11]);
    assert_eq!((table.all, table.rows[1].rule.as_str()), (3, "waits for facts"));
    assert_eq!(table.rows[2].rule, "no_rule");
}
