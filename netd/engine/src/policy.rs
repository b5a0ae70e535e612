//! The operator's rule: what a finding may lead to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::detect::Detector;
use crate::finding::Finding;
use crate::name::within;
use crate::respond::{Measure, Rule};
use crate::verdict::{Response, Target};

/// A policy file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    pub kind: PolicyKind,
    pub metadata: Metadata,
    pub spec: Spec,
}

impl PolicyFile {
    /// Returns the policy that the file states.
    #[must_use]
    pub fn into_policy(self) -> Policy {
        Policy { name: self.metadata.name, spec: self.spec }
    }
}

/// The version of the file's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ApiVersion {
    #[serde(rename = "netd/v1")]
    V1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PolicyKind {
    ResponsePolicy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A policy in force.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    pub spec: Spec,
}

impl Default for Policy {
    fn default() -> Self {
        Self { name: "default".to_owned(), spec: Spec::default() }
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    pub mode: Mode,
    pub action: Action,
    pub throttle: Throttle,
    /// How long a verdict holds.
    pub ttl: Span,
    pub target: Scope,
    pub block_when: BlockWhen,
    /// Per detector: a score from which this policy blocks on one kind of evidence, too.
    pub block_at: BTreeMap<String, f64>,
    /// Per detector: what is done at once, whatever the evidence's kinds. Empty: nothing.
    pub respond: BTreeMap<Detector, Rule>,
    /// Automatic verdicts and responses in any hour; further findings are only reported.
    pub max_blocks_per_hour: u32,
    #[serde(rename = "except")]
    pub exceptions: Exceptions,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            action: Action::default(),
            throttle: Throttle::default(),
            ttl: Span { seconds: 3_600 },
            target: Scope::default(),
            block_when: BlockWhen::default(),
            block_at: BTreeMap::new(),
            respond: BTreeMap::new(),
            max_blocks_per_hour: 20,
            exceptions: Exceptions::default(),
        }
    }
}

/// How far a policy goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Findings only.
    #[default]
    Observe,
    /// Verdicts that the kernel counts but does not act on.
    Shadow,
    Enforce,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    #[default]
    Drop,
    Reset,
    Throttle,
}

/// The rate of a throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    pub bytes_per_second: u64,
    pub burst_bytes: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { bytes_per_second: 128, burst_bytes: 1_500 }
    }
}

/// What is cut: the responder's port, or all of the responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    Endpoint,
    Host,
}

/// Which findings lead to a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockWhen {
    /// Posterior of at least 0.999 from at least two kinds of evidence.
    #[default]
    TwoKinds,
    /// Only what `block_at` names.
    Never,
}

/// What is never cut by this policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exceptions {
    pub destinations: Vec<IpNet>,
    /// A name, or `*.name` for all names below it.
    pub names: Vec<String>,
    pub originators: Vec<IpNet>,
}

impl Exceptions {
    fn hold(&self, finding: &Finding) -> bool {
        let contains = |nets: &[IpNet], address: IpAddr| nets.iter().any(|net| net.contains(&address));
        contains(&self.destinations, finding.pair.responder)
            || contains(&self.originators, finding.pair.originator)
            || finding.name.as_deref().is_some_and(|name| self.names.iter().any(|pattern| matches(pattern, name)))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.len() > parent.len() && within(name, parent),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

impl Policy {
    /// Returns whether a finding is to lead to a verdict.
    #[must_use]
    pub fn wants_verdict(&self, finding: &Finding) -> bool {
        if self.spec.mode == Mode::Observe || self.spec.exceptions.hold(finding) {
            return false;
        }
        let is_named = self.spec.block_at.get(finding.detector).is_some_and(|score| finding.score >= *score);
        match self.spec.block_when {
            BlockWhen::TwoKinds => finding.block || is_named,
            BlockWhen::Never => is_named,
        }
    }

    /// Returns what is to be done at once about a finding, in order; most often nothing.
    #[must_use]
    pub fn measures(&self, finding: &Finding) -> &[Measure] {
        if self.spec.respond.is_empty() || self.spec.mode == Mode::Observe || self.spec.exceptions.hold(finding) {
            return &[];
        }
        let rule = self.spec.respond.iter().find(|(detector, _)| detector.name() == finding.detector);
        rule.filter(|(_, rule)| finding.severity >= rule.from).map_or(&[], |(_, rule)| &rule.measures)
    }

    pub(crate) fn target(&self, finding: &Finding) -> Target {
        let pair = &finding.pair;
        match self.spec.target {
            Scope::Endpoint => {
                Target::Endpoint { address: pair.responder, port: pair.responder_port, proto: pair.proto }
            }
            Scope::Host => Target::Host { address: pair.responder },
        }
    }

    pub(crate) fn response(&self) -> Response {
        match self.spec.action {
            Action::Drop => Response::Drop,
            Action::Reset => Response::Reset,
            Action::Throttle => Response::Throttle {
                bytes_per_second: self.spec.throttle.bytes_per_second,
                burst_bytes: self.spec.throttle.burst_bytes,
            },
        }
    }
}

/// A duration as people write it: `90s`, `15m`, `1h30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 90s, 15m, 1h or 7d")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text).map_err(D::Error::custom)
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
    fn a_pattern_names_what_is_below_it_and_not_itself() {
        assert!(matches("*.example.org", "a.Example.org"));
        assert!(matches("Example.org", "example.org"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(!matches("*.example.org", "badexample.org"));
    }
}
