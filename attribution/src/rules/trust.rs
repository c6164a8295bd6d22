//! Whose declared facts count: the section `declared`. Only what the kernel says of a process decides it.
//!
//! Facts that do not count are not the same as absent ones, or a process could profit from hiding: no matcher on
//! them holds, a negative one neither, and a template that names one is empty.

use std::ops::RangeInclusive;

use super::matcher::Matcher;
use super::place::Place;
use super::problem::{Fault, Report, quote};
use super::schema;
use super::template::Template;
use super::yaml::Node;
use crate::facts::{Evidence, Facts, Field};

const KEY: &str = "declared";

/// The facts that say that user and group ids were chosen by whoever started a container, not by a login.
const OF_CONTAINERS: [Field; 4] = [Field::ContainerRuntime, Field::ContainerId, Field::PodUid, Field::Vm];

/// The processes whose declared facts count: any of these names them.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    uids: Vec<RangeInclusive<u32>>,
    gids: Vec<RangeInclusive<u32>>,
    /// Paths of control groups, without a slash at the end.
    pub cgroups: Vec<(usize, String)>,
    pub place: Place,
}

impl Trust {
    /// Whether it names this process.
    pub fn names(&self, facts: &Facts) -> bool {
        let listed = |ids: &[RangeInclusive<u32>], field| {
            let id = facts.text(&field).parse::<u32>();
            id.is_ok_and(|id| ids.iter().any(|range| range.contains(&id)))
        };
        let is_contained = OF_CONTAINERS.iter().any(|field| !facts.text(field).is_empty());
        let by_id = !is_contained && (listed(&self.uids, Field::Uid) || listed(&self.gids, Field::Gid));
        by_id || self.names_cgroup(facts.text(&Field::Cgroup))
    }

    /// Whether it can name any process at all.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty() && self.cgroups.is_empty()
    }

    /// A group that is named, or one below it. Nobody can make one there who does not own it already.
    fn names_cgroup(&self, text: &str) -> bool {
        let path = text.splitn(3, ':').nth(2).unwrap_or_default();
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let is_below = |group: &str| {
            path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !path.split('/').any(|part| part == "..") && self.cgroups.iter().any(|(_, group)| is_below(group))
    }
}

/// What a process says, and whether what it declares itself counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Testimony<'a> {
    pub facts: &'a Facts,
    /// The section by which its declared facts do not count.
    pub against: Option<&'a Trust>,
}

impl<'a> Testimony<'a> {
    /// Without a section everything counts, with its evidence.
    pub fn of(facts: &'a Facts, trust: Option<&'a Trust>) -> Self {
        Self { facts, against: trust.filter(|trust| !trust.names(facts)) }
    }

    /// Whether this field is declared by a process whose word does not count.
    pub fn discounts(&self, field: &Field) -> bool {
        self.against.is_some() && field.evidence() == Evidence::Declared
    }

    /// Whether the matcher holds; `None` while its field is pending.
    pub fn holds(&self, matcher: &Matcher) -> Option<bool> {
        if self.discounts(&matcher.field) { Some(false) } else { matcher.holds(self.facts) }
    }

    /// The text for this process, or the field it waits for.
    pub fn render(&self, template: &Template, matchers: &[Matcher]) -> Result<String, Field> {
        if template.fields().any(|field| self.discounts(field)) {
            return Ok(String::new());
        }
        template.render(matchers, self.facts)
    }

    /// Why its declared facts do not count, for people.
    pub fn objection(&self) -> Option<String> {
        let place = &self.against?.place;
        let who = match self.facts.text(&Field::Uid) {
            "" => "this process".to_owned(),
            uid => format!("uid {uid}"),
        };
        Some(format!("declared facts of {who} do not count: see `{KEY}` in {place}"))
    }
}

/// Reads the section.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Trust> {
    let entries = schema::map(node, KEY, report)?;
    schema::check_keys(entries, &["uids", "gids", "cgroups"], report);
    let place = Place { file: report.file().into(), line: node.line };
    let mut trust = Trust { place, ..Trust::default() };
    for entry in entries {
        let key = format!("{KEY}.{}", entry.key);
        match entry.key.as_str() {
            "uids" => trust.uids = items(&entry.value, &key, report, ids),
            "gids" => trust.gids = items(&entry.value, &key, report, ids),
            "cgroups" => {
                trust.cgroups =
                    items(&entry.value, &key, report, |item| group(item.0).map(|path| (item.1, path)));
            }
            _ => {}
        }
    }
    Some(trust)
}

