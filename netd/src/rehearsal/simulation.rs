//! What policies would have cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netd_engine::finding::Finding;
use netd_engine::flow::protocol_name;
use netd_engine::policy::{Case, Direction, Effect, Policies};
use netd_engine::time::Timestamp;
use netd_engine::verdict::Target;
use schemars::JsonSchema;
use serde::Serialize;

use crate::store::history::Flow;

/// Policies that are held against findings, and then flows that are held against what those would have led to.
#[derive(Debug)]
pub struct Simulation {
    policies: Arc<Policies>,
    counts: Counts,
    held: BTreeMap<Target, Held>,
}

/// How many were looked at, and how many findings would have led how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Counts {
    /// Findings looked at.
    findings: u64,
    /// Flows looked at.
    flows: u64,
    /// Findings that would have been hidden.
    suppress: u64,
    /// Findings that would have been told and nothing else.
    alert: u64,
    /// Findings whose verdict would have been counted only.
    shadow: u64,
    /// Findings with a response and no verdict.
    respond: u64,
    /// Findings with a verdict.
    block: u64,
}

/// What would have been done to one target.
#[derive(Debug)]
struct Held {
    /// From when on.
    since: Timestamp,
    shadow: bool,
    policies: BTreeSet<Arc<str>>,
    detectors: BTreeSet<&'static str>,
    originators: BTreeSet<IpAddr>,
    findings: u64,
    flows: u64,
    bytes: u64,
}

/// What came of a simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Simulated {
    #[serde(flatten)]
    counts: Counts,
    /// Targets that would have been cut, or counted.
    pub targets: u64,
    /// Each of them, up to a bound; the one with most flows first.
    pub cut: Vec<Cut>,
}

/// One target, and what would have been done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PolicyCut")]
pub struct Cut {
    /// An address, or an address with port and protocol.
    pub target: String,
    /// Counted, and not cut.
    pub shadow: bool,
    /// Names of those that would have had a say.
    pub policies: BTreeSet<Arc<str>>,
    /// Detectors of the findings.
    pub detectors: BTreeSet<&'static str>,
    /// Who talked to it.
    pub originators: BTreeSet<IpAddr>,
    /// Findings that would have led to it.
    pub findings: u64,
    /// Flows that went on, or began, after the first finding.
    pub flows: u64,
    /// Their bytes, in both directions.
    pub bytes: u64,
}

impl Simulation {
    #[must_use]
    pub fn new(policies: Arc<Policies>) -> Self {
        Self { policies, counts: Counts::default(), held: BTreeMap::new() }
    }

    /// Asks the policies about a finding. Findings come before flows.
    pub fn judge(&mut self, finding: &Finding) {
        let direction = finding.decision.as_ref().map_or(Direction::Outbound, |decision| decision.direction);
        let ruling = self.policies.rule(&Case { finding, direction });
        let counts = &mut self.counts;
        counts.findings += 1;
        *match ruling.effect {
            Effect::Suppress => &mut counts.suppress,
            Effect::Alert => &mut counts.alert,
            Effect::Shadow => &mut counts.shadow,
            Effect::Respond => &mut counts.respond,
            Effect::Block => &mut counts.block,
        } += 1;
        let Some(policy) = ruling.policy.filter(|_| ruling.wants_verdict) else { return };
        let held = self.held.entry(policy.target(finding)).or_insert_with(|| Held::from(finding.time));
        held.policies.insert(Arc::clone(&policy.name));
        held.detectors.insert(finding.detector);
        held.originators.insert(finding.pair.originator);
        held.findings += 1;
        held.shadow &= ruling.shadow;
        held.since = held.since.min(finding.time);
    }

    /// Counts a flow where it went on after its responder would have been cut.
    pub fn count(&mut self, flow: &Flow) {
        self.counts.flows += 1;
        let Flow { responder: address, responder_port: port, end, .. } = *flow;
        let endpoint = protocol(&flow.protocol).map(|proto| Target::Endpoint { address, port, proto });
        for target in [endpoint, Some(Target::Host { address })].into_iter().flatten() {
            if let Some(held) = self.held.get_mut(&target).filter(|held| end >= held.since) {
                held.flows += 1;
                held.bytes += flow.originated.bytes + flow.responded.bytes;
            }
        }
    }

