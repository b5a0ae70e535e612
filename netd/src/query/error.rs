//! What is wrong with a query, and where.

use std::fmt;

/// Characters shown on each side of a mistake.
const AROUND: usize = 60;

/// A text that is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Of the mistake's first character, from 1.
    pub column: usize,
    /// Characters that are wrong, at least 1.
    pub width: usize,
    /// What was expected there.
    pub expected: String,
    text: String,
}

impl Error {
    /// Returns an error about `width` characters from `start` (from 0) of `text`.
    pub(super) fn new(text: &str, start: usize, width: usize, expected: impl Into<String>) -> Self {
        Self { column: start + 1, width: width.max(1), expected: expected.into(), text: text.to_owned() }
    }

    /// Returns the text around the mistake and a line of carets under it. What steers a terminal is replaced.
    #[must_use]
    pub fn shown(&self) -> String {
        let first = self.column.saturating_sub(AROUND + 1);
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let line: String = self.text.chars().skip(first).take(2 * AROUND).map(plain).collect();
        let indent = " ".repeat(self.column - 1 - first);
        let carets = "^".repeat(self.width.min(AROUND));
        format!("  {line}\n  {indent}{carets}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}\n{}", self.column, self.expected, self.shown())
    }
}

impl std::error::Error for Error {}
