//! Matchers that cannot be meant as they stand: those that never hold, always hold, or ask for less than they seem to.

use super::form::Form;
use super::{Fault, Problem, Subject};
use crate::cgroup::SCHEDULERS;
use crate::facts::{Evidence, Field};
use crate::rules::problem::code;
use crate::rules::rule::Action;
use crate::rules::set::RuleSet;

/// The most bytes of a process's short name (`TASK_COMM_LEN` of the kernel, less its end).
const LONGEST_COMM: usize = 15;

/// A matcher as it is written.
pub(super) fn shown(form: &Form<'_>) -> String {
    code(&form.matcher.to_string())
}

/// Why the rule can never match, whatever the process.
pub(super) fn never(subject: &Subject<'_>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, form) in subject.forms.iter().enumerate() {
        if let Some(fault) = impossible(form) {
            warnings.push(subject.warn_at(index, fault));
            continue;
        }
        let others = subject.forms.iter().enumerate().filter(|(other, _)| *other != index);
        let clash = others.into_iter().find(|(other, that)| {
            // Each pair is named once.
            form.excludes(that) && (*other > index || !that.excludes(form))
        });
        if let Some((other, that)) = clash {
            let fault = format!("{} and {} cannot both hold", shown(form), shown(that));
            let help = "make two rules of it, or one matcher with =~ and `|`";
            warnings.push(subject.warn_at(index.max(other), Fault::new(fault).help(help)));
        }
    }
    warnings
}

/// Why a matcher never holds.
fn impossible(form: &Form<'_>) -> Option<Fault> {
    let never = |why: &str| Fault::new(format!("{} never holds: {why}", shown(form)));
    if form.accepts_nothing() {
        return Some(never("it leaves no value").help("remove the rule, or write what it shall match"));
    }
    if !form.is_positive() {
        return None;
    }
    let all_texts = |test: &dyn Fn(&str) -> bool| {
        form.texts.as_ref().is_some_and(|texts| !texts.is_empty() && texts.iter().all(|text| test(text)))
    };
    match form.field() {
        Field::Comm | Field::AncestorComm if form.shape.fewest_bytes() > LONGEST_COMM => {
            let fault = never("the kernel cuts a process's short name after 15 bytes");
            Some(fault.help("cut it too, or match on exe or cmdline"))
        }
        Field::Uid | Field::Gid if all_texts(&|text| !text.is_empty() && text.parse::<u32>().is_err()) => {
            Some(never("it is a number").help("names are in `user` and `group`"))
        }
        Field::Scheduler if all_texts(&|text| !text.is_empty() && !SCHEDULERS.contains(&text)) => {
            let fault = never("there is no such scheduler");
            Some(fault.help(format!("known: {}", SCHEDULERS.join(", "))))
        }
        Field::Cgroup if form.shape.beginning().first().is_some_and(|first| !first.is_ascii_digit()) => {
            let fault = never("the text begins with numbers, as in 0::/system.slice/x.service");
            Some(fault.help("begin with =~\".*:\", or match on systemd_unit"))
        }
        _ => None,
    }
}

/// What holds, but not as it seems.
pub(super) fn doubtful(subject: &Subject<'_>, discounting: bool) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, form) in subject.forms.iter().enumerate() {
        let is_repeated = subject.forms[..index]
            .iter()
            .any(|earlier| earlier.matcher.to_string() == form.matcher.to_string());
        if is_repeated {
            let fault = Fault::new(format!("{} stands twice", shown(form))).help("remove one");
            warnings.push(subject.warn_at(index, fault));
        }
        let counts = discounting && form.field().evidence() == Evidence::Declared;
        let is_alone = subject.forms.len() == 1 && form.matcher.captures().next().is_none();
        if form.accepts_everything() && !counts && !is_alone {
            let fault = Fault::new(format!("{} matches everything, also where there is none", shown(form)));
            warnings.push(subject.warn_at(index, fault.help("remove it, or write `.+` to ask for a value")));
        }
        warnings.extend(anchored(form).map(|fault| subject.warn_at(index, fault)));
    }
    warnings.extend(nearly_everything(subject));
    warnings
}

/// Long texts that are asked to be one word: somebody meant to search.
fn anchored(form: &Form<'_>) -> Option<Fault> {
    let is_long = matches!(
        form.field(),
        Field::Cmdline | Field::Exe | Field::Cgroup | Field::AncestorCmdline | Field::AncestorExe
    );
    let value = form.matcher.value();
    if !is_long || !form.matcher.is_pattern() || !form.shape.is_literal() || impossible(form).is_some() {
        return None;
    }
    let fault =
        Fault::new(format!("{} holds only for exactly this text: it is anchored at both ends", shown(form)));
    Some(fault.help(format!("did you mean {}? else write = or !=", code(&format!(".*{value}.*")))))
}

/// A rule of exceptions alone bills everybody else to one team, with rules behind it that never see them.
fn nearly_everything(subject: &Subject<'_>) -> Option<Problem> {
    let Action::Owner(labels) = &subject.rule.action else { return None };
    let is_exception = |form: &Form<'_>| !form.is_positive() && form.accepts("");
    let is_one_team = labels.first().is_some_and(|(_, team)| team.literal().is_some());
    if subject.is_last || !is_one_team || subject.forms.is_empty() || !subject.forms.iter().all(is_exception)
    {
        return None;
    }
    let fault =
        Fault::new("it matches every process but its exceptions, also those of which nothing is known");
    Some(subject.warn(fault.key("match").help("add a matcher with = or =~, or make it the last rule")))
}

/// What `ignore` says that cannot be meant.
pub(super) fn of_ignore(set: &RuleSet) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (place, matcher) in &set.ignore {
        let form = Form::of(matcher);
        let fault = if form.accepts_everything() {
            let fault = Fault::new(format!("{} ignores every process: nobody holds a GPU", shown(&form)));
            Some(fault.help("name those that use nothing, such as comm=\"Xorg\""))
        } else if !form.is_positive() && form.accepts("") {
            let fault = Fault::new(format!("{} ignores every process but what it names", shown(&form)));
            Some(fault.help("each item ignores by itself: write those to be ignored, with = or =~"))
        } else {
            impossible(&form).or_else(|| anchored(&form))
        };
        warnings.extend(fault.map(|fault| place.warn(None, fault.key("ignore"))));
    }
    warnings
}
