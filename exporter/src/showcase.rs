//! Puts each snapshot where scrapes and the page find it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use wattribute::owner::Owner;
use wattribute::units::Millijoules;

use crate::account::occupant::Detail;
use crate::account::snapshot::{GpuView, Snapshot};
use crate::clock;
use crate::expose::overview::{self, Overview};
use crate::expose::processes::Listing;
use crate::expose::publish::Published;
use crate::expose::routes::Live;
use crate::expose::rows::{About, Scrapable};
use crate::reload::Standing;

/// What is shown, and what is said beside the snapshots.
pub struct Showcase {
    source: &'static str,
    standing: Arc<Mutex<Standing>>,
    detail: Detail,
    host: Arc<str>,
    live: Arc<Live>,
}

impl Showcase {
    /// Shows an empty snapshot until the first one comes.
    pub fn new(source: &'static str, standing: Arc<Mutex<Standing>>, detail: Detail) -> Self {
        let now = standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = Arc::new(Snapshot::default());
        let overview = view(&snapshot, source, &now);
        let about = About { source, rules: now.status, state_write_failed: None };
        let published = Published::new(Arc::new(Scrapable { snapshot, about }));
        let host = rustix::system::uname().nodename().to_string_lossy().into();
        Self { source, standing, detail, host, live: Arc::new(Live::new(published, overview)) }
    }

    /// Where requests find what is shown.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Shows a snapshot, which is on disk unless that failed.
    pub fn show(&self, snapshot: Arc<Snapshot>, state_write_failed: Option<bool>) {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut overview = view(&snapshot, self.source, &standing);
        if self.detail == Detail::Processes {
            let listing = Listing {
                snapshot: Arc::clone(&snapshot),
                host: Arc::clone(&self.host),
                source: self.source,
                rules: standing.page.clone(),
                generated: clock::unix().as_seconds(),
            };
            overview.processes = Some(listing.table());
            self.live.listing.store(Arc::new(listing));
        }
        self.live.overview.store(Arc::new(overview));
        self.live.is_ready.store(snapshot.ready, Ordering::Relaxed);
        let about = About { source: self.source, rules: standing.status, state_write_failed };
        let published = self.live.published.load().next(Arc::new(Scrapable { snapshot, about }));
        self.live.published.store(Arc::new(published));
    }
}

/// What the page says of a snapshot: live, and so ahead of the counters.
fn view(snapshot: &Snapshot, source: &str, standing: &Standing) -> Overview {
    Overview {
        source: source.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: standing.page.clone(),
        gpus: snapshot.gpus.iter().map(gpu).collect(),
        teams: teams(snapshot),
        processes: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn gpu(view: &GpuView) -> overview::Gpu {
    let latest = view.latest.filter(|_| view.up);
    let gauges = latest.map(|latest| latest.gauges).unwrap_or_default();
    overview::Gpu {
        index: view.card.index,
        model: view.card.model.to_string(),
        uuid: view.card.uuid.to_string(),
        is_up: view.up,
        power_watts: latest.and_then(|latest| latest.power).map(wattribute::units::Milliwatts::as_watts),
        power_limit_watts: gauges.power_limit.map(wattribute::units::Milliwatts::as_watts),
        utilization_ratio: gauges.utilization,
        temperature_celsius: gauges.temperature_celsius.map(f64::from),
        memory_used_bytes: gauges.memory_used.map(|bytes| bytes as f64),
        memory_total_bytes: gauges.memory_total.map(|bytes| bytes as f64),
    }
}

/// The owners over all GPUs, those that draw most first.
fn teams(snapshot: &Snapshot) -> Vec<overview::Team> {
    let mut energy: BTreeMap<&Owner, Millijoules> = BTreeMap::new();
    for (_, account) in snapshot.visible.ledger.gpus().chain(snapshot.hidden.ledger.gpus()) {
        for (owner, amounts) in &account.owners {
            *energy.entry(owner).or_default() += amounts.active + amounts.idle;
        }
    }
    let watts = |owner: &Owner| {
        let up = snapshot.gpus.iter().filter(|gpu| gpu.up);
        up.filter_map(|gpu| gpu.watts.get(owner)).copied().reduce(|sum, more| sum + more)
    };
    let processes = |owner: &Owner| {
        snapshot.gpus.iter().filter_map(|gpu| gpu.teams.get(owner)).map(|team| team.processes).sum()
    };
    let mut teams: Vec<overview::Team> = energy
        .into_iter()
        .map(|(owner, energy)| overview::Team {
            owner: owner.clone(),
            watts: watts(owner),
            joules: energy.as_joules(),
            processes: processes(owner),
        })
        .collect();
    teams.sort_by(|a, b| b.watts.unwrap_or(0.0).total_cmp(&a.watts.unwrap_or(0.0)));
    teams
}
