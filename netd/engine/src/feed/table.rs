//! Columns: CSV with or without a header, Zeek's tab-separated intelligence.

use super::Outcome;
use super::line::of;
use super::value::{self, Refused, Value};

/// Names of the column that holds the indicator, the most telling first.
const VALUES: [&str; 13] = [
    "indicator",
    "ioc_value",
    "ioc",
    "value",
    "cidr",
    "network",
    "dst_ip",
    "ip_address",
    "ip",
    "domain",
    "host",
    "hostname",
    "ja3_md5",
];
/// Names of the column that says what kind the indicator is of.
const KINDS: [&str; 4] = ["indicator_type", "ioc_type", "type", "scope"];
/// Kinds that no packet shows.
const UNSEEN: [&str; 12] = [
    "url",
    "intel::url",
    "intel::file_hash",
    "intel::file_name",
    "intel::email",
    "intel::user_name",
    "md5_hash",
    "sha1_hash",
    "sha256_hash",
    "md5",
    "sha256",
    "country",
];

/// Where the columns that matter stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    value: usize,
    name: &'static str,
    kind: Option<usize>,
    separator: u8,
}

impl Columns {
    /// Reads a header: a line of column names, one of which is known. It may stand in a comment.
    pub(super) fn of_header(line: &str) -> Option<Self> {
        if let Some(names) = line.strip_prefix("#fields\t") {
            return Self::among(&names.split('\t').map(str::to_owned).collect::<Vec<_>>(), b'\t');
        }
        let text = line.trim_start_matches('#').trim_start();
        let separator = if text.contains(',') { b',' } else { b'\t' };
        let names: Vec<_> = fields(text, separator)?.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let is_name =
            |name: &String| name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_ 0123456789".contains(&byte));
        (names.len() > 1 && names.iter().all(is_name)).then(|| Self::among(&names, separator))?
    }

    fn among(names: &[String], separator: u8) -> Option<Self> {
        let at = |wanted: &str| names.iter().position(|name| name == wanted);
        let (name, value) = VALUES.iter().find_map(|name| Some((*name, at(name)?)))?;
        Some(Self { value, name, kind: KINDS.iter().find_map(|kind| at(kind)), separator })
    }

    /// Reads a line below the header.
    pub(super) fn read(&self, line: &str, take: &mut impl FnMut(Value)) -> Outcome {
        if line.is_empty() || line.starts_with('#') {
            return Outcome::Taken;
        }
        let Some(fields) = fields(line, self.separator) else { return Outcome::Refused(Refused::NotAnIndicator) };
        let kind = self.kind.and_then(|kind| fields.get(kind)).map(|kind| kind.trim().to_ascii_lowercase());
        if kind.is_some_and(|kind| UNSEEN.contains(&&*kind)) {
            return Outcome::Skipped;
        }
        match fields.get(self.value).map(|value| value.trim()) {
            None | Some("") => Outcome::Refused(Refused::NoColumn(self.name)),
            Some(value) => of(value::read(value, take)),
        }
    }
}

/// Reads a line of which nobody said what its fields are: the indicator is the first.
pub(super) fn without_header(line: &str, take: &mut impl FnMut(Value)) -> Outcome {
    let fields = fields(line, b',').unwrap_or_default();
    of(value::read(fields.first().map_or("", |first| first.trim()), take))
}

/// Takes a line apart; quotes are CSV's.
fn fields(line: &str, separator: u8) -> Option<Vec<String>> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).delimiter(separator).flexible(true).from_reader(line.as_bytes());
    let record = reader.records().next()?.ok()?;
    Some(record.iter().map(str::to_owned).collect())
}