/// The items of a list that are right; the others are reported.
fn items<T>(
    node: &Node,
    key: &str,
    report: &mut Report<'_>,
    parse: impl Fn((&str, usize)) -> Result<T, Fault>,
) -> Vec<T> {
    let mut values = Vec::new();
    for item in schema::list(node, key, report).unwrap_or_default() {
        let Some(text) = schema::text(item, key, report) else { continue };
        let value = parse((text, item.line)).map_err(|fault| fault.key(key));
        values.extend(report.check(item.line, value));
    }
    values
}

/// `1000`, or `1000-1999`.
fn ids((text, _): (&str, usize)) -> Result<RangeInclusive<u32>, Fault> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let fault = || {
        let fault = Fault::new(format!("{} is no id and no range of ids", quote(text)));
        fault.help("a number, or two such as 1000-1999; `id NAME` says those of a user")
    };
    let (first, last) = number(first).zip(number(last)).ok_or_else(fault)?;
    if first > last {
        return Err(
            Fault::new(format!("{} is an empty range", quote(text))).help("the smaller id comes first")
        );
    }
    Ok(first..=last)
}

/// A path that stands for itself and all below it.
fn group(text: &str) -> Result<String, Fault> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let Some(inner) = path.strip_prefix('/') else {
        let fault = if text == "/" {
            Fault::new("\"/\" names every process")
                .help("leave out the section: then all declared facts count")
        } else {
            Fault::new(format!("{} is no path of a control group", quote(text))).help(
                "what stands behind the last colon in /proc/PID/cgroup, such as /system.slice/x.service",
            )
        };
        return Err(fault);
    };
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) || inner.contains('*') {
        let fault = Fault::new(format!("{} is no plain path", quote(text)));
        return Err(fault.help("it names a control group and all below it; there are no patterns"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> Trust {
        Trust {
            uids: vec![0..=0, 1000..=1999],
            gids: vec![50..=50],
            cgroups: vec![(1, "/system.slice/llm.service".into())],
            place: Place::default(),
        }
    }

    #[track_caller]
    fn check(fields: &[(Field, &str)], want: bool) {
        let mut facts = Facts::default();
        for (field, value) in fields {
            facts.set(field.clone(), *value);
        }
        assert_eq!(trust().names(&facts), want, "{facts:?}");
    }

    #[test]
    fn ids_are_ranges_with_both_ends() {
        for (uid, want) in [("0", true), ("999", false), ("1000", true), ("1999", true), ("2000", false)] {
            check(&[(Field::Uid, uid)], want);
        }
        check(&[(Field::Gid, "50")], true);
        check(&[(Field::Gid, "0")], false);
        check(&[(Field::Uid, "root")], false);
        check(&[], false);
    }

    #[test]
    fn in_a_container_an_id_is_no_name() {
        check(&[(Field::Uid, "0"), (Field::PodUid, "x")], false);
        check(&[(Field::Uid, "0"), (Field::ContainerRuntime, "docker")], false);
        check(&[(Field::ContainerId, "x"), (Field::Cgroup, "0::/system.slice/llm.service/c")], true);
    }

    #[test]
    fn a_control_group_is_named_at_the_borders_of_its_parts() {
        let group = |path: &str, want| check(&[(Field::Cgroup, path)], want);
        group("0::/system.slice/llm.service", true);
        group("0::/system.slice/llm.service/worker", true);
        group("1:name=systemd:/system.slice/llm.service", true);
        group("0::/system.slice/llm.service (deleted)", true);
        group("0::/system.slice/llm.service2", false);
        group("0::/user.slice/user-1.slice/user@1.service/system.slice/llm.service", false);
        group("0::/system.slice/llm.service/../evil.service", false);
        group("0::/../system.slice/llm.service", false);
    }

    #[track_caller]
    fn check_ids(text: &str, want: Option<(u32, u32)>) {
        assert_eq!(ids((text, 1)).ok().map(RangeInclusive::into_inner), want);
    }

    #[test]
    fn ids_are_numbers() {
        check_ids("7", Some((7, 7)));
        check_ids("7-9", Some((7, 9)));
        for wrong in ["", "-", "9-7", "+7", "root", "1-2-3", "4294967296", "1 - 2"] {
            check_ids(wrong, None);
        }
    }
}
