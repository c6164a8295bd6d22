//! The library inside another program: rules and facts give an owner, an interval of a GPU is divided and booked.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::sync::Arc;

use wattribute::facts::{Facts, Field, ProcessKey};
use wattribute::ledger::Ledger;
use wattribute::rules::{Decision, RuleSet, Source};
use wattribute::split::{Interval, Occupant, Role, Utilizations};
use wattribute::units::{Microseconds, Millijoules};

const RULES: &str = r#"
rules:
  - name: groups
    match: ['group=~"research|teaching"']
    owner: {team: "${group}"}
"#;
const SECOND: Microseconds = Microseconds::SECOND;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source { name: "teams.yaml".into(), text: RULES.into() };
    let rules = RuleSet::load(&[source], &mut |_, _| Err("this program has no tables".into()))?;

    let mut facts = Facts::default();
    facts.set(Field::Group, "research");
    let Decision::Verdict(verdict) = rules.decide(&facts) else { return Err("a fact is pending".into()) };

    // What the driver said of one second: 320 J, of which 70 J would have been drawn anyway.
    let (process, owner) = (ProcessKey { pid: 4711, start: 93_100 }, &verdict.owner);
    let (busy, memory) = (Microseconds(800_000), Some(8 << 30));
    let occupants =
        &[Occupant { process, instance: None, owner, role: Role::Holder, memory, busy, seen: SECOND }];
    let (active, idle) = (Millijoules(250_000), Millijoules(70_000));
    let interval = Interval {
        elapsed: SECOND,
        active,
        idle,
        policy: rules.idle_policy(),
        utilizations: Utilizations::Known,
        occupants,
        allocations: &[],
        partition: None,
    };

    let (gpu, mut ledger) = (Arc::from("GPU-0"), Ledger::default());
    ledger.book(&gpu, &interval, &interval.split())?;
    for (owner, amounts) in &ledger.gpu(&gpu).owners {
        println!("{gpu} {owner}: {} active, {} idle", amounts.active, amounts.idle);
    }
    Ok(())
}
