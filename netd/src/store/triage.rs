//! What people made of a finding: how far they are with it, and why.

use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far people are with a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TriageStatus {
    #[default]
    New,
    /// Somebody has seen it.
    Ack,
    /// Handed on.
    Escalated,
    Closed,
}

impl TriageStatus {
    /// Returns the name in JSON and queries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ack => "ack",
            Self::Escalated => "escalated",
            Self::Closed => "closed",
        }
    }
}

/// The state of a finding's triage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Triage {
    pub status: TriageStatus,
    /// Why it was closed or escalated: `false-positive`, `ir-4411`.
    pub reason: Option<String>,
    pub assignee: Option<String>,
    pub notes: Option<String>,
    /// Grows with each change; a writer names the one it has seen.
    pub revision: u64,
    pub changed: Option<Timestamp>,
}
