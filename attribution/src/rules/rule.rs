//! One rule, and judging a process by it. [`super::rule_reader`] makes it.

use std::sync::Arc;

use super::matcher::Matcher;
use super::place::Place;
use super::table::Table;
use super::template::Template;
use super::trust::Testimony;
use super::verdict::{Verdict, refuse};
use crate::facts::{Evidence, Field};
use crate::owner::{Owner, Reserved};

/// A rule that is whole: its names are resolved and its regular expressions compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: Arc<str>,
    pub matchers: Vec<Matcher>,
    pub action: Action,
    evidence: Evidence,
    pub origin: Origin,
}

/// Where a rule and its matchers stand, for warnings.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub place: Place,
    /// The line of each matcher.
    pub lines: Vec<usize>,
}

/// What a rule does for a process that matches.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Owner(Vec<(Arc<str>, Template)>),
    Lookup { table: Arc<Table>, key: Template },
}

/// What one rule says of a process.
#[derive(Clone, Debug)]
pub(super) enum Judgement {
    Matched(Verdict),
    /// The number of the matcher that does not hold.
    Fails(usize),
    /// The table has no such key.
    NoKey(String),
    /// The field it must read, and waits for.
    Pending(Field),
}

impl Rule {
    /// Its evidence is the weakest among the fields it uses.
    pub fn new(name: &str, matchers: Vec<Matcher>, action: Action, origin: Origin) -> Self {
        let fields = matchers.iter().map(|matcher| &matcher.field).chain(action.fields());
        let evidence = fields.map(Field::evidence).max().unwrap_or(Evidence::Kernel);
        Self { name: name.into(), matchers, action, evidence, origin }
    }

    /// A rule that fails on what is known waits for nothing, in whichever order its matchers stand.
    pub fn judge(&self, process: Testimony<'_>) -> Judgement {
        let mut pending = None;
        for (index, matcher) in self.matchers.iter().enumerate() {
            match process.holds(matcher) {
                Some(true) => {}
                Some(false) => return Judgement::Fails(index),
                None => pending = pending.or(Some(&matcher.field)),
            }
        }
        match pending {
            Some(field) => Judgement::Pending(field.clone()),
            None => self.act(process).unwrap_or_else(Judgement::Pending),
        }
    }

    fn act(&self, process: Testimony<'_>) -> Result<Judgement, Field> {
        let owner = match &self.action {
            Action::Lookup { table, key } => {
                let key = process.render(key, &self.matchers)?;
                match table.get(&key) {
                    Some(owner) => owner.clone(),
                    None => return Ok(Judgement::NoKey(key)),
                }
            }
            Action::Owner(labels) => {
                let mut values = Vec::new();
                let mut refusal = None;
                for (label, template) in labels {
                    let value = process.render(template, &self.matchers)?;
                    refusal = refusal.or_else(|| refuse(label, &value));
                    values.push((Arc::clone(label), value));
                }
                if refusal.is_some() {
                    return Ok(Judgement::Matched(Verdict {
                        refusal,
                        ..self.verdict(Reserved::Unattributed.into())
                    }));
                }
                Owner::new(values)
            }
        };
        Ok(Judgement::Matched(self.verdict(owner)))
    }

    fn verdict(&self, owner: Owner) -> Verdict {
        let rule = Some(Arc::clone(&self.name));
        Verdict { owner, rule, evidence: Some(self.evidence), refusal: None }
    }

    /// All fields it names, in its matchers and templates.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.matchers.iter().map(|matcher| &matcher.field).chain(self.action.fields())
    }
}

impl Action {
    fn fields(&self) -> Box<dyn Iterator<Item = &Field> + '_> {
        match self {
            Self::Owner(labels) => Box::new(labels.iter().flat_map(|(_, template)| template.fields())),
            Self::Lookup { key, .. } => Box::new(key.fields()),
        }
    }
}
