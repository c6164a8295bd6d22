//! One rule, and judging a process by it. [`super::rule_reader`] makes it.

use std::sync::Arc;

use super::matcher::Matcher;
use super::table::Table;
use super::template::Template;
use super::verdict::{Verdict, refuse};
use crate::facts::{Evidence, Facts, Field};
use crate::owner::{Owner, Reserved};

/// A rule that is whole: its names are resolved and its regular expressions compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: Arc<str>,
    /// The file it stands in, and the line from 1.
    pub place: (Arc<str>, usize),
    pub matchers: Vec<Matcher>,
    action: Action,
    evidence: Evidence,
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
    pub fn new(name: &str, matchers: Vec<Matcher>, action: Action) -> Self {
        let fields = matchers.iter().map(|matcher| &matcher.field).chain(action.fields());
        let evidence = fields.map(Field::evidence).max().unwrap_or(Evidence::Kernel);
        Self { name: name.into(), place: Default::default(), matchers, action, evidence }
    }

    /// The same rule, with where it stands.
    pub fn at(self, file: &str, line: usize) -> Self {
        Self { place: (file.into(), line), ..self }
    }

    /// A rule that fails on what is known waits for nothing, in whichever order its matchers stand.
    pub fn judge(&self, facts: &Facts) -> Judgement {
        let mut pending = None;
        for (index, matcher) in self.matchers.iter().enumerate() {
            match matcher.holds(facts) {
                Some(true) => {}
                Some(false) => return Judgement::Fails(index),
                None => pending = pending.or(Some(&matcher.field)),
            }
        }
        match pending {
            Some(field) => Judgement::Pending(field.clone()),
            None => self.act(facts).unwrap_or_else(Judgement::Pending),
        }
    }

    fn act(&self, facts: &Facts) -> Result<Judgement, Field> {
        let owner = match &self.action {
            Action::Lookup { table, key } => {
                let key = key.render(&self.matchers, facts)?;
                match table.get(&key) {
                    Some(owner) => owner.clone(),
                    None => return Ok(Judgement::NoKey(key)),
                }
            }
            Action::Owner(labels) => {
                let mut values = Vec::new();
                let mut refusal = None;
                for (label, template) in labels {
                    let value = template.render(&self.matchers, facts)?;
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
