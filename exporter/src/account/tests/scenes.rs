//! Scenes that once went wrong, or would be easy to get wrong.

use super::*;

/// A world with one GPU, which has just been read for the first time.
fn world() -> World {
    let mut world = World::new(100 * SECOND, None);
    world.tell(sample::Event::Opened(card(0)));
    world.sample(0, value(0), &[]);
    world
}

#[track_caller]
fn check_teams(world: &mut World, want: &[(&str, u64)]) {
    let want: BTreeMap<String, u64> = want.iter().map(|(team, energy)| ((*team).into(), *energy)).collect();
    assert_eq!(world.teams(), want);
}

/// The driver may take a second to sample, and the exporter ask ten times in it.
#[test]
fn what_the_driver_has_not_sampled_yet_is_not_taken_for_idleness() {
    let mut world = world();
    let [worker, hoarder] = [10, 400].map(|pid| world.start(pid));
    world.learn(worker, &[]);
    for tick in 1..=100 {
        world.now += SECOND / 10;
        let percent = if tick % 10 == 0 { 80 } else { 0 };
        world.sample(0, value(tick * 50_000), &[(10, percent), (400, 0)]);
        world.learn(worker, &[(Field::User, "ada-x")]);
        world.learn(hoarder, &[(Field::User, "bob-y")]);
        world.publish();
    }
    // 10 s of 100 W idle, of which 1 in 41 parts is the worker's, and 4000 J of work.
    let teams = world.teams();
    let (ada, bob) = (teams["ada"], teams["bob"]);
    assert!(ada > 4_000_000 && bob < 1_000_000, "{teams:?}");
    assert_eq!(ada + bob + teams.get("unallocated").copied().unwrap_or_default(), 5_000_000);
}

#[test]
fn who_left_before_its_facts_came_is_billed_when_they_come() {
    let mut world = world();
    let short = world.start(10);
    for (second, on) in [(1, &[(10, 50)][..]), (2, &[]), (3, &[])] {
        world.now = (100 + second) * SECOND;
        world.sample(0, value(second * 300_000), on);
        world.publish();
    }
    world.learn(short, &[(Field::User, "ada-x")]);
    check_teams(&mut world, &[("ada", 550_000), ("unallocated", 150_000), ("unattributed", 200_000)]);
}

#[test]
fn a_process_given_up_is_waited_for_on_no_gpu() {
    let mut world = world();
    world.tell(sample::Event::Opened(card(1)));
    world.sample(1, value(0), &[]);
    let process = world.start(10);
    for second in 1..=3 {
        world.now += SECOND;
        world.sample(0, value(second * 300_000), &[(10, 50)]);
        world.tell(identify::Event::Failed { process, reason: "denied" });
        world.sample(1, value(second * 300_000), &[(10, 50)]);
        world.publish();
        assert_eq!(world.accountant.delay.waiting(), 0);
    }
    assert!(world.teams().keys().all(|team| team == "unattributed" || team == "unallocated"));
}

#[test]
fn facts_that_cannot_be_read_again_still_count_on_another_gpu() {
    let mut world = world();
    world.tell(sample::Event::Opened(card(1)));
    world.sample(1, value(0), &[]);
    let process = world.start(10);
    world.now += SECOND;
    world.sample(0, value(300_000), &[(10, 50)]);
    world.learn(process, &[(Field::User, "ada-x")]);
    world.tell(identify::Event::Failed { process, reason: "denied" });
    world.sample(1, value(300_000), &[(10, 50)]);
    check_teams(&mut world, &[("ada", 600_000)]);
}

#[test]
fn a_process_that_ends_after_a_reload_is_billed_as_before_it() {
    let mut world = world();
    let process = world.start(10);
    world.now += SECOND;
    world.sample(0, value(300_000), &[(10, 50)]);
    world.learn(process, &[(Field::User, "ada-x")]);
    world.tell(Event::Rules(rules()));
    world.now += SECOND;
    world.sample(0, value(600_000), &[(10, 50)]);
    world.end(process);
    assert_eq!(world.teams().get("unattributed"), None);
}

