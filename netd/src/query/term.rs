//! One term of a query, and whether it holds of a record.

use ipnet::IpNet;

use super::field::{Field, WORDS};
use super::record::{Record, Value};

/// A term: one of its tests holds, or with a minus, none.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub negated: bool,
    /// Never empty.
    pub any: Vec<Test>,
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Address {
        field: Field,
        net: IpNet,
    },
    /// Both ends included.
    Number {
        field: Field,
        low: i64,
        high: i64,
    },
    Share {
        field: Field,
        span: Span,
    },
    Text {
        field: Field,
        pattern: Pattern,
    },
    Name {
        field: Field,
        name: String,
        below: Below,
    },
    /// Somewhere in one of the [`WORDS`], whatever the case of ASCII letters. Kept in lower case.
    Word(String),
}

/// A span of real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub low: f64,
    pub high: f64,
    /// Whether the ends themselves are outside.
    pub is_open: (bool, bool),
}

/// What of a name's domain is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// The name itself.
    Without,
    /// The name and whatever lies under it.
    With,
    /// What lies under it.
    Only,
}

/// A text as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(String),
    /// Pieces between asterisks, each of which stands for any text.
    Glob(Vec<String>),
}

impl Term {
    /// Returns whether the term holds of `record`.
    #[must_use]
    pub fn holds(&self, record: &impl Record) -> bool {
        self.negated != self.any.iter().any(|test| test.holds(record))
    }
}

impl Test {
    fn holds(&self, record: &impl Record) -> bool {
        match self {
            Self::Address { field, net } => field.parts().iter().any(|part| match record.value(*part) {
                Value::Address(address) => net.contains(&address),
                Value::None | Value::Number(_) | Value::Share(_) | Value::Text(_) => false,
            }),
            Self::Number { field, low, high } => {
                let parts = if field.parts().is_empty() { std::slice::from_ref(field) } else { field.parts() };
                parts.iter().any(|part| match record.value(*part) {
                    Value::Number(number) => (*low..=*high).contains(&number),
                    Value::None | Value::Address(_) | Value::Share(_) | Value::Text(_) => false,
                })
            }
            Self::Share { field, span } => match record.value(*field) {
                Value::Share(share) => span.contains(share),
                Value::None | Value::Address(_) | Value::Number(_) | Value::Text(_) => false,
            },
            // A container goes by its name and by its id, a finding has several techniques.
            Self::Text { field, pattern } if matches!(field, Field::Container | Field::Technique) => {
                record.texts(*field).iter().any(|text| pattern.matches(text))
            }
            Self::Text { field, pattern } => record.value(*field).text().is_some_and(|text| pattern.matches(text)),
            Self::Name { field, name, below } => {
                record.value(*field).text().is_some_and(|text| below.holds(text, name))
            }
            Self::Word(word) => WORDS.iter().any(|field| {
                let value = record.value(*field);
                value.text().is_some_and(|text| text.to_ascii_lowercase().contains(word.as_str()))
            }),
        }
    }

    /// Returns whether the test looks at `field`.
    #[must_use]
    pub fn is_about(&self, field: Field) -> bool {
        match self {
            Self::Address { field: own, .. }
            | Self::Number { field: own, .. }
            | Self::Share { field: own, .. }
            | Self::Text { field: own, .. }
            | Self::Name { field: own, .. } => *own == field,
            Self::Word(_) => WORDS.contains(&field),
        }
    }
}

impl Span {
    fn contains(self, share: f64) -> bool {
        let above = if self.is_open.0 { share > self.low } else { share >= self.low };
        let below = if self.is_open.1 { share < self.high } else { share <= self.high };
        above && below
    }
}

impl Below {
    fn holds(self, text: &str, name: &str) -> bool {
        let is_below = || text.strip_suffix(name).is_some_and(|labels| labels.ends_with('.'));
        match self {
            Self::Without => text == name,
            Self::With => text == name || is_below(),
            Self::Only => is_below(),
        }
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let pieces = match self {
            Self::Exact(exact) => return text == exact,
            Self::Glob(pieces) => pieces,
        };
        let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
        let Some((last, between)) = rest.split_last() else { return text == first };
        let Some(mut inner) = text.strip_prefix(first.as_str()).and_then(|text| text.strip_suffix(last.as_str()))
        else {
            return false;
        };
        // The first place where a piece fits leaves most room for the others.
        for piece in between {
            let Some(at) = inner.find(piece.as_str()) else { return false };
            inner = inner.get(at + piece.len()..).unwrap_or_default();
        }
        true
    }
}
