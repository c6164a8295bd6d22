//! Loads the rules at the start, and again on SIGHUP or over HTTP: all of them or none. A bad file leaves the last
//! good rules in force.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use wattribute::rules::RuleSet;

use crate::account::Event;
use crate::clock;
use crate::expose::overview;
use crate::expose::routes::Reload;
use crate::expose::rows::RulesStatus;
use crate::rules_file;
use crate::sample::session::{Order, Orders};

/// The state of the rules, as metrics and page show it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub status: RulesStatus,
    pub page: overview::Rules,
}

impl Standing {
    /// These rules have just been loaded.
    pub fn in_force(rules: &RuleSet) -> Self {
        let status = RulesStatus { successful: true, success_timestamp: clock::unix().as_seconds() };
        let page = match rules.rule_count() {
            0 => overview::Rules::None,
            rules => overview::Rules::InForce { rules },
        };
        Self { status, page }
    }

    fn refuse(&mut self, errors: &str) {
        self.status.successful = false;
        self.page = overview::Rules::Refused { errors: errors.into() };
    }
}

/// Loads the rules again.
#[derive(Clone)]
pub struct Reloader {
    pub paths: Vec<PathBuf>,
    pub standing: Arc<Mutex<Standing>>,
    pub events: Sender<Event>,
    /// One after the other, so that what was asked for last is what stays.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

impl Reloader {
    /// Loads them off the threads that serve, which a slow disk must not hold up.
    async fn reload(&self) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let this = self.clone();
        let loading = tokio::task::spawn_blocking(move || this.reload_now());
        loading.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn reload_now(&self) -> Result<(), String> {
        let outcome = if self.paths.is_empty() { Ok(None) } else { rules_file::load(&self.paths).map(Some) };
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(None) => tracing::info!("there are no rules files to load again"),
            Ok(Some(rules)) => {
                *standing = Standing::in_force(&rules);
                tracing::info!(rules = rules.rule_count(), "the rules were loaded again");
                // The account stage has gone only when the exporter stops.
                let _ = self.events.send(Event::Rules(Arc::new(rules)));
            }
            Err(errors) => {
                standing.refuse(&errors);
                tracing::error!(errors, "the rules were refused: the last good ones stay in force");
                return Err(errors);
            }
        }
        Ok(())
    }
}

/// The signals that the exporter heeds.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Release the driver, and take it again.
    user: [Signal; 2],
}

impl Signals {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    /// Reloads when asked to, passes on what an operator wants of the driver, and returns when told to stop, which no
    /// reload holds up.
    pub async fn until_stop(
        mut self,
        mut requests: Receiver<Reload>,
        reloader: Reloader,
        orders: Option<Orders>,
    ) {
        let [release, acquire] = &mut self.user;
        let give = |order| match &orders {
            Some(orders) => orders.give(order),
            None => tracing::info!("there is no driver to release or to take again"),
        };
        loop {
            let answer = tokio::select! {
                _ = self.hangup.recv() => None,
                Some(answer) = requests.recv() => Some(answer),
                _ = release.recv() => {
                    give(Order::Release);
                    continue;
                }
                _ = acquire.recv() => {
                    give(Order::Acquire);
                    continue;
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            };
            let reloader = reloader.clone();
            tokio::spawn(async move {
                let outcome = reloader.reload().await;
                // Who asked may have gone; a signal has nobody to answer, and the log has said it all.
                answer.map(|answer| answer.send(outcome))
            });
        }
    }

    /// Returns when told to stop, before there is anything to reload.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
