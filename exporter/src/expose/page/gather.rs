//! Finds what the page says: in the newest snapshot, which is live and so ahead of the counters, and in what is remembered
//! beside it. Called by [`super::super::overview`] when somebody looks.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use wattribute::owner::Owner;
use wattribute::split::Basis;
use wattribute::units::Milliwatts;

use super::history::History;
use super::today;
use super::view::{Gpu, State, Team, Teams, User, View};
use crate::account::occupant::Detail;
use crate::account::snapshot::{GpuView, Snapshot};
use crate::expose::overview::Overview;

/// Teams that a page has room for.
const TEAMS: usize = 200;
/// Less than this is not worth a line.
const LEAST_WATTS: f64 = 0.05;

/// What the page says to who may see so much.
pub fn view(overview: &Overview, detail: Detail) -> View {
    let listing = &overview.listing;
    let snapshot = &*listing.snapshot;
    let mut history = overview.history.lock().unwrap_or_else(PoisonError::into_inner);
    let chart = history.chart();
    let zone = overview.today.since.time_zone();
    let mut gpus: Vec<Gpu> = snapshot.gpus.iter().map(|view| gpu(view, zone, &history)).collect();
    gpus.sort_by_key(|gpu| gpu.index);
    View {
        host: listing.host.to_string(),
        version: format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("WATTRIBUTE_REVISION")),
        now: moment(listing.generated, zone),
        is_ready: snapshot.ready,
        state: state(overview, zone),
        gpus,
        teams: teams(overview, &history),
        chart,
        processes: (detail == Detail::Processes).then(|| listing.table()),
    }
}

fn state(overview: &Overview, zone: &TimeZone) -> State {
    let snapshot = &*overview.listing.snapshot;
    let mut drivers: Vec<String> = snapshot.gpus.iter().map(|gpu| gpu.card.driver_version.clone()).collect();
    drivers.sort();
    drivers.dedup();
    State {
        source: overview.listing.source.into(),
        drivers,
        failed_calls: snapshot.calls.errors.values().sum(),
        rules: overview.listing.rules.clone(),
        rule_count: snapshot.rules.rule_count(),
        rules_since: moment(overview.rules_since, zone),
        residual_joules: residual_joules(snapshot),
        delay_seconds: overview.delay.as_secs_f64(),
        state_write_failed: overview.state_write_failed,
        pid_namespace_mismatch: snapshot.pid_namespace_mismatch,
    }
}

/// Over all GPUs, seen by scrapes or not yet, none outweighing another.
#[expect(clippy::cast_precision_loss, reason = "0, or a bug of any size")]
fn residual_joules(snapshot: &Snapshot) -> f64 {
    let accounts = snapshot.visible.ledger.gpus().chain(snapshot.hidden.ledger.gpus());
    accounts.map(|(_, account)| account.residual().unsigned_abs()).sum::<u128>() as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn gpu(view: &GpuView, zone: &TimeZone, history: &History) -> Gpu {
    let latest = view.latest.filter(|_| view.up);
    let gauges = latest.map(|latest| latest.gauges).unwrap_or_default();
    Gpu {
        index: view.card.index,
        model: view.card.model.to_string(),
        uuid: view.card.uuid.to_string(),
        is_up: view.up,
        heard: view.latest.map(|latest| moment(latest.unix.as_seconds(), zone)),
        power_watts: gauges.power.or(latest.and_then(|latest| latest.power)).map(Milliwatts::as_watts),
        power_limit_watts: gauges.power_limit.map(Milliwatts::as_watts),
        utilization_ratio: gauges.utilization,
        temperature_celsius: gauges.temperature_celsius.map(f64::from),
        memory_used_bytes: gauges.memory_used.map(|bytes| bytes as f64),
        memory_total_bytes: gauges.memory_total.map(|bytes| bytes as f64),
        users: users(view, history),
        estimated_by: view.basis.and_then(estimate),
    }
}

/// What an estimate rests on; `None` where it is none.
fn estimate(basis: Basis) -> Option<&'static str> {
    match basis {
        Basis::Utilization => None,
        Basis::Mig => Some("the activity of the MIG instances"),
        Basis::Memory => Some("memory held"),
        Basis::Equal => Some("the number of processes, equally"),
    }
}

