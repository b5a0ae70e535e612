//! What a policy says: the fields of `spec`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Canary, Selector, Span, Trial};
use crate::detect::Detector;
use crate::finding::Severity;
use crate::respond::Rule;

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    pub mode: Mode,
    /// Where `mode: canary` acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Which findings are this policy's: every condition that is given must hold. Empty: all that no policy before it
    /// took.
    #[serde(rename = "match")]
    pub matching: Selector,
    /// Whose findings are this policy's. Empty: every detector's.
    pub detectors: Vec<Detector>,
    /// A finding below this is kept, and hidden from whoever does not ask for it.
    pub alert_from: Threshold,
    /// A finding below this leads to no verdict, whatever `block_when` and `block_at` say.
    pub block_from: Threshold,
    pub block_when: BlockWhen,
    /// Per detector: a score from which this policy blocks on one kind of evidence, too.
    pub block_at: BTreeMap<Detector, Score>,
    pub action: Action,
    pub throttle: Throttle,
    /// How long a verdict holds.
    pub ttl: Span,
    pub target: Scope,
    /// Per detector: what is done at once, whatever the evidence's kinds. Empty: nothing.
    pub respond: BTreeMap<Detector, Rule>,
    /// Automatic verdicts and responses of this policy in any hour; further findings are only reported.
    pub max_blocks_per_hour: u32,
    /// What is never cut by this policy: any one condition spares a finding.
    #[serde(rename = "except")]
    pub exceptions: Selector,
    /// Captures and what this policy must make of them: for `netd policy test`.
    pub tests: Vec<Trial>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            canary: None,
            matching: Selector::default(),
            detectors: Vec::new(),
            alert_from: Threshold::default(),
            block_from: Threshold::default(),
            block_when: BlockWhen::default(),
            block_at: BTreeMap::new(),
            action: Action::default(),
            throttle: Throttle::default(),
            ttl: Span { seconds: 3_600 },
            target: Scope::default(),
            respond: BTreeMap::new(),
            max_blocks_per_hour: 20,
            exceptions: Selector::default(),
            tests: Vec::new(),
        }
    }
}

impl Spec {
    /// Returns what cannot be meant, beyond what the types say.
    pub(super) fn flaw(&self) -> Option<String> {
        let blank = |selector: &Selector, of| selector.blank().map(|key| format!("{of}.{key} holds an empty text"));
        if self.mode == Mode::Canary && self.canary.is_none() {
            return Some("mode is canary without a share; expected `canary: {share: 10%}`".to_owned());
        }
        if self.action == Action::Throttle && self.throttle.bytes_per_second == 0 {
            return Some("throttle.bytes_per_second is 0; expected a rate, or `action: drop`".to_owned());
        }
        blank(&self.matching, "match").or_else(|| blank(&self.exceptions, "except"))
    }
}

/// How far a policy goes, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not asked at all: its findings are the next policy's.
    Off,
    /// Findings only.
    #[default]
    Observe,
    /// Verdicts that the kernel counts but does not act on.
    Shadow,
    /// Enforces on a share of the hosts and is a shadow on the others.
    Canary,
    Enforce,
}

impl Mode {
    /// Returns the name that policies and the API use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Enforce => "enforce",
        }
    }
}

/// What a verdict does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: findings are told.
    Alert,
    #[default]
    Drop,
    /// Drops, and resets the TCP connection of whoever sends.
    Reset,
    /// Drops what is beyond the rate of `throttle`.
    Throttle,
}

/// The rate of a throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// The rate that passes.
    pub bytes_per_second: u64,
    /// Bytes that pass at once.
    pub burst_bytes: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { bytes_per_second: 128, burst_bytes: 1_500 }
    }
}

/// What is cut: the responder's port, or all of the responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The responder's address, port and protocol.
    #[default]
    Endpoint,
    /// All of the responder's address.
    Host,
}

/// Which findings lead to a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockWhen {
    /// Posterior of at least 0.999 from at least two kinds of evidence.
    #[default]
    TwoKinds,
    /// Only what `block_at` names.
    Never,
}

/// The least that a finding must have; what is not given is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Threshold {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
}

impl Threshold {
    pub(super) fn is_met(&self, severity: Severity, score: f64) -> bool {
        self.severity.is_none_or(|least| severity >= least) && self.score.is_none_or(|Score(least)| score >= least)
    }
}

/// A posterior probability, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64", extend("minimum" = 0, "maximum" = 1))]
pub struct Score(pub f64);

impl TryFrom<f64> for Score {
    type Error = String;

    fn try_from(score: f64) -> Result<Self, String> {
        match (0.0..=1.0).contains(&score) {
            true => Ok(Self(score)),
            false => Err(format!("{score} is no probability; expected a number from 0 to 1")),
        }
    }
}
