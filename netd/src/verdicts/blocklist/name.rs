//! Names of block-lists.

use std::fmt;
use std::str::FromStr;

/// A block-list's name: 1 to 64 of `a` to `z`, `0` to `9` and `-`. It is safe as a file name, and nothing else
/// becomes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListName(String);

/// Why a text is not a block-list's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block-list's name is 1 to 64 characters of a-z, 0-9 and '-'")]
pub struct NameError;

impl ListName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ListName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_name = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        is_name.then(|| Self(text.to_owned())).ok_or(NameError)
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_a_name() {
        for text in ["", ".", "..", "../etc", "a/b", "A", "a b", "a\0", "é", &"a".repeat(65)] {
            assert_eq!(text.parse::<ListName>(), Err(NameError), "{text:?}");
        }
    }

    #[test]
    fn lower_case_digits_and_dashes_are_a_name() {
        for text in ["a", "corp-2026", "0", &"z".repeat(64)] {
            assert_eq!(text.parse::<ListName>().unwrap().as_str(), text);
        }
    }
}