#[test]
fn where_the_driver_has_no_list_nothing_is_learnt_and_nobody_is_billed() {
    let mut world = world();
    for second in 1..=100 {
        world.now += SECOND;
        let nothing = Processes { running: None, utilization: None, strangers_only: false };
        world.sample_of(0, value(second * 300_000), nothing);
        world.publish();
    }
    check_teams(&mut world, &[("unattributed", 30_000_000)]);
    assert_eq!(world.publish().progress[&uuid(0)].idle_power, None);
}

#[test]
fn a_lower_limit_of_series_drops_and_never_counts_twice() {
    let mut world = world();
    let keys: Vec<ProcessKey> = (1..=3).map(|pid| world.start(pid)).collect();
    for second in 1..=20 {
        world.now += SECOND;
        world.sample(0, value(second * 300_000), &[(1, 10), (2, 10), (3, 10)]);
        keys.iter().for_each(|key| world.learn(*key, &[(Field::User, "ada-x")]));
        world.publish();
    }
    let state = state_of(&world.publish());
    let mut table = series::SeriesTable::new(1);
    let mut ids = 0;
    let state = format::read(&state).expect("a sound state");
    let inherited = state.inherit(("boot", Microseconds(u64::MAX)), |labels| {
        if table.admits(&labels) { table.enter(labels, &mut ids) } else { None }
    });
    assert_eq!((inherited.visible.series.len(), table.iter().count()), (1, 1));
}

#[test]
fn times_of_another_boot_count_from_its_own_beginning() {
    let mut world = world();
    world.now += SECOND;
    world.sample(0, value(300_000), &[]);
    let state = state_of(&world.publish());
    let last = |boot: &str, now: u64| {
        let state = format::read(&state).expect("a sound state");
        let inherited = state.inherit((boot, Microseconds(now)), |_| None);
        inherited.gpus[&uuid(0)].last.map(|last| (last.at.0, last.counter))
    };
    assert_eq!(last("boot", 200_000_000), Some((101_000_000, value(300_000))));
    assert_eq!(last("another", 200_000_000), Some((0, value(0))));
    assert_eq!(last("boot", 5), Some((0, value(0))));
    assert_eq!(last("", 200_000_000), None);
}

#[test]
fn a_gpu_that_works_for_nobody_listed_teaches_no_idle_power() {
    // Every sample says that the GPU works half of the time.
    let mut world = world();
    for second in 1..=100 {
        world.now += SECOND;
        world.sample(0, value(second * 300_000), &[]);
    }
    assert_eq!(world.publish().progress[&uuid(0)].idle_power, None);
}

#[test]
fn a_verdict_waits_until_it_is_known_whether_the_process_is_ignored() {
    let mut world = world();
    let rules =
        "ignore: ['namespace=\"monitoring\"']\nrules: [{name: r, match: ['user=~\".+\"'], owner: {team: t}}]";
    let source = Source { name: "test.yaml".into(), text: rules.into() };
    let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into())).expect("the rules");
    world.tell(Event::Rules(Arc::new(rules)));
    let process = world.start(10);
    world.now += SECOND;
    world.sample(0, value(300_000), &[(10, 50)]);
    let mut facts = Facts::default();
    facts.set(Field::User, "ada-x");
    facts.set_pending(Field::Namespace);
    let generation = world.accountant.generation;
    world.tell(identify::Event::Facts { process, generation, facts: Arc::new(facts) });
    let role = |world: &World| {
        let billing = world.accountant.claims.billing(process, &(uuid(0), None));
        billing.map(|billing| billing.role)
    };
    assert_eq!(role(&world), None);
    world.learn(process, &[(Field::User, "ada-x"), (Field::Namespace, "monitoring")]);
    assert_eq!(role(&world), Some(wattribute::split::Role::Ignored));
}

#[test]
fn who_came_just_before_a_sample_and_left_unnoticed_was_there_for_half_of_that() {
    let mut world = world();
    world.now += 800;
    let process = world.start(10);
    let running = vec![Running { pid: 10, instance: None, memory: Some(1) }];
    world.tell(sample::Event::Arrived { uuid: uuid(0), running });
    world.learn(process, &[(Field::User, "ada-x")]);
    world.now += 200;
    world.sample(0, value(300_000), &[]);
    world.learn(process, &[(Field::User, "ada-x")]);
    check_teams(&mut world, &[("ada", 210_000), ("unallocated", 90_000)]);
}
