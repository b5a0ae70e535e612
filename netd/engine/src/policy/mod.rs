//! The operator's rules: what a finding may lead to. Of several policies the first that matches a finding decides.

mod canary;
mod decision;
mod difference;
mod document;
mod selector;
mod span;
mod spec;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;

pub use canary::{Canary, Share};
pub use decision::{Ceiling, Decision, Effect, Ruling, Why};
pub use difference::{Change, Difference};
pub use document::{ApiVersion, BadName, Fault, Metadata, Name, Place, Source, schema};
pub use selector::{Case, Direction, Selector};
pub use span::Span;
pub use spec::{Action, BlockWhen, Mode, Scope, Score, Spec, Threshold, Throttle};
pub use trial::{Expectation, Trial};

use crate::finding::Finding;
use crate::respond::Measure;
use crate::verdict::{Response, Target};

/// Most policies at once: each may be held against every finding.
pub const MOST: usize = 256;

/// A policy in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub name: Arc<str>,
    pub spec: Spec,
}

impl Policy {
    /// Returns the first of its measures that signals a process.
    #[must_use]
    pub fn signal(&self) -> Option<Measure> {
        let mut measures = self.spec.respond.values().flat_map(|rule| rule.measures.iter().copied());
        measures.find(|measure| matches!(measure, Measure::Stop | Measure::Kill))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { name: "default".into(), spec: Spec::default() }
    }
}

/// All policies, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies(Vec<Policy>);

impl Default for Policies {
    /// One policy, which observes.
    fn default() -> Self {
        Policy::default().into()
    }
}

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        Self(vec![policy])
    }
}

impl Policies {
    /// Reads policies from files in their order.
    ///
    /// # Errors
    ///
    /// One for each file that cannot be used, and for each name that stands twice.
    pub fn read(sources: &[Source<'_>]) -> Result<Self, Vec<Fault>> {
        Self::read_placed(sources).map(|(policies, _)| policies)
    }

    /// The same, with the place of each policy.
    ///
    /// # Errors
    ///
    /// As [`Policies::read`].
    pub fn read_placed(sources: &[Source<'_>]) -> Result<(Self, Vec<Place>), Vec<Fault>> {
        let (policies, places) = document::read(sources)?.into_iter().unzip();
        Ok((Self(policies), places))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| &*policy.name == name)
    }

    /// Returns whether any finding can lead to a verdict or a response.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.0.iter().any(|policy| policy.spec.mode > Mode::Observe)
    }

    /// Returns what the first policy that matches says of a finding.
    #[must_use]
    pub fn rule(&self, case: &Case<'_>) -> Ruling<'_> {
        let mut awake = self.0.iter().filter(|policy| policy.spec.mode != Mode::Off);
        awake.find(|policy| policy.matches(case)).map_or_else(|| Ruling::none(case), |policy| policy.rule(case))
    }

    /// Returns each policy that is never asked, with the one that answers everything before it.
    pub fn unreachable(&self) -> impl Iterator<Item = (&Policy, &Policy)> {
        let is_awake = |policy: &Policy| policy.spec.mode != Mode::Off;
        let all = self.0.iter().position(|policy| is_awake(policy) && policy.matches_all()).unwrap_or(self.0.len());
        let rest = self.0.iter().skip(all + 1).filter(move |policy| is_awake(policy));
        rest.filter_map(move |policy| Some((policy, self.0.get(all)?)))
    }
}

impl Policy {
    fn matches_all(&self) -> bool {
        self.spec.matching.is_empty() && self.spec.detectors.is_empty()
    }

    fn matches(&self, case: &Case<'_>) -> bool {
        let Spec { detectors, matching, .. } = &self.spec;
        let is_meant = |detectors: &[crate::detect::Detector]| {
            detectors.is_empty() || detectors.iter().any(|detector| detector.name() == case.finding.detector)
        };
        is_meant(detectors) && matching.holds(case)
    }

    /// Returns what this policy says of a finding that it matches.
    fn rule(&self, case: &Case<'_>) -> Ruling<'_> {
        let Spec { mode, .. } = self.spec;
        let Finding { severity, score, .. } = *case.finding;
        let told = |why| Ruling::told(self, case, why);
        if !self.spec.alert_from.is_met(severity, score) {
            return Ruling::suppressed(self, case);
        }
        if mode <= Mode::Observe {
            return told(Why::Mode);
        }
        if let Some(key) = self.spec.exceptions.spares(case) {
            return told(Why::Exception { key });
        }
        let measures = self.measures(case.finding);
        let refusal = self.objection(case.finding);
        if let (Some(why), true) = (refusal, measures.is_empty()) {
            return told(why);
        }
        let (shadow, why) = match mode {
            Mode::Canary if self.spec.canary.is_none_or(|canary| !canary.includes(case.finding)) => {
                (true, Why::OutsideCanary)
            }
            Mode::Shadow => (true, Why::Mode),
            Mode::Off | Mode::Observe | Mode::Canary | Mode::Enforce => (false, refusal.unwrap_or(Why::Evidence)),
        };
        told(why).acting(measures, refusal.is_none(), shadow)
    }

    /// Returns why a finding is to lead to no verdict.
    fn objection(&self, finding: &Finding) -> Option<Why> {
        let Spec { action, block_when, block_at, block_from, .. } = &self.spec;
        if *action == Action::Alert {
            return Some(Why::AlertsOnly);
        }
        if !block_from.is_met(finding.severity, finding.score) {
            return Some(Why::BelowBlock);
        }
        let named = block_at.iter().find(|(detector, _)| detector.name() == finding.detector);
        let is_named = named.is_some_and(|(_, Score(score))| finding.score >= *score);
        match block_when {
            BlockWhen::TwoKinds => (!finding.block && !is_named).then_some(Why::OneKind),
            BlockWhen::Never => (!is_named).then_some(Why::NotNamed),
        }
    }

    /// Returns what is to be done at once about a finding, in order; most often nothing.
    fn measures(&self, finding: &Finding) -> &[Measure] {
        let rule = self.spec.respond.iter().find(|(detector, _)| detector.name() == finding.detector);
        rule.filter(|(_, rule)| finding.severity >= rule.from).map_or(&[], |(_, rule)| &rule.measures)
    }

    /// Returns what this policy cuts about a finding.
    #[must_use]
    pub fn target(&self, finding: &Finding) -> Target {
        let pair = &finding.pair;
        match self.spec.target {
            Scope::Endpoint => {
                Target::Endpoint { address: pair.responder, port: pair.responder_port, proto: pair.proto }
            }
            Scope::Host => Target::Host { address: pair.responder },
        }
    }

    pub(crate) const fn response(&self) -> Response {
        match self.spec.action {
            Action::Alert => Response::Observe,
            Action::Drop => Response::Drop,
            Action::Reset => Response::Reset,
            Action::Throttle => Response::Throttle {
                bytes_per_second: self.spec.throttle.bytes_per_second,
                burst_bytes: self.spec.throttle.burst_bytes,
            },
        }
    }
}
