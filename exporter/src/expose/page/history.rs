//! What each team drew in the last minutes, for the chart: small sums that are kept with every snapshot, and a chart of
//! them for who looks.
//!
//! Bounded: 181 steps of at most 128 teams each, about half a megabyte; ten teams are 40 KiB. A step is five seconds, or
//! a sample interval where that is longer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wattribute::owner::Reserved;
use wattribute::units::Microseconds;

use super::view::Colour;
use crate::account::snapshot::Snapshot;

const STEP: Microseconds = Microseconds(5_000_000);
/// The chart is as wide as what there is, in steps.
const WIDTHS: [usize; 4] = [13, 37, 73, STEPS];
const STEPS: usize = 181;
/// More teams than this in a step are summed.
const MOST_TEAMS: usize = 128;
/// So many steps may be missing before the chart shows a gap.
const BRIDGED: u64 = 2;
/// Teams with a colour of their own.
const COLOURS: usize = 8;
/// What the rest is called.
pub const OTHERS: &str = "other teams";

/// What each team drew in the last minutes.
#[derive(Debug)]
pub struct History {
    step: Microseconds,
    steps: VecDeque<Step>,
    /// Which team has which colour: it keeps it as long as it is among those that drew most.
    colours: [Option<Arc<str>>; COLOURS],
}

#[derive(Debug, Default)]
struct Step {
    /// Its time, in steps.
    number: u64,
    samples: u32,
    /// Watts, added up over the samples.
    teams: BTreeMap<Arc<str>, f64>,
    others: f64,
}

/// Power by team over time.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// The time from the left edge to the right.
    pub seconds: f64,
    /// From the ground up.
    pub bands: Vec<Band>,
}

/// One team's power.
#[derive(Clone, Debug)]
pub struct Band {
    pub name: String,
    pub colour: Colour,
    /// Watts at each step, the last one now; `None` where nobody looked.
    pub watts: Vec<Option<f64>>,
}

impl Default for History {
    fn default() -> Self {
        Self::new(Microseconds::ZERO)
    }
}

impl History {
    /// With a sample in each of these intervals.
    pub fn new(interval: Microseconds) -> Self {
        Self { step: STEP.max(interval), steps: VecDeque::new(), colours: Default::default() }
    }

    /// Takes in what the teams draw now, on the monotonic clock; nothing where no GPU says it.
    pub fn note(&mut self, now: Microseconds, snapshot: &Snapshot) {
        let gpus = snapshot.gpus.iter().filter(|gpu| gpu.up && !gpu.watts.is_empty());
        let watts = gpus.flat_map(|gpu| gpu.watts.iter().map(|(owner, watts)| (owner.team(), *watts)));
        let mut watts = watts.peekable();
        if watts.peek().is_none() {
            return;
        }
        let number = now.0 / self.step.0;
        if self.steps.back().is_none_or(|last| last.number != number) {
            self.steps.push_back(Step { number, ..Step::default() });
            while self.steps.front().is_some_and(|first| first.number + STEPS as u64 <= number) {
                self.steps.pop_front();
            }
        }
        let mut steps = self.steps.iter_mut().rev();
        let Some(step) = steps.next() else { return };
        let before = steps.next();
        step.samples += 1;
        for (team, watts) in watts {
            step.add(team, watts, before.as_deref());
        }
    }

