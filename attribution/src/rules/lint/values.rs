//! Owner labels whose values have no bound that an administrator set.

use super::form::is_own_word;
use super::{Fault, Problem, Subject};
use crate::facts::Field;
use crate::rules::rule::Action;
use crate::rules::template::{Part, Template};

/// Why the values of a field have no bound, and the way out.
struct Growth {
    why: &'static str,
    help: String,
}

/// Warns of labels that could make more owners than may hold energy.
pub(super) fn boundless(subject: &Subject<'_>, limit: usize) -> Vec<Problem> {
    let Action::Owner(labels) = &subject.rule.action else { return Vec::new() };
    let mut warnings = Vec::new();
    for (label, template) in labels {
        let Some(field) = template.parts().iter().find_map(|part| boundless_field(part, subject, limit))
        else {
            continue;
        };
        let Growth { why, help } = growth(field, template);
        let fault =
            format!("{field} {why}, each an owner: over {limit} of them (`limits`) pay as \"overflow\"");
        warnings.push(subject.warn(Fault::new(fault).key(format!("owner.{label}")).help(help)));
    }
    warnings
}

fn boundless_field<'a>(part: &'a Part, subject: &'a Subject<'_>, limit: usize) -> Option<&'a Field> {
    let is_few = |count: Option<u64>| count.is_some_and(|count| count <= limit as u64);
    match part {
        Part::Text(_) => None,
        Part::Field(field) => {
            // Some ancestor matches, which need not be the one whose value is taken.
            let mut matchers =
                subject.forms.iter().filter(|form| form.field() == field && form.is_positive());
            let is_bound = !field.is_of_ancestors() && matchers.any(|form| is_few(form.shape.count()));
            (grows(field) && !is_bound).then_some(field)
        }
        Part::Capture { matcher, group } => {
            let form = subject.forms.get(*matcher)?;
            let is_bound = is_few(form.shape.count()) || is_few(form.shape.count_of_group(*group));
            (is_own_word(form.field()) && !is_bound).then_some(form.field())
        }
    }
}

/// Whether new values keep coming, by what people write or by counting up.
fn grows(field: &Field) -> bool {
    is_own_word(field) || matches!(field, Field::Pod | Field::Sluid | Field::SystemdUnit)
}

fn growth(field: &Field, template: &Template) -> Growth {
    match field {
        Field::Pod | Field::Sluid => Growth {
            why: "has another value with every job or pod",
            help: "jobs and pods are workloads, which have series of their own".into(),
        },
        Field::SystemdUnit => Growth {
            why: "counts up with every session and transient unit",
            help: "capture the part that stays, as in systemd_unit=~\"llm-(?P<service>[a-z]+)\\.service\""
                .into(),
        },
        field => {
            let is_captured = field.is_of_ancestors() || template.fields().all(|named| named != field);
            let name = if is_captured { "(?P<name>a|b)" } else { "a|b" };
            Growth {
                why: "is any text that its user likes",
                help: format!(
                    "write the values out, as in {field}=~\"{name}\", or make it the key of a `lookup`"
                ),
            }
        }
    }
}
