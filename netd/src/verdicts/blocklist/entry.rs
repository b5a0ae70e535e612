//! One entry of a list: an address, a prefix or a name.

use std::fmt;
use std::str::FromStr;

use netd_engine::feed::{Reach, Value};
use netd_engine::listed::SetName;

use super::item::{Item, ItemError};

/// What an entry of a list stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryValue {
    Item(Item),
    Name(Box<str>, Reach),
}

impl TryFrom<Value> for EntryValue {
    type Error = ItemError;

    fn try_from(value: Value) -> Result<Self, ItemError> {
        match value {
            Value::Name(name, reach) => Ok(Self::Name(name, reach)),
            other @ (Value::Net(_) | Value::Endpoint(_) | Value::Fingerprint(_)) => {
                Item::try_from(&other).map(Self::Item)
            }
        }
    }
}

impl FromStr for EntryValue {
    type Err = ItemError;

    fn from_str(text: &str) -> Result<Self, ItemError> {
        text.trim().parse::<Value>()?.try_into()
    }
}

/// As it is read: `192.0.2.1`, `192.0.2.0/24`, `name`, `*.name`, `.name`.
impl fmt::Display for EntryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => item.fmt(f),
            Self::Name(name, reach) => SetName { name, reach: *reach }.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_as_it_is_read() {
        for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "evil.example", "*.evil.example", ".evil.example"] {
            assert_eq!(text.parse::<EntryValue>().unwrap().to_string(), text);
        }
        for text in ["", "192.0.2.1:443", "evil", "a b", "192.0.2.7/24", "::/0"] {
            assert!(text.parse::<EntryValue>().is_err(), "{text}");
        }
    }
}
