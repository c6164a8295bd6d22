//! What is said in the log of processes that cannot be known, once each: what cannot be seen, which rules wait for it,
//! and the way out. What is counted is in `identify_failures_total`. Called by the accountant, and by `doctor`.

use std::collections::BTreeSet;

use wattribute::facts::Field;
use wattribute::procfs::Part;
use wattribute::rules::RuleSet;

/// How many rules are named at most.
const NAMED: usize = 10;

/// What was said already.
#[derive(Debug, Default)]
pub struct Complaints {
    unread: BTreeSet<Part>,
    failed: BTreeSet<&'static str>,
    mismatched: bool,
}

impl Complaints {
    /// A part of a process cannot be read, by the name that it is counted under.
    pub fn unread(&mut self, name: &str, rules: &RuleSet) {
        let Some(part) = Part::ALL.into_iter().find(|part| part.name() == name) else { return };
        if self.unread.insert(part) {
            say(part, rules);
        }
    }

    /// Other rules may wait for what cannot be read.
    pub fn adopt(&self, rules: &RuleSet) {
        self.unread.iter().for_each(|part| say(*part, rules));
    }

    /// Nothing of a process can be read; that it has ended is normal.
    pub fn failed(&mut self, reason: &'static str) {
        if reason == "denied" && self.failed.insert(reason) {
            tracing::warn!(
                reason,
                "processes on the gpus may not be read, and are unattributed: run as root, or mount /proc without \
                 hidepid; wattribute doctor says more"
            );
        }
    }

    /// Whether the driver names only processes that are not in /proc.
    pub fn mismatch(&mut self, is_there: bool) {
        match (std::mem::replace(&mut self.mismatched, is_there), is_there) {
            (false, true) => tracing::warn!(
                "the processes that the driver names are not in /proc, and are unattributed: run in the host's PID \
                 namespace, or see hidepid; wattribute doctor says more"
            ),
            (true, false) => tracing::info!("the processes that the driver names are in /proc"),
            _ => {}
        }
    }
}

/// Who asks for one of these fields: rules by name, the first of many, or `ignore`; `None` is nobody.
pub fn readers(rules: &RuleSet, fields: &[Field]) -> Option<String> {
    let names: Vec<&str> = rules.readers(fields).collect();
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => fields.iter().any(|field| rules.wants(field)).then(|| "ignore".into()),
        few if few <= NAMED => Some(shown),
        many => Some(format!("{shown} and {} more", many - NAMED)),
    }
}

fn say(part: Part, rules: &RuleSet) {
    let readers = readers(rules, &part.fields(rules.wanted_env()));
    let (part, way_out) = (part.name(), way_out(part));
    let Some(rules) = readers else {
        tracing::info!(part, way_out, "a part of some processes cannot be read; no rule asks for it");
        return;
    };
    tracing::warn!(
        part,
        rules,
        way_out,
        "a part of some processes cannot be read: what these rules wait for goes to unattributed"
    );
}

fn way_out(part: Part) -> &'static str {
    match part {
        Part::Names => "see to the name service (sssd, LDAP): getent passwd UID must answer",
        Part::Environ => "run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
        _ => "run as root, or with CAP_SYS_PTRACE",
    }
}
