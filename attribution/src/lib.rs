//! Maps GPU processes to owners by rules, and accounts every joule of every GPU to them.
//!
//! Rules and facts give a [verdict](rules::Verdict); the energy of an [interval](split::Interval) is divided among the
//! owners of the processes on the GPU; a [ledger](ledger::Ledger) keeps the sums. What an owner is, is for the rules
//! file to say: a set of labels, of which `team` is the first.
//!
//! The library is pure. It knows nothing of the driver, of Prometheus or of clocks: text, numbers and time are
//! arguments. The exporter `wattribute` is one program around it; `examples/embed.rs` is the smallest other.
//!
//! ```
//! use std::sync::Arc;
//! use wattribute::facts::{Facts, Field, ProcessKey};
//! use wattribute::ledger::Ledger;
//! use wattribute::rules::{Decision, RuleSet, Source};
//! use wattribute::split::{Interval, Occupant, Role, Utilizations};
//! use wattribute::units::{Microseconds, Millijoules};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = r#"rules: [{name: people, match: ['user="emmy"'], owner: {team: algebra}}]"#;
//! let source = Source { name: "teams.yaml".into(), text: text.into() };
//! let rules = RuleSet::load(&[source], &mut |_, _| Err("no tables".into()))?;
//!
//! let mut facts = Facts::default();
//! facts.set(Field::User, "emmy");
//! let Decision::Verdict(verdict) = rules.decide(&facts) else { return Err("pending".into()) };
//!
//! let occupants = [Occupant {
//!     process: ProcessKey { pid: 4711, start: 93_100 },
//!     instance: None,
//!     owner: &verdict.owner,
//!     role: Role::Holder,
//!     memory: Some(8 << 30),
//!     busy: Microseconds(800_000),
//!     seen: Microseconds::SECOND,
//! }];
//! let interval = Interval {
//!     elapsed: Microseconds::SECOND,
//!     active: Millijoules(250_000),
//!     idle: Millijoules(70_000),
//!     policy: rules.idle_policy(),
//!     utilizations: Utilizations::Known,
//!     occupants: &occupants,
//!     allocations: &[],
//!     partition: None,
//! };
//! let (gpu, mut ledger) = (Arc::from("GPU-0"), Ledger::default());
//! ledger.book(&gpu, &interval, &interval.split())?;
//! assert_eq!(ledger.gpu(&gpu).owners[&verdict.owner].active.to_string(), "250.000 J");
//! assert_eq!(ledger.gpu(&gpu).residual(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a joule
//!
//! | module | from | to |
//! |---|---|---|
//! | [`meter`] | readings of a GPU's counter and power | the energy of an interval |
//! | [`idle`] | that energy and the idle power | idle and active energy |
//! | [`busy`] | the driver's utilisation samples | busy time by process |
//! | [`cgroup`], `procfs` | a process | [`facts`] |
//! | [`rules`] | facts | the [`owner`] |
//! | [`split`] | an interval with its processes and their owners | what falls to each |
//! | [`ledger`] | that | sums by GPU and owner |
//! | [`yaml`] | text | nodes that know their lines, and what is wrong with them |
//!
//! `docs/accounting.md` is the law behind it, `docs/rules.md` the format of the rules files.
//!
//! # Units
//!
//! Energy is whole [`Millijoules`](units::Millijoules), time whole [`Microseconds`](units::Microseconds), power whole
//! [`Milliwatts`](units::Milliwatts), memory bytes. Parts add up to the whole exactly; no float is ever summed.
//! Unknown is `None`, never 0.
//!
//! # Errors
//!
//! [`rules::Problems`] is everything wrong with the rules files at once, each with its place and the way out; such files
//! make no rules. [`ledger::Imbalance`] is a split of another interval: nothing is booked. Nothing else fails. A sum
//! beyond `u64` (half a million years at a kilowatt) is not guarded against.
//!
//! # Features
//!
//! `procfs` (default): the module of that name, which reads facts from a /proc file system. The only one with IO; it
//! works on Linux only.

#![forbid(unsafe_code)]

pub mod busy;
pub mod cgroup;
pub mod facts;
pub mod idle;
pub mod ledger;
pub mod meter;
pub mod owner;
#[cfg(feature = "procfs")]
pub mod procfs;
pub mod rules;
pub mod split;
pub mod units;
pub mod yaml;
