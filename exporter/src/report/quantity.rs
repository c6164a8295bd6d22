//! What is billed: the counters that a report reads, the series they come in, and whole numbers for their values.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::answer::Labels;

/// A counter of the exporter that a report reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Energy of a GPU, in millijoules.
    Device,
    /// Energy booked to an owner, in millijoules; a kind for each series.
    Energy,
    /// The part of it that an estimate divided, in millijoules.
    Estimated,
    /// Time an owner held a GPU, in microseconds.
    Held,
    /// Time an owner kept a GPU busy, in microseconds.
    Busy,
}

/// Whether a GPU worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It worked.
    Active,
    /// It did not.
    Idle,
}

impl Kind {
    /// The value of label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
        }
    }
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Device, Self::Energy, Self::Estimated, Self::Held, Self::Busy];

    /// The name that queries use.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Device => "wattribute_gpu_energy_joules_total",
            Self::Energy => "wattribute_team_energy_joules_total",
            Self::Estimated => "wattribute_team_energy_estimated_joules_total",
            Self::Held => "wattribute_team_gpu_held_seconds_total",
            Self::Busy => "wattribute_team_gpu_busy_seconds_total",
        }
    }

    /// How many of the smallest unit, millijoules or microseconds, are in what the counter counts.
    fn per_unit(self) -> f64 {
        match self {
            Self::Device | Self::Energy | Self::Estimated => 1e3,
            Self::Held | Self::Busy => 1e6,
        }
    }

    /// A value of the counter as a whole number of the smallest unit. `None` where it is none of the exporter's.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 2^53, not negative")]
    pub fn whole(self, value: f64) -> Option<u64> {
        let units = (value * self.per_unit()).round();
        (units.is_finite() && (0.0..9.007_199_254_740_992e15).contains(&units)).then_some(units as u64)
    }

    /// A whole number of the smallest unit as the counter has it.
    pub fn decimal(self, whole: u64) -> String {
        match self {
            Self::Device | Self::Energy | Self::Estimated => format!("{}.{:03}", whole / 1000, whole % 1000),
            Self::Held | Self::Busy => format!("{}.{:06}", whole / 1_000_000, whole % 1_000_000),
        }
    }

    fn of(metric: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quantity| quantity.metric() == metric)
    }
}

/// The labels of an owner, the team first, the others by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub Vec<(String, String)>);

impl Owner {
    /// A label's value; empty where there is none.
    pub fn get(&self, label: &str) -> &str {
        self.0.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value)
    }

    /// The value of label `team`.
    pub fn team(&self) -> &str {
        self.get("team")
    }
}

/// What a counter counts, whoever scraped it from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The GPU.
    pub uuid: Arc<str>,
    /// Which counter.
    pub quantity: Quantity,
    /// To whom it is booked; `None` for [`Quantity::Device`].
    pub owner: Option<Arc<Owner>>,
    /// Of [`Quantity::Energy`] alone.
    pub kind: Option<Kind>,
}

/// The labels that a scrape's target gives: where the exporter runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub Vec<(String, String)>);

impl Target {
    /// A label's value; empty where there is none.
    pub fn get(&self, label: &str) -> &str {
        self.0.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value)
    }
}

/// Takes labels apart. Which names are the target's is known from the counters of the GPUs, that have no other than
/// these and `uuid`.
#[derive(Clone, Debug, Default)]
pub struct Names {
    target: BTreeSet<String>,
}

impl Names {
    /// From the label sets of [`Quantity::Device`].
    pub fn of_devices(sets: &[Labels]) -> Self {
        let names =
            sets.iter().flat_map(Labels::keys).filter(|name| !["__name__", "uuid"].contains(&&***name));
        Self { target: names.cloned().collect() }
    }

