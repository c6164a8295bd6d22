//! A matcher, with what is certain of the texts it accepts.

use super::shape::Shape;
use crate::facts::{Evidence, Field};
use crate::rules::matcher::Matcher;

/// A matcher of one rule, or of `ignore`.
pub(super) struct Form<'a> {
    pub matcher: &'a Matcher,
    pub shape: Shape,
    /// All texts that its value stands for, where they are few; of `!=` and `!~` those it refuses.
    pub texts: Option<Vec<String>>,
}

impl<'a> Form<'a> {
    pub fn of(matcher: &'a Matcher) -> Self {
        let shape = match matcher.is_pattern() {
            true => Shape::of_pattern(matcher.value()),
            false => Shape::of_text(matcher.value()),
        };
        let texts = if matcher.is_pattern() { shape.texts() } else { Some(vec![matcher.value().to_owned()]) };
        Self { matcher, shape, texts }
    }

    pub fn field(&self) -> &Field {
        &self.matcher.field
    }

    /// Whether it holds for a process whose field has this value. Of ancestors: if it is the only one.
    pub fn accepts(&self, value: &str) -> bool {
        self.matcher.finds(value) != self.matcher.is_negative()
    }

    /// Whether it holds where the value is one of the texts, and nowhere else.
    pub fn is_positive(&self) -> bool {
        !self.matcher.is_negative()
    }

    /// Whether it holds for every value, the absent too.
    pub fn accepts_everything(&self) -> bool {
        self.is_positive() && !self.field().is_of_ancestors() && self.shape.is_everything()
    }

    /// Whether it asks for a value, and takes any.
    pub fn asks_for_any_value(&self) -> bool {
        let is_pattern_of_any = self.is_positive() && self.shape.is_anything_but_empty();
        let refuses_empty = !self.is_positive() && self.texts.as_deref() == Some(&[String::new()]);
        !self.field().is_of_ancestors() && (is_pattern_of_any || refuses_empty)
    }

    /// Whether it holds for no value at all.
    pub fn accepts_nothing(&self) -> bool {
        match self.is_positive() {
            true => self.shape.is_nothing(),
            false => !self.field().is_of_ancestors() && self.shape.is_everything(),
        }
    }

    /// Whether `other`, wherever it holds, proves that this one holds. Silent where the shapes do not tell.
    pub fn follows_from(&self, other: &Self) -> bool {
        if self.field() != other.field() {
            return false;
        }
        let is_same = self.matcher.to_string() == other.matcher.to_string();
        let by_kind = match (other.is_positive(), self.is_positive()) {
            (true, true) => other.all_texts(|text| self.accepts(text)) || self.covers(other),
            // What this one refuses, the other refuses too.
            (false, false) => self.all_texts(|text| !other.accepts(text)) || other.covers(self),
            (true, false) => !self.field().is_of_ancestors() && other.all_texts(|text| self.accepts(text)),
            (false, true) => false,
        };
        is_same || by_kind || self.asks_for_any_value() && !other.accepts("")
    }

    /// Whether both cannot hold for one process. Ancestors are several, so they can.
    pub fn excludes(&self, other: &Self) -> bool {
        let is_one_value = self.field() == other.field() && !self.field().is_of_ancestors();
        let are_opposites = self.is_positive() != other.is_positive()
            && self.matcher.is_pattern() == other.matcher.is_pattern()
            && self.matcher.value() == other.matcher.value();
        let rejected = self.is_positive() && self.all_texts(|text| !other.accepts(text));
        is_one_value && (are_opposites || rejected)
    }

    fn all_texts(&self, test: impl Fn(&str) -> bool) -> bool {
        self.texts.as_ref().is_some_and(|texts| !texts.is_empty() && texts.iter().all(|text| test(text)))
    }

    fn covers(&self, other: &Self) -> bool {
        self.matcher.is_pattern() && self.shape.accepts_all_of(&other.shape)
    }
}

/// Whether the value is the user's own word: declared, or one that a scheduler only passes on.
pub(super) fn is_own_word(field: &Field) -> bool {
    field.evidence() == Evidence::Declared || *field == Field::SlurmJobName
}
