//! What was decided about a finding, by which policy, and why no more than that.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Case, Direction, Mode, Policy, selector};
use crate::respond::Measure;

/// What was decided about a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PolicyDecision")]
pub struct Decision {
    /// Which policy; none where none matches.
    pub policy: Option<Arc<str>>,
    /// The mode that the policy asks for.
    pub mode: Mode,
    /// The mode that acts: less where netd itself, or the canary's share, holds the policy back.
    pub effective: Mode,
    /// Which way the conversations were opened.
    pub direction: Direction,
    /// Why the two differ; empty when they do not.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub held_back: Arc<str>,
    /// How far it goes.
    #[serde(rename = "decision")]
    pub effect: Effect,
    #[serde(flatten, serialize_with = "in_words", deserialize_with = "by_name")]
    #[schemars(with = "Said")]
    pub why: Why,
}

/// How far a decision goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PolicyEffect")]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Kept, and hidden from whoever does not ask for it.
    Suppress,
    /// Told.
    Alert,
    /// Told, and what would have been done is counted.
    Shadow,
    /// What is done at once, and no verdict.
    Respond,
    /// A verdict, and what is done at once.
    Block,
}

impl Effect {
    /// Returns the word that JSON uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Alert => "alert",
            Self::Shadow => "shadow",
            Self::Respond => "respond",
            Self::Block => "block",
        }
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The policy's conditions for acting are met.
    Evidence,
    NoPolicy,
    Mode,
    BelowAlert,
    /// The list of `except` that spares it.
    Exception {
        key: &'static str,
    },
    AlertsOnly,
    BelowBlock,
    OneKind,
    NotNamed,
    OutsideCanary,
    /// The responder must not be cut.
    Protected,
    /// An operator suppressed it.
    Suppression,
    BudgetSpent,
    /// An earlier verdict covers it.
    InForce,
}

impl Why {
    /// One of each.
    const ALL: [Self; 14] = [
        Self::Evidence,
        Self::NoPolicy,
        Self::Mode,
        Self::BelowAlert,
        Self::Exception { key: "names" },
        Self::AlertsOnly,
        Self::BelowBlock,
        Self::OneKind,
        Self::NotNamed,
        Self::OutsideCanary,
        Self::Protected,
        Self::Suppression,
        Self::BudgetSpent,
        Self::InForce,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::NoPolicy => "no_policy",
            Self::Mode => "mode",
            Self::BelowAlert => "below_alert",
            Self::Exception { .. } => "exception",
            Self::AlertsOnly => "alerts_only",
            Self::BelowBlock => "below_block",
            Self::OneKind => "one_kind",
            Self::NotNamed => "not_named",
            Self::OutsideCanary => "outside_canary",
            Self::Protected => "protected",
            Self::Suppression => "suppression",
            Self::BudgetSpent => "budget_spent",
            Self::InForce => "in_force",
        }
    }

    /// Returns what has this name; `spared_by` is the key of an exception's list.
    fn named(name: &str, spared_by: Option<&str>) -> Option<Self> {
        let why = Self::ALL.into_iter().find(|why| why.name() == name)?;
        match matches!(why, Self::Exception { .. }) {
            true => Some(Self::Exception { key: selector::key(spared_by?)? }),
            false => Some(why),
        }
    }

    /// Returns it as a sentence's end.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Evidence => "the policy's conditions are met",
            Self::NoPolicy => "no policy matches it",
            Self::Mode => "the policy's mode says so",
            Self::BelowAlert => "it is below the policy's alert_from",
            Self::Exception { key } => return format!("except.{key} spares it"),
            Self::AlertsOnly => "the policy's action is alert",
            Self::BelowBlock => "it is below the policy's block_from",
            Self::OneKind => "its evidence is not certain, or of one kind alone",
            Self::NotNamed => "block_when is never, and block_at does not name its detector at this score",
            Self::OutsideCanary => "its originator is none of the canaries",
            Self::Protected => "its responder is protected",
            Self::Suppression => "an operator suppressed it",
            Self::BudgetSpent => "max_blocks_per_hour is spent",
            Self::InForce => "a verdict is in force already",
        }
        .to_owned()
    }
}