    /// What a series counts, and from where.
    ///
    /// # Errors
    /// Where the labels are not those that the exporter gives.
    pub fn split(&self, labels: &Labels) -> Result<(Key, Target), String> {
        let say = |what: &str| format!("a series with labels {labels:?} has {what}: is it the exporter's?");
        let metric = labels.get("__name__").ok_or_else(|| say("no name"))?;
        let quantity = Quantity::of(metric).ok_or_else(|| say("an unknown name"))?;
        let uuid = labels.get("uuid").filter(|uuid| !uuid.is_empty()).ok_or_else(|| say("no uuid"))?;
        let kind = match (quantity, labels.get("kind").map(String::as_str)) {
            (Quantity::Energy, Some("active")) => Some(Kind::Active),
            (Quantity::Energy, Some("idle")) => Some(Kind::Idle),
            (Quantity::Energy, _) => return Err(say("no kind")),
            _ => None,
        };
        let own: &[&str] = if kind.is_some() { &["kind"] } else { &[] };
        let (owner, target) = self.owner_and_target(labels, own);
        let owner = (quantity != Quantity::Device).then(|| Arc::new(owner));
        if owner.as_ref().is_some_and(|owner| owner.team().is_empty()) {
            return Err(say("no team"));
        }
        Ok((Key { uuid: uuid.as_str().into(), quantity, owner, kind }, target))
    }

    /// Who a series is booked to and where it was scraped; `own` are labels that are neither.
    pub fn owner_and_target(&self, labels: &Labels, own: &[&str]) -> (Owner, Target) {
        let (mut owner, mut target) = (vec![], vec![]);
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "__name__" | "uuid" => {}
                name if own.contains(&name) => {}
                name if self.target.contains(name) => target.push((name.to_owned(), value.clone())),
                name => owner.push((name.to_owned(), value.clone())),
            }
        }
        owner.sort_by_key(|(name, _)| (name != "team", name.clone()));
        (Owner(owner), Target(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::metrics::METRICS;

    fn labels(text: &str) -> Labels {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect()
    }

    #[test]
    fn the_counters_are_those_of_the_exporter() {
        for quantity in Quantity::ALL {
            assert!(METRICS.iter().any(|metric| metric.name() == quantity.metric()), "{quantity:?}");
        }
    }

    #[test]
    fn values_become_whole_and_decimals_again() {
        for (quantity, value, want, text) in [
            (Quantity::Device, 1125.005, 1_125_005, "1125.005"),
            (Quantity::Device, 4_398_046_511_103.999, 4_398_046_511_103_999, "4398046511103.999"),
            (Quantity::Held, 2.5, 2_500_000, "2.500000"),
        ] {
            assert_eq!(quantity.whole(value), Some(want));
            assert_eq!(quantity.decimal(want), text);
        }
        for wrong in [-1.0, f64::INFINITY, f64::NAN, 1e300] {
            assert_eq!(Quantity::Busy.whole(wrong), None);
        }
    }

    #[test]
    fn labels_of_the_target_are_those_of_the_devices() {
        let names = Names::of_devices(&[labels("__name__=x,uuid=u,job=j,rack=r")]);
        let series = labels(
            "__name__=wattribute_team_energy_joules_total,uuid=u,job=j,rack=r,team=t,project=p,area=a,kind=idle",
        );
        let (key, target) = names.split(&series).unwrap();
        let owner = key.owner.unwrap();
        assert_eq!(
            owner.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["team", "area", "project"]
        );
        assert_eq!((target.get("rack"), target.get("site"), key.kind), ("r", "", Some(Kind::Idle)));
    }

    #[test]
    fn what_is_not_the_exporters_is_refused() {
        let names = Names::default();
        for wrong in [
            "__name__=up,uuid=u",
            "__name__=wattribute_team_energy_joules_total,uuid=u,team=t",
            "__name__=wattribute_team_gpu_held_seconds_total,uuid=u,project=p",
            "__name__=wattribute_gpu_energy_joules_total",
        ] {
            assert!(names.split(&labels(wrong)).is_err(), "{wrong}");
        }
    }
}