    /// Returns what came of it, at most so many targets.
    #[must_use]
    pub fn result(self, most: usize) -> Simulated {
        let Self { counts, held, .. } = self;
        let targets = held.len() as u64;
        let cut = held.into_iter().take(most).map(|(target, held)| {
            let Held { since: _, shadow, policies, detectors, originators, findings, flows, bytes } = held;
            Cut { target: shown(&target), shadow, policies, detectors, originators, findings, flows, bytes }
        });
        Simulated { counts, targets, cut: cut.collect() }
    }
}

impl Held {
    fn from(since: Timestamp) -> Self {
        Self {
            since,
            shadow: true,
            policies: BTreeSet::new(),
            detectors: BTreeSet::new(),
            originators: BTreeSet::new(),
            findings: 0,
            flows: 0,
            bytes: 0,
        }
    }
}

fn shown(target: &Target) -> String {
    match *target {
        Target::Endpoint { address, port, proto } => {
            format!("{} {}", SocketAddr::new(address, port), protocol_name(proto))
        }
        Target::Host { address } => address.to_string(),
        Target::Prefix { prefix } => prefix.to_string(),
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            let (source, destination) =
                (SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port));
            format!("{source} -> {destination} {}", protocol_name(proto))
        }
    }
}

fn protocol(name: &str) -> Option<u8> {
    let named = [1, 6, 17, 58, 132].into_iter().find(|number| protocol_name(*number) == name);
    named.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use netd_engine::finding::Severity;
    use netd_engine::flow::EndReason;
    use netd_engine::policy::Source;

    use super::*;
    use crate::store::Row;
    use crate::store::findings_for_tests::finding;
    use crate::store::flows_for_tests::conversation;
    use crate::store::history::Scores;

    fn simulation(spec: &str) -> Simulation {
        let text = format!("apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: a}}\nspec: {spec}\n");
        Simulation::new(Arc::new(Policies::read(&[Source { file: "a", text: &text }]).unwrap()))
    }

    fn flow(end_s: u64, port: u16) -> Flow {
        let conversation = conversation(40_000, EndReason::Idle);
        let flow = Flow::of(
            &Row { sequence: 1, ended: None, conversation, written: Default::default() },
            None,
            &Scores::new(),
        );
        Flow { end: Timestamp(1_800_000_000_000_000_000 + end_s * 1_000_000_000), responder_port: port, ..flow }
    }

    #[test]
    fn what_goes_on_after_the_first_finding_would_have_been_cut() {
        let mut simulation = simulation("{mode: enforce}");
        simulation.judge(&finding(20, Severity::High, 0.999));
        simulation.judge(&finding(10, Severity::High, 0.999));

        for flow in [flow(9, 443), flow(10, 443), flow(30, 443), flow(30, 80)] {
            simulation.count(&flow);
        }

        let Simulated { counts, targets, cut } = simulation.result(10);
        assert_eq!((counts.findings, counts.block, counts.flows, targets), (2, 2, 4, 1));
        let Cut { target, shadow, findings, flows, bytes, .. } = &cut[0];
        assert_eq!((target.as_str(), *shadow, *findings, *flows, *bytes), ("198.51.100.9:443 tcp", false, 2, 2, 120));
    }

    #[test]
    fn a_shadow_counts_and_an_observer_only_tells() {
        for (mode, shadow, alert, targets) in [("shadow", 1, 0, 1), ("observe", 0, 1, 0)] {
            let mut simulation = simulation(&format!("{{mode: {mode}, target: host}}"));
            simulation.judge(&finding(1, Severity::High, 0.999));
            simulation.count(&flow(50, 80));

            let Simulated { counts, targets: found, cut } = simulation.result(10);

            assert_eq!((counts.shadow, counts.alert, found), (shadow, alert, targets), "{mode}");
            assert!(cut.iter().all(|cut| cut.shadow && cut.flows == 1 && cut.target == "198.51.100.9"));
        }
    }
}
