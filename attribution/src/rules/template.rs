//! Texts with `${name}` in them: the values of owner labels and the keys of look-ups.

use super::matcher::Matcher;
use super::problem::{Fault, code, nearest};
use crate::facts::{Fact, Facts, Field};

/// A text whose names are resolved: fields, and captures of the rule's matchers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Field(Field),
    Capture { matcher: usize, group: usize },
}

/// A part of a template whose names are not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Name(String),
}

/// Splits a template at its names.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, Fault> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = name else {
            let fault = Fault::new(format!("{}: a `$` that begins no ${{name}}", code(text)));
            return Err(fault.help("write `$$` for a dollar"));
        };
        pieces.push(Piece::Text(std::mem::take(&mut literal)));
        pieces.push(Piece::Name(name.to_owned()));
        rest = after;
    }
    literal.push_str(rest);
    pieces.push(Piece::Text(literal));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Ok(pieces)
}

impl Template {
    /// Finds what the names stand for in a rule with these matchers, or says of every name that is none.
    pub fn resolve(pieces: Vec<Piece>, matchers: &[Matcher]) -> Result<Self, Vec<Fault>> {
        let (mut parts, mut faults) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text)),
                Piece::Name(name) => match part_of(&name, matchers) {
                    Ok(part) => parts.push(part),
                    Err(fault) => faults.push(fault),
                },
            }
        }
        if faults.is_empty() { Ok(Self(parts)) } else { Err(faults) }
    }

    /// The text, if it is the same for every process.
    pub fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for this process; the field it waits for if one is pending.
    pub fn render(&self, matchers: &[Matcher], facts: &Facts) -> Result<String, Field> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(field) if facts.get(field) == Fact::Pending => return Err(field.clone()),
                Part::Field(field) => text.push_str(value(field, facts)),
                Part::Capture { matcher, group } => {
                    text.push_str(
                        matchers.get(*matcher).map_or("", |matcher| matcher.capture(*group, facts)),
                    );
                }
            }
        }
        Ok(text)
    }

    /// Its pieces, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether it holds no captures, so that it says the same in every rule.
    pub fn is_of_fields(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Capture { .. }))
    }

    /// The fields named directly.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|part| if let Part::Field(field) = part { Some(field) } else { None })
    }

    /// The fields that captures are taken from.
    pub fn captured<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a Field> {
        self.0.iter().filter_map(|part| match part {
            Part::Capture { matcher, .. } => matchers.get(*matcher).map(|matcher| &matcher.field),
            Part::Text(_) | Part::Field(_) => None,
        })
    }
}

/// Of ancestors, the value of the nearest that has one.
fn value<'f>(field: &'f Field, facts: &'f Facts) -> &'f str {
    if field.is_of_ancestors() {
        facts.of_ancestors(field).find(|value| !value.is_empty()).unwrap_or_default()
    } else {
        facts.text(field)
    }
}

fn part_of(name: &str, matchers: &[Matcher]) -> Result<Part, Fault> {
    for (matcher, found) in matchers.iter().enumerate() {
        if let Some((group, _)) = found.captures().find(|(_, capture)| *capture == name) {
            return Ok(Part::Capture { matcher, group });
        }
    }
    if name == "pid" {
        return Err(Fault::new("pid is no field").help("a process has series of its own"));
    }
    Field::parse(name).map(Part::Field).ok_or_else(|| {
        let fields: Vec<String> = Field::FIXED.iter().map(ToString::to_string).collect();
        let captures = matchers.iter().flat_map(|matcher| matcher.captures().map(|(_, capture)| capture));
        let near = nearest(name, fields.iter().map(String::as_str).chain(captures));
        let fault = Fault::new(format!("unknown name ${{{name}}}"));
        fault.help(match near {
            Some(near) => format!("did you mean ${{{near}}}?"),
            None => "a name is a field or a named capture of this rule".into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::matcher::parse;
    use super::*;

    #[track_caller]
    fn check(template: &str, want: &str) {
        let matchers = [parse(r#"comm=~"(?P<a>x+)(?P<unset>z)?.*""#).expect("a matcher")];
        let mut facts = Facts::default();
        facts.set(Field::Comm, "xxy");
        facts.set(Field::User, "alice");
        facts.push_ancestor([].into());
        facts.push_ancestor([(Field::AncestorComm, "srun".to_owned())].into());
        let resolve = |pieces| Template::resolve(pieces, &matchers);
        let got = match split(template).map_err(|fault| vec![fault]).and_then(resolve) {
            Ok(template) => template.render(&matchers, &facts).expect("nothing is pending"),
            Err(faults) => faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join(", "),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn names_stand_for_captures_and_fields() {
        check("${a}-${user}", "xx-alice");
        check("${unset}${group}", "");
        check("${ancestor_comm}", "srun");
        check("$$${a}$$", "$xx$");
        check("", "");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        check("${b}${c}", "unknown name ${b}, unknown name ${c}");
        check("$a", "`$a`: a `$` that begins no ${name}");
        check("${a", "`${a`: a `$` that begins no ${name}");
    }
}