/// Who draws power on a GPU or has processes there, those that draw most first.
fn users(view: &GpuView, history: &History) -> Vec<User> {
    let mut owners: Vec<&Owner> = view.watts.keys().chain(view.teams.keys()).collect();
    owners.sort();
    owners.dedup();
    let user = |owner: &Owner| User {
        owner: owner.clone(),
        colour: history.colour(owner.team()),
        watts: view.watts.get(owner).copied(),
        processes: view.teams.get(owner).map_or(0, |team| team.processes),
    };
    let mut users: Vec<User> = owners.into_iter().map(user).collect();
    users.retain(|user| user.processes > 0 || user.watts.is_some_and(|watts| watts >= LEAST_WATTS));
    users.sort_by(|one, other| other.watts.unwrap_or(0.0).total_cmp(&one.watts.unwrap_or(0.0)));
    users
}

/// The owners over all GPUs: those that drew most first, and after all teams what no team drew.
fn teams(overview: &Overview, history: &History) -> Teams {
    let snapshot = &*overview.listing.snapshot;
    let mut teams: BTreeMap<&Owner, Team> = BTreeMap::new();
    let totals = today::totals(snapshot);
    for (owner, total) in &totals {
        teams.entry(owner).or_default().joules = overview.today.gained(owner, *total).as_joules();
    }
    for gpu in &snapshot.gpus {
        for user in users(gpu, history) {
            let Some((owner, _)) = totals.get_key_value(&user.owner) else { continue };
            let team = teams.entry(owner).or_default();
            team.gpus += 1;
            team.processes += user.processes;
            team.watts = sum(team.watts, user.watts);
        }
    }
    // Who draws nothing where all GPUs say who draws draws nothing.
    let none = snapshot.gpus.iter().all(|gpu| gpu.up).then_some(0.0);
    let mut rows: Vec<Team> = teams
        .into_iter()
        .map(|(owner, team)| Team {
            owner: owner.clone(),
            colour: history.colour(owner.team()),
            watts: team.watts.or(none.filter(|_| team.gpus == 0)),
            ..team
        })
        .filter(|team| team.joules > 0.0 || team.gpus > 0)
        .collect();
    rows.sort_by(|one, other| rank(one).cmp(&rank(other)).then(other.joules.total_cmp(&one.joules)));
    let together = together(&rows, snapshot);
    let left = rows.len().saturating_sub(TEAMS);
    rows.truncate(TEAMS);
    let today = &overview.today;
    Teams { since: today.since.clone(), because: today.because, rows, left, sum: together }
}

fn rank(team: &Team) -> u8 {
    u8::from(team.owner.reserved().is_some())
}

fn together(rows: &[Team], snapshot: &Snapshot) -> Team {
    Team {
        watts: rows.iter().fold(None, |watts, team| sum(watts, team.watts)),
        joules: rows.iter().map(|team| team.joules).sum(),
        gpus: snapshot.gpus.iter().filter(|gpu| gpu.up).count(),
        processes: rows.iter().map(|team| team.processes).sum(),
        ..Team::default()
    }
}

/// Of what is known.
fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(|one, other| one + other)
}

