//! Times and durations as people write them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netd_engine::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize as _, Deserializer, Serializer};

/// Why a text is not a time or a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("'{0}' is not a duration: a number and s, m, h, d or w, like 90s or 1h30m")]
    Duration(String),
    #[error("'{0}' is not a time: RFC 3339 like 2026-11-21T06:13:40Z, or a duration ago like 15m")]
    Moment(String),
}

/// Returns the time of the wall clock.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns a time in whole seconds of Unix time.
#[must_use]
pub const fn from_unix(seconds: u64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1_000_000_000))
}

/// Reads a duration: `90s`, `15m`, `1h30m`, `7d`.
pub fn duration(text: &str) -> Result<Duration, Error> {
    let error = || Error::Duration(text.chars().take(40).collect());
    let (mut seconds, mut rest) = (0_u64, text.trim());
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let mut letters = after.chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) | None => return Err(error()),
        };
        let number: u64 = number.parse().map_err(|_| error())?;
        let part = number.checked_mul(unit).ok_or_else(error)?;
        seconds = seconds.checked_add(part).ok_or_else(error)?;
        rest = letters.as_str();
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a point in time: RFC 3339, or a duration before `now`.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    if let Ok(ago) = duration(text) {
        let ns = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(ns)));
    }
    let error = || Error::Moment(text.chars().take(40).collect());
    let time: jiff::Timestamp = text.trim().parse().map_err(|_| error())?;
    u64::try_from(time.as_nanosecond()).map(Timestamp).map_err(|_| error())
}

/// Returns a time in RFC 3339, UTC, to the microsecond.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let micros = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| "9999-12-31T23:59:59Z".to_owned(), |time| time.to_string())
}

/// Writes a time in RFC 3339, for `#[serde(serialize_with)]`.
pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// What schemas call a field that [`serialize`] writes, for `#[schemars(with)]`.
pub struct Rfc3339;

impl JsonSchema for Rfc3339 {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Rfc3339")
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Reads a time in RFC 3339, for `#[serde(deserialize_with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    moment(&String::deserialize(deserializer)?, Timestamp(0)).map_err(serde::de::Error::custom)
}

/// The same for a time that may be absent.
pub fn serialize_option<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        let table = [("90s", 90), ("15m", 900), ("1h30m", 5_400), ("7d", 604_800), ("1w", 604_800), ("0s", 0)];
        for (text, seconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "1", "h", "-1h", "1.5h", "1y", "1hh", "99999999999999999999s", "9999999999999999w", "1 h", "²s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_rfc_3339_or_a_while_ago() {
        let now = Timestamp(1_800_000_000_000_000_000);

        assert_eq!(moment("15m", now), Ok(Timestamp(now.0 - 900_000_000_000)));
        assert_eq!(moment("1970-01-01T00:00:01Z", now), Ok(Timestamp(1_000_000_000)));
        assert_eq!(moment("1970-01-01T01:00:01+01:00", now), Ok(Timestamp(1_000_000_000)));
        for text in ["yesterday", "2026-11-21", "2026-11-21T06:13:40", "1960-01-01T00:00:00Z"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_written_time_is_read_back() {
        let time = Timestamp(1_800_000_000_123_456_000);

        assert_eq!(rfc3339(time), "2027-01-15T08:00:00.123456Z");
        assert_eq!(moment(&rfc3339(time), Timestamp(0)), Ok(time));
    }
}
