//! What a query is held against.

use std::borrow::Cow;
use std::net::IpAddr;

use netd_engine::time::Timestamp;

use super::field::Field;

/// A value of a record's field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'r> {
    /// The record has none.
    None,
    Address(IpAddr),
    Number(i64),
    /// From 0 to 1.
    Share(f64),
    Text(Cow<'r, str>),
}

/// A flow or a finding, wherever it is kept.
pub trait Record {
    /// Returns the value of a field that is not made of others ([`Field::parts`]).
    fn value(&self, field: Field) -> Value<'_>;

    /// Returns the values of a field that may have several.
    fn texts(&self, field: Field) -> Vec<Cow<'_, str>> {
        match self.value(field) {
            Value::Text(text) => vec![text],
            Value::None | Value::Address(_) | Value::Number(_) | Value::Share(_) => Vec::new(),
        }
    }

    fn begun(&self) -> Timestamp;
    fn ended(&self) -> Timestamp;
}

impl Value<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::None | Self::Address(_) | Self::Number(_) | Self::Share(_) => None,
        }
    }

    /// Returns a number by which values can be put in order; none is the least.
    pub(super) fn rank(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Share(share) => (share * SHARES) as i64,
            Self::None | Self::Address(_) | Self::Text(_) => -1,
        }
    }
}

impl<'r> From<Option<&'r str>> for Value<'r> {
    fn from(text: Option<&'r str>) -> Self {
        text.map_or(Self::None, |text| Self::Text(text.into()))
    }
}

/// Steps between 0 and 1 by which shares are put in order.
pub const SHARES: f64 = 1e9;