/// A Unix time in seconds, by the clock of a zone.
#[expect(clippy::cast_possible_truncation, reason = "microseconds since 1970")]
fn moment(unix: f64, zone: &TimeZone) -> Zoned {
    Timestamp::from_microsecond((unix * 1e6) as i64).unwrap_or_default().to_zoned(zone.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::view::{Because, Colour};
    use super::*;
    use crate::account::snapshot::TeamView;
    use crate::expose::processes::Listing;
    use crate::sample::Card;
    use wattribute::owner::Reserved;
    use wattribute::split::Amounts;
    use wattribute::units::Millijoules;

    fn owner(team: &str) -> Owner {
        Owner::new([("team", team)])
    }

    /// A GPU that answers; owners with their watts and processes.
    fn gpu(index: u32, owners: &[(&str, f64, usize)]) -> GpuView {
        let card = Card {
            uuid: format!("GPU-{index}").into(),
            index,
            model: "x".into(),
            pci_bus_id: String::new(),
            driver_version: "580".into(),
            max_power: None,
        };
        let mut view = GpuView { up: true, ..GpuView::new(card) };
        for (team, watts, processes) in owners {
            view.watts.insert(owner(team), *watts);
            view.teams.insert(owner(team), TeamView { processes: *processes, memory: None });
        }
        view
    }

    /// What the page says, where teams have been given so many joules.
    fn seen(gpus: Vec<GpuView>, given: &[(&str, u64)]) -> View {
        let mut snapshot = Snapshot { gpus, ..Snapshot::default() };
        for (team, joules) in given {
            let amounts = Amounts { active: Millijoules(joules * 1000), ..Amounts::default() };
            let account = snapshot.hidden.ledger.gpu(&"GPU-0".into());
            account.owners.insert(owner(team), amounts);
            account.energy += amounts.active;
        }
        let listing = Listing { snapshot: Arc::new(snapshot), ..Listing::default() };
        view(&Overview { listing: Arc::new(listing), ..Overview::default() }, Detail::Teams)
    }

    #[track_caller]
    fn check(teams: &[Team], want: &[(&str, Option<f64>, f64, usize, usize)]) {
        let got: Vec<_> = teams
            .iter()
            .map(|team| (team.owner.team(), team.watts, team.joules, team.gpus, team.processes))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn teams_come_by_energy_and_what_no_team_drew_comes_last() {
        let gpus =
            vec![gpu(1, &[("b", 40.0, 1), ("unallocated", 9.0, 0)]), gpu(0, &[("a", 2.0, 1), ("b", 1.0, 2)])];
        let view = seen(gpus, &[("a", 70), ("b", 90), ("gone", 5), ("never", 0), ("unallocated", 500)]);
        let rows = [
            ("b", Some(41.0), 90.0, 2, 3),
            ("a", Some(2.0), 70.0, 1, 1),
            ("gone", Some(0.0), 5.0, 0, 0),
            ("unallocated", Some(9.0), 500.0, 1, 0),
        ];
        check(&view.teams.rows, &rows);
        check(&[view.teams.sum], &[("", Some(52.0), 665.0, 2, 4)]);
        assert_eq!(view.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
        let users: Vec<_> =
            view.gpus[1].users.iter().map(|user| (user.owner.team(), user.processes)).collect();
        assert_eq!(users, [("b", 1), ("unallocated", 0)]);
        assert_eq!(view.gpus[1].users[1].colour, Colour::Reserved(Reserved::Unallocated));
        assert_eq!((view.teams.because, view.state.residual_joules), (Because::Start, 0.0));
    }

    #[test]
    fn while_a_gpu_is_silent_nobody_is_said_to_draw_nothing() {
        let silent = GpuView { up: false, ..gpu(1, &[]) };
        let view = seen(vec![gpu(0, &[("a", 2.0, 1)]), silent], &[("a", 70), ("gone", 5)]);
        check(&view.teams.rows, &[("a", Some(2.0), 70.0, 1, 1), ("gone", None, 5.0, 0, 0)]);
    }

    #[test]
    fn more_teams_than_fit_are_counted_and_summed() {
        let names: Vec<String> = (0..250).map(|team| format!("team{team:03}")).collect();
        let given: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        let view = seen(vec![gpu(0, &[])], &given);
        assert_eq!((view.teams.rows.len(), view.teams.left, view.teams.sum.joules), (200, 50, 500.0));
    }

    #[test]
    fn residuals_do_not_outweigh_each_other() {
        let mut snapshot = Snapshot::default();
        snapshot.visible.ledger.gpu(&"GPU-0".into()).energy = Millijoules(3);
        let account = snapshot.visible.ledger.gpu(&"GPU-1".into());
        account.owners.insert(owner("a"), Amounts { active: Millijoules(3), ..Amounts::default() });
        assert_eq!(residual_joules(&snapshot), 0.006);
    }
}