/// What decided, as it is written.
#[derive(Serialize, JsonSchema)]
struct Said {
    /// What decided, for programs.
    #[schemars(extend("enum" = Why::ALL.map(Why::name)))]
    why: &'static str,
    /// The same in words.
    detail: String,
    /// The list of `except` that spares the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    spared_by: Option<&'static str>,
}

/// Writes the stable name for programs and the sentence for people.
fn in_words<S: Serializer>(why: &Why, serializer: S) -> Result<S::Ok, S::Error> {
    let spared_by = if let Why::Exception { key } = why { Some(*key) } else { None };
    Said { why: why.name(), detail: why.words(), spared_by }.serialize(serializer)
}

fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Why, D::Error> {
    #[derive(Deserialize)]
    struct Said {
        why: String,
        #[serde(default)]
        spared_by: Option<String>,
    }
    let Said { why, spared_by } = Said::deserialize(deserializer)?;
    Why::named(&why, spared_by.as_deref())
        .ok_or_else(|| serde::de::Error::custom(format_args!("'{why}' is no reason of a decision")))
}

/// How far netd itself lets any policy go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    pub mode: Mode,
    /// Why not further.
    pub reason: Arc<str>,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self { mode: Mode::Enforce, reason: "".into() }
    }
}

impl Ceiling {
    /// Returns the mode that acts where `mode` is asked for, and why it is another.
    #[must_use]
    pub fn hold(&self, mode: Mode) -> (Mode, Arc<str>) {
        match self.mode < mode {
            true => (self.mode, Arc::clone(&self.reason)),
            false => (mode, "".into()),
        }
    }
}

/// What a policy says of one finding, before budget and protected addresses are asked.
#[derive(Clone, Debug)]
pub struct Ruling<'a> {
    /// None: no policy matches.
    pub policy: Option<&'a Policy>,
    pub direction: Direction,
    pub effect: Effect,
    pub why: Why,
    /// Whether a verdict is wanted.
    pub wants_verdict: bool,
    /// What is to be done at once, in order.
    pub measures: &'a [Measure],
    /// Counted, not acted on.
    pub shadow: bool,
}

impl<'a> Ruling<'a> {
    pub(super) const fn none(case: &Case<'_>) -> Self {
        let (effect, why, direction) = (Effect::Alert, Why::NoPolicy, case.direction);
        Self { policy: None, direction, effect, why, wants_verdict: false, measures: &[], shadow: false }
    }

    pub(super) const fn told(policy: &'a Policy, case: &Case<'_>, why: Why) -> Self {
        Self { policy: Some(policy), why, ..Self::none(case) }
    }

    pub(super) const fn suppressed(policy: &'a Policy, case: &Case<'_>) -> Self {
        Self { effect: Effect::Suppress, ..Self::told(policy, case, Why::BelowAlert) }
    }

    /// Acts, or counts what it would do.
    pub(super) const fn acting(self, measures: &'a [Measure], wants_verdict: bool, shadow: bool) -> Self {
        let effect = match (shadow, wants_verdict) {
            (true, _) => Effect::Shadow,
            (false, true) => Effect::Block,
            (false, false) => Effect::Respond,
        };
        Self { effect, wants_verdict, measures, shadow, ..self }
    }

    /// Returns the decision that this amounts to under a ceiling.
    #[must_use]
    pub fn decision(&self, ceiling: &Ceiling) -> Decision {
        let mode = self.policy.map_or(Mode::Observe, |policy| policy.spec.mode);
        let (effective, held_back) = match (ceiling.hold(mode), self.why) {
            ((Mode::Canary, _), Why::OutsideCanary) => (Mode::Shadow, Why::OutsideCanary.words().into()),
            (held, _) => held,
        };
        let policy = self.policy.map(|policy| Arc::clone(&policy.name));
        Decision { policy, mode, effective, direction: self.direction, held_back, effect: self.effect, why: self.why }
    }
}
