//! A record, its line and its place in the chain.
//!
//! A line ends with `,"hash":"…"}`: the BLAKE3 hash of every byte before it. The record's `prev` is the hash of the line
//! before, so whoever alters, removes or reorders one has to write all that follow anew; the head, told elsewhere, shows
//! that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What comes before a line's own hash.
const SEAM: &str = ",\"hash\":\"";

/// One change, as the audit log records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// From 1, without gaps.
    pub seq: u64,
    /// When, RFC 3339.
    #[schemars(with = "crate::time::Rfc3339")]
    pub time: String,
    /// Who: `token:ID`, `uid:N pid:N`, `loopback`, `finding:N`, `feed:NAME`, or `netd` itself.
    pub actor: String,
    /// The request that asked for it.
    pub request: Option<String>,
    /// What was done: `verdict.add`.
    pub action: String,
    /// To what.
    pub target: String,
    /// BLAKE3 hash of what was there before, hexadecimal.
    pub before: Option<String>,
    /// BLAKE3 hash of what is there after, hexadecimal.
    pub after: Option<String>,
    /// Why, as the actor said; empty where nothing was said.
    pub reason: String,
    /// Hash of the record before; empty in the first.
    pub prev: String,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is no record")]
    Syntax,
    #[error("its content is not what its hash says")]
    Altered,
    #[error("it does not follow the record before: its prev is {prev:?}, that record's hash {expected:?}")]
    Unchained { prev: String, expected: String },
    #[error("its number is {seq}, not {expected}")]
    Misnumbered { seq: u64, expected: u64 },
    #[error("the log ends with record {seq}, and {head} had been written")]
    Truncated { seq: u64, head: u64 },
    #[error("its hash is not the one that the head names")]
    Head,
}

/// The first record that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub file: String,
    /// From 1.
    pub line: u64,
    pub fault: Fault,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.fault)
    }
}

/// Number and hash of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) hash: String,
}

impl Record {
    /// Returns the line, with its end, and its hash.
    pub(super) fn line(&self) -> Result<(String, String), serde_json::Error> {
        let mut line = serde_json::to_string(self)?;
        line.pop();
        let hash = blake3::hash(line.as_bytes()).to_hex().to_string();
        line.push_str(SEAM);
        line.push_str(&hash);
        line.push_str("\"}\n");
        Ok((line, hash))
    }

    /// Reads a line without its end, and returns the record with its hash.
    pub(super) fn read(line: &str) -> Result<(Self, String), Fault> {
        let (body, tail) = line.rsplit_once(SEAM).ok_or(Fault::Syntax)?;
        let hash = tail.strip_suffix("\"}").ok_or(Fault::Syntax)?;
        if blake3::hash(body.as_bytes()).to_hex().as_str() != hash {
            return Err(Fault::Altered);
        }
        let record = serde_json::from_str(&format!("{body}}}")).map_err(|_| Fault::Syntax)?;
        Ok((record, hash.to_owned()))
    }
}

impl Link {
    /// Reads the line that follows this link, and moves on to it.
    pub(super) fn follow(&mut self, line: &str) -> Result<Record, Fault> {
        let (record, hash) = Record::read(line)?;
        if record.prev != self.hash {
            return Err(Fault::Unchained { prev: record.prev, expected: self.hash.clone() });
        }
        if record.seq != self.seq + 1 {
            return Err(Fault::Misnumbered { seq: record.seq, expected: self.seq + 1 });
        }
        *self = Self { seq: record.seq, hash };
        Ok(record)
    }
}
