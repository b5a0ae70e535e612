//! What a detector saw, how sure the engine is, and why.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attack;
use crate::policy::{Decision, Effect};
use crate::process::Process;
use crate::region::Region;
use crate::streams::Graph;
use crate::time::Timestamp;

/// What a history is about: who speaks to whom, on which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    pub originator: IpAddr,
    pub responder: IpAddr,
    pub responder_port: u16,
    /// IANA protocol number.
    pub proto: u8,
}

/// How urgent a finding is, from posterior and impact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// Every severity, least urgent first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns the word that JSON, policies and metrics use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Kinds of evidence. A block needs two different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EvidenceKind")]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// When: the rhythm of turns.
    Timing,
    /// Who: the process.
    Process,
    /// Where: the destination.
    Destination,
    /// What: sizes, direction, protocol.
    Content,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 4;
}

/// One named term of the log-odds.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Reason {
    /// Stable name, snake case: `interval_regularity`.
    pub evidence: &'static str,
    /// What it is evidence of.
    pub kind: Kind,
    /// What was measured, in words with numbers.
    pub value: String,
    /// Nats added to the log-odds; negative speaks against.
    pub weight: f64,
}

/// The rhythm that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Beats {
    /// Median interval between turns, in seconds.
    pub interval_s: f64,
    /// MAD of the interval over its median.
    pub jitter: f64,
    /// Turns that the rhythm was read from.
    pub turns: u32,
}

/// What a host tells of a process that leads to the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostEvidence {
    /// One line for each way from the process to a socket.
    pub lines: Vec<String>,
    /// The same ways as nodes and edges.
    pub graph: Graph,
    /// From the oldest known parent to the process: `systemd[1] > apache2[812] > sh[900]`.
    pub tree: String,
    /// Command lines that it started since, first ones first, 16 at most.
    pub commands: Vec<String>,
    /// Seconds from what triggered the look to the finding.
    pub latency_s: f64,
}

/// A finding: one per incident; it is told once, and again when its severity rises or falls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Counts incidents from 1; goes on over a restart where the shell remembers ([`crate::Engine::number_findings_after`]).
    pub id: u64,
    pub time: Timestamp,
    pub first_seen: Timestamp,
    pub detector: &'static str,
    /// What was found, in one line.
    pub title: String,
    pub severity: Severity,
    /// Posterior probability.
    pub score: f64,
    pub pair: Pair,
    /// SNI, HTTP Host or the DNS name that gave the address.
    pub name: Option<String>,
    pub process: Option<Process>,
    /// Where the responder is, if a database says.
    pub responder_region: Option<Region>,
    /// Whether the evidence suffices for an automatic block.
    pub block: bool,
    /// Of findings about a rhythm.
    pub rhythm: Option<Beats>,
    /// Strongest first.
    pub reasons: Vec<Reason>,
    /// Benign classes considered, and why each was rejected.
    pub considered: Vec<String>,
    /// MITRE ATT&CK technique ids.
    pub attack: Vec<&'static str>,
    /// The same with names and tactics.
    pub techniques: Vec<attack::Entry>,
    /// What the host itself told, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostEvidence>,
    /// What the policies made of it; none before they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

impl Finding {
    /// Returns whether a policy hides it from whoever does not ask for it.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        self.decision.as_ref().is_some_and(|decision| decision.effect == Effect::Suppress)
    }
}
