//! Teams that are decided by nothing but the word of whoever runs the process.

use super::form::{Form, is_own_word};
use super::{Fault, Problem, Subject};
use crate::facts::{Evidence, Field};
use crate::owner::TEAM;
use crate::rules::rule::Action;
use crate::rules::template::Template;

/// Facts that say where a process is, not whose it is.
const PLACES: [Field; 10] = [
    Field::Scheduler,
    Field::ContainerRuntime,
    Field::Host,
    Field::Gpu,
    Field::GpuUuid,
    Field::GpuModel,
    Field::MigInstance,
    Field::SlurmNode,
    Field::JobStep,
    Field::JobTask,
];

/// Warns of a rule that anyone could make match. Where `declared` says whose word counts, only of words that it does
/// not judge.
pub(super) fn anyones(subject: &Subject<'_>, discounting: bool) -> Option<Problem> {
    let is_word =
        |field: &Field| is_own_word(field) && !(discounting && field.evidence() == Evidence::Declared);
    let deciding: Vec<&Field> = match &subject.rule.action {
        Action::Owner(labels) => labels
            .iter()
            .filter(|(label, _)| &**label == TEAM)
            .flat_map(|(_, template)| named(template, subject))
            .collect(),
        Action::Lookup { key, .. } => named(key, subject),
    };
    let matched = subject.forms.iter().filter(|form| !form.accepts_everything()).map(Form::field);
    let words = matched.chain(deciding.iter().copied()).filter(|field| is_word(field)).count();
    let is_bound = subject.forms.iter().any(binds) || deciding.iter().any(|field| is_identity(field));
    if words == 0 || is_bound || subject.forms.iter().any(Form::accepts_nothing) {
        return None;
    }
    let fault = Fault::new("only what its user declares decides that it pays: anyone could claim it");
    let help = if discounting {
        "add a matcher that its user cannot choose, such as slurm_account"
    } else {
        "add a matcher that its user cannot choose, such as user, group or systemd_unit, or say by `declared` whose \
         word counts"
    };
    Some(subject.warn(fault.help(help)))
}

fn named<'a>(template: &'a Template, subject: &'a Subject<'_>) -> Vec<&'a Field> {
    template.fields().chain(template.captured(&subject.rule.matchers)).collect()
}

/// Whether it asks that a process be somebody's: a value, and not just any.
fn binds(form: &Form<'_>) -> bool {
    let is_everybodys = *form.field() == Field::SystemdSlice && form.accepts("user.slice");
    is_identity(form.field()) && !form.accepts("") && !form.asks_for_any_value() && !is_everybodys
}

fn is_identity(field: &Field) -> bool {
    !is_own_word(field) && !PLACES.contains(field)
}