    /// The chart as it stands.
    pub fn chart(&mut self) -> Chart {
        self.paint();
        let (Some(first), Some(last)) = (self.steps.front(), self.steps.back()) else {
            return Chart::default();
        };
        let span = usize::try_from(last.number - first.number + 1).unwrap_or(STEPS);
        let width = WIDTHS.into_iter().find(|width| *width >= span).unwrap_or(STEPS);
        let ends = last.number + 1;
        let numbers = (1..=width as u64).rev().map(|back| ends.checked_sub(back));
        let at: Vec<Option<&Step>> = numbers.map(|number| self.at(number?)).collect();
        let mut bands = Vec::new();
        for (slot, team) in self.colours.iter().enumerate() {
            let Some(team) = team else { continue };
            let colour = u8::try_from(slot).map_or(Colour::Others, Colour::Slot);
            bands.push(band(team, colour, &at, |step| step.mean(team)));
        }
        let is_rest = |team: &str| Reserved::parse(team).is_none() && !self.has_colour(team);
        bands.push(band(OTHERS, Colour::Others, &at, |step| step.rest(is_rest)));
        for team in Reserved::ALL {
            bands.push(band(team.name(), Colour::Reserved(team), &at, |step| step.mean(team.name())));
        }
        bands.retain(|band| band.watts.iter().flatten().any(|watts| *watts > 0.0));
        Chart { seconds: self.step.as_seconds() * (width - 1) as f64, bands }
    }

    /// The colour of a team, as of the last chart.
    pub fn colour(&self, team: &str) -> Colour {
        let slot = self.colours.iter().position(|one| one.as_deref() == Some(team));
        match (slot.and_then(|slot| u8::try_from(slot).ok()), Reserved::parse(team)) {
            (Some(slot), _) => Colour::Slot(slot),
            (None, Some(reserved)) => Colour::Reserved(reserved),
            (None, None) => Colour::Others,
        }
    }

    fn has_colour(&self, team: &str) -> bool {
        self.colours.iter().any(|one| one.as_deref() == Some(team))
    }

    /// The step of that time, or the one before it where hardly any is missing.
    fn at(&self, number: u64) -> Option<&Step> {
        let after = self.steps.partition_point(|step| step.number <= number);
        let step = self.steps.get(after.checked_sub(1)?)?;
        let next = self.steps.get(after);
        let is_bridged = next.is_some_and(|next| next.number - step.number <= BRIDGED + 1);
        (step.number == number || is_bridged).then_some(step)
    }

    /// Gives those that drew most a colour.
    fn paint(&mut self) {
        let mut sums: BTreeMap<&Arc<str>, f64> = BTreeMap::new();
        for step in &self.steps {
            for team in step.teams.keys().filter(|team| Reserved::parse(team).is_none()) {
                *sums.entry(team).or_default() += step.mean(team);
            }
        }
        let mut most: Vec<(&Arc<str>, f64)> = sums.into_iter().filter(|(_, sum)| *sum > 0.0).collect();
        most.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let most: Vec<Arc<str>> = most.into_iter().take(COLOURS).map(|(team, _)| Arc::clone(team)).collect();
        for slot in &mut self.colours {
            slot.take_if(|team| !most.contains(team));
        }
        for team in most {
            if !self.has_colour(&team)
                && let Some(free) = self.colours.iter_mut().find(|slot| slot.is_none())
            {
                *free = Some(team);
            }
        }
    }
}

impl Step {
    fn add(&mut self, team: &str, watts: f64, before: Option<&Self>) {
        if let Some(sum) = self.teams.get_mut(team) {
            *sum += watts;
        } else if self.teams.len() < MOST_TEAMS || Reserved::parse(team).is_some() {
            let known = before.and_then(|before| before.teams.get_key_value(team));
            let name = known.map_or_else(|| team.into(), |(name, _)| Arc::clone(name));
            self.teams.insert(name, watts);
        } else {
            self.others += watts;
        }
    }

    fn mean(&self, team: &str) -> f64 {
        self.teams.get(team).copied().unwrap_or_default() / f64::from(self.samples)
    }

    fn rest(&self, is_rest: impl Fn(&str) -> bool) -> f64 {
        let teams = self.teams.iter().filter(|(team, _)| is_rest(team)).map(|(_, watts)| watts);
        (teams.sum::<f64>() + self.others) / f64::from(self.samples)
    }
}

fn band(name: &str, colour: Colour, at: &[Option<&Step>], watts: impl Fn(&Step) -> f64) -> Band {
    Band { name: name.into(), colour, watts: at.iter().map(|step| step.map(&watts)).collect() }
}

#[cfg(test)]
mod tests;
