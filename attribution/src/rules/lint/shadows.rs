//! Rules that can never match, because an earlier one always does.

use std::sync::Arc;

use super::form::Form;
use super::{Fault, Problem, Subject, quote};
use crate::facts::Evidence;
use crate::rules::rule::Action;

/// Says which earlier rule matches whatever this one matches. A look-up may fail by a missing key, so it hides only a
/// look-up of the same key.
pub(super) fn shadow(subject: &Subject<'_>, earlier: &[Subject<'_>], discounting: bool) -> Option<Problem> {
    let first = earlier.iter().find(|earlier| hides(earlier, subject, discounting))?;
    let (name, place) = (quote(&first.rule.name), &first.rule.origin.place);
    let fault = Fault::new(format!("it never matches: rule {name} ({place}) matches first, always"));
    Some(subject.warn(fault.help(format!("put it before {name}, or remove it"))))
}

fn hides(earlier: &Subject<'_>, later: &Subject<'_>, discounting: bool) -> bool {
    let is_sure = match (&earlier.rule.action, &later.rule.action) {
        (Action::Owner(_), _) => true,
        (Action::Lookup { table, key }, Action::Lookup { table: other, key: same }) => {
            Arc::ptr_eq(table, other) && key.is_of_fields() && key == same
        }
        (Action::Lookup { .. }, Action::Owner(_)) => false,
    };
    is_sure && earlier.forms.iter().all(|form| is_implied(form, &later.forms, discounting))
}

/// Where declared facts may not count, even a matcher that accepts everything asks that they do.
fn is_implied(form: &Form<'_>, others: &[Form<'_>], discounting: bool) -> bool {
    let may_not_count = discounting && form.field().evidence() == Evidence::Declared;
    form.accepts_everything() && !may_not_count || others.iter().any(|other| form.follows_from(other))
}
