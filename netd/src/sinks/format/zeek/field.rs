//! One value of a row, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// How a value is written that is not known.
pub(super) const UNSET: &str = "-";
const EMPTY: &str = "(empty)";

/// One value of a row.
pub(super) enum Field {
    Unset,
    /// The network's text: it is escaped.
    Text(String),
    /// Ours: an address, a name of the format, a list of names.
    Word(String),
    Set(&'static str),
    Count(u64),
    /// Seconds, to the microsecond.
    Seconds(u64),
    Bool(bool),
    /// The network's texts, one after the other.
    Texts(Vec<String>),
    /// Intervals of whole seconds.
    Intervals(Vec<u32>),
}

impl Field {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unset => out.extend_from_slice(UNSET.as_bytes()),
            Self::Text(text) => escape(text, out),
            Self::Word(word) => out.extend_from_slice(word.as_bytes()),
            Self::Set(word) => out.extend_from_slice(word.as_bytes()),
            Self::Count(count) => out.extend_from_slice(count.to_string().as_bytes()),
            Self::Seconds(micros) => out.extend_from_slice(seconds(*micros).as_bytes()),
            Self::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
            Self::Texts(texts) => list(texts, out, |text, out| {
                let mut escaped = Vec::new();
                escape(text, &mut escaped);
                // A comma would end the element.
                out.extend(escaped.split(|byte| *byte == b',').collect::<Vec<_>>().join(&b"\\x2c"[..]));
            }),
            Self::Intervals(intervals) => {
                list(intervals, out, |interval, out| out.extend(format!("{interval}.000000").bytes()));
            }
        }
    }

    pub(super) fn into_json(self) -> Option<Value> {
        Some(match self {
            Self::Unset => return None,
            Self::Text(text) | Self::Word(text) => text.into(),
            Self::Set(word) => vec![word].into(),
            Self::Count(count) => count.into(),
            Self::Seconds(micros) => Value::Number(Number::from_f64(micros as f64 / 1e6)?),
            Self::Bool(value) => value.into(),
            Self::Texts(texts) => texts.into(),
            Self::Intervals(intervals) => intervals.into_iter().map(f64::from).collect::<Vec<_>>().into(),
        })
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Writes a vector's elements, between commas.
fn list<T>(values: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    if values.is_empty() {
        out.extend_from_slice(EMPTY.as_bytes());
    }
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(value, out);
    }
}

/// Escapes as Zeek does: controls and backslashes, and a text that would read as an unset or an empty field.
fn escape(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(EMPTY.as_bytes());
        return;
    }
    if text == UNSET || text == EMPTY {
        let first = text.as_bytes()[0];
        out.extend_from_slice(format!("\\x{first:02x}").as_bytes());
        out.extend_from_slice(&text.as_bytes()[1..]);
        return;
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(escaped, "\\x{byte:02x}");
                }
            }
            c => escaped.push(c),
        }
    }
    out.extend_from_slice(escaped.as_bytes());
}
