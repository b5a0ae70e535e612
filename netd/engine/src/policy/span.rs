//! Durations as people write them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A duration as people write it: `90s`, `15m`, `1h30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^([0-9]+[smhd])+$"))]
pub struct Span {
    pub seconds: u64,
}

impl Span {
    /// Reads a sum of numbers with units.
    fn parse(text: &str) -> Option<Self> {
        let (mut seconds, mut rest) = (0_u64, text);
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let mut letters = after.chars();
            let unit = match letters.next()? {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
            rest = letters.as_str();
        }
        (seconds > 0).then_some(Self { seconds })
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no duration; expected one such as 90s, 15m, 1h or 7d"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.seconds;
        for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
            if rest >= unit {
                write!(f, "{}{letter}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_sum_of_numbers_with_units() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5_400), ("7d", 604_800)] {
            assert_eq!(Span::parse(text), Some(Span { seconds }), "{text}");
        }
        for text in ["", "0s", "1", "h", "1y", "-1h", "99999999999999999999s", "999999999999999999d"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["1m30s", "15m", "1h30m", "7d"] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Some(text));
        }
    }
}
