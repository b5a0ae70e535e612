//! From findings to verdicts and responses: policy, budget, expiry.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use netd_common::key::FlowKey;

use super::Command;
use crate::finding::{Finding, Severity};
use crate::policy::{Case, Ceiling, Decision, Effect, Policies, Policy, Ruling, Why};
use crate::process::ProcessId;
use crate::respond::{Measure, Order};
use crate::time::Timestamp;
use crate::verdict::{Origin, Response, Target, Verdict};

const HOUR_S: f64 = 3_600.0;
/// Responses remembered, so that none is asked for again; the oldest gives way.
const RESPONDED: usize = 4_096;

/// What a response is about, besides its finding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Culprit {
    /// Directed from this host where one of its ends is.
    pub(super) key: FlowKey,
    pub(super) process: Option<ProcessId>,
    /// Who holds the socket, where that may be another.
    pub(super) holder: Option<u32>,
    pub(super) since: Timestamp,
    /// The near end is this host itself, and no namespace or neighbour of it.
    pub(super) is_own: bool,
    /// The far end is one of the protected addresses.
    pub(super) is_protected: bool,
}

type Answered = (u64, FlowKey, Option<ProcessId>);

/// What decides about a finding besides the policies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) culprit: Option<&'a Culprit>,
    /// The responder must not be cut.
    pub(super) is_protected: bool,
    /// An operator does not want to see it.
    pub(super) is_suppressed: bool,
}

/// Why a finding led to no verdict, or that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotWanted,
    InForce,
    BudgetSpent,
    Protected,
    Asked,
}

/// A decision, and what became of it.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) decision: Decision,
    pub(super) response: Outcome,
    pub(super) verdict: Outcome,
}

/// A verdict that was asked for and has not expired.
#[derive(Clone, Copy, Debug)]
struct InForce {
    until: Timestamp,
    shadow: bool,
}

#[derive(Debug)]
pub(super) struct Verdicts {
    policies: Arc<Policies>,
    ceiling: Ceiling,
    in_force: HashMap<Target, InForce>,
    by_expiry: BTreeMap<(Timestamp, Target), u64>,
    /// When verdicts of the last hour were asked for, by policy.
    recent: HashMap<Arc<str>, VecDeque<Timestamp>>,
    /// The severity at which a response was asked for, and in which order they were.
    responded: HashMap<Answered, Severity>,
    by_age: VecDeque<Answered>,
}

impl Verdicts {
    pub(super) fn new(policies: Arc<Policies>) -> Self {
        Self {
            policies,
            ceiling: Ceiling::default(),
            in_force: HashMap::new(),
            by_expiry: BTreeMap::new(),
            recent: HashMap::new(),
            responded: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    pub(super) fn set_policies(&mut self, policies: Arc<Policies>) {
        self.recent.retain(|name, _| policies.get(name).is_some());
        self.policies = policies;
    }

    pub(super) fn set_ceiling(&mut self, ceiling: Ceiling) {
        self.ceiling = ceiling;
    }

    /// Returns whether any finding can lead to a verdict.
    pub(super) fn may_act(&self) -> bool {
        self.policies.may_act()
    }

    /// Returns what a finding amounts to that is told again and not acted on.
    pub(super) fn peek(&self, case: &Case<'_>) -> Decision {
        let mut decision = self.policies.rule(case).decision(&self.ceiling);
        decision.effect = decision.effect.min(Effect::Alert);
        decision
    }

    /// Decides about a finding, and asks for what the policy wants done: responses first.
    pub(super) fn decide(
        &mut self,
        case: &Case<'_>,
        surroundings: &Surroundings<'_>,
        commands: &mut Vec<Command>,
    ) -> Decided {
        let policies = Arc::clone(&self.policies);
        let ruling = policies.rule(case);
        let mut decision = ruling.decision(&self.ceiling);
        let (mut response, mut verdict) = (Outcome::NotWanted, Outcome::NotWanted);
        let Surroundings { culprit, is_protected, is_suppressed } = *surroundings;
        if is_suppressed {
            (decision.effect, decision.why) = (decision.effect.min(Effect::Alert), Why::Suppression);
            return Decided { decision, response, verdict };
        }
        if let Some(policy) = ruling.policy {
            // What is protected is told by whoever responds: the refusal belongs to the finding.
            response =
                culprit.map_or(response, |culprit| self.respond(policy, &ruling, case.finding, culprit, commands));
            verdict = match ruling.wants_verdict {
                true if is_protected => Outcome::Protected,
                true => self.consider(policy, ruling.shadow, case.finding, commands),
                false => Outcome::NotWanted,
            };
        }
        if let Some(why) = withheld(response, verdict) {
            decision.why = why;
            if why != Why::InForce {
                let most = if response == Outcome::Asked { Effect::Respond } else { Effect::Alert };
                decision.effect = decision.effect.min(most);
            }
        } else if is_protected && decision.why == Why::OneKind {
            // Evidence against what is protected never counts as certain.
            decision.why = Why::Protected;
        }
        Decided { decision, response, verdict }
    }

    /// Asks for the verdict that a policy wants for a finding.
    fn consider(&mut self, policy: &Policy, shadow: bool, finding: &Finding, commands: &mut Vec<Command>) -> Outcome {
        let (now, target) = (finding.time, policy.target(finding));
        if self.covers(&target, shadow, now) {
            return Outcome::InForce;
        }
        if !self.spend(policy, now) {
            return Outcome::BudgetSpent;
        }
        let verdict = self.note(policy, shadow, target, finding);
        commands.push(Command::Enforce { verdict, finding: finding.id });
        Outcome::Asked
    }

    /// Asks for what a policy wants done at once about a finding: once for each conversation and process of it, and
    /// again when its severity has risen.
    fn respond(
        &mut self,
        policy: &Policy,
        ruling: &Ruling<'_>,
        finding: &Finding,
        culprit: &Culprit,
        commands: &mut Vec<Command>,
    ) -> Outcome {
        let measures = ruling.measures.to_vec();
        if measures.is_empty() {
            return Outcome::NotWanted;
        }
        let about = (finding.id, culprit.key, culprit.process);
        if self.responded.get(&about).is_some_and(|at| finding.severity <= *at) {
            return Outcome::InForce;
        }
        if !self.spend(policy, finding.time) {
            return Outcome::BudgetSpent;
        }
        self.remember(about, finding.severity);
        let (target, shadow) = (policy.target(finding), ruling.shadow);
        let is_open = !self.covers(&target, shadow, finding.time);
        let wants_block = measures.contains(&Measure::Block) && is_open && !culprit.is_protected;
        commands.push(Command::Respond(Box::new(Order {
            finding: finding.id,
            detector: finding.detector,
            since: culprit.since,
            key: culprit.key,
            process: culprit.process,
            holder: culprit.holder,
            block: wants_block.then(|| self.note(policy, shadow, target, finding)),
            cut: (!culprit.is_own)
                .then(|| verdict(policy, shadow, Order::five_tuple(&culprit.key), Order::CUT, finding)),
            measures,
            is_protected: culprit.is_protected,
            shadow,
        })));
        Outcome::Asked
    }

    /// Returns whether a verdict on a target is in force that does as much: a shadow's does less than another.
    fn covers(&self, target: &Target, shadow: bool, now: Timestamp) -> bool {
        self.in_force.get(target).is_some_and(|known| known.until > now && (!known.shadow || shadow))
    }

    /// Takes one from the policy's budget of the hour; returns false when it is spent.
    fn spend(&mut self, policy: &Policy, now: Timestamp) -> bool {
        let recent = self.recent.entry(Arc::clone(&policy.name)).or_default();
        while recent.front().is_some_and(|asked| now.secs_since(*asked) >= HOUR_S) {
            recent.pop_front();
        }
        let has_room = recent.len() < policy.spec.max_blocks_per_hour as usize;
        if has_room {
            recent.push_back(now);
        }
        has_room
    }

    /// Notes that a target is cut until its time is over; returns the verdict that says so.
    fn note(&mut self, policy: &Policy, shadow: bool, target: Target, finding: &Finding) -> Verdict {
        self.forget(&target);
        let verdict = verdict(policy, shadow, target, policy.response(), finding);
        if let Some(until) = verdict.until {
            self.in_force.insert(target, InForce { until, shadow });
            self.by_expiry.insert((until, target), finding.id);
        }
        verdict
    }

    fn remember(&mut self, about: Answered, severity: Severity) {
        if self.responded.insert(about, severity).is_some() {
            return;
        }
        self.by_age.push_back(about);
        if self.by_age.len() > RESPONDED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.responded.remove(&oldest);
        }
    }

    /// Releases what has expired at `now`.
    pub(super) fn release(&mut self, now: Timestamp, commands: &mut VecDeque<Command>) {
        while let Some(((until, target), finding)) = self.by_expiry.pop_first() {
            if until > now {
                self.by_expiry.insert((until, target), finding);
                return;
            }
            self.in_force.remove(&target);
            commands.push_back(Command::Release { target, finding });
        }
    }

    pub(super) fn forget(&mut self, target: &Target) {
        if let Some(InForce { until, .. }) = self.in_force.remove(target) {
            self.by_expiry.remove(&(until, *target));
        }
    }
}

/// Returns what held back some of what a policy wants.
const fn withheld(response: Outcome, verdict: Outcome) -> Option<Why> {
    match (verdict, response) {
        (Outcome::Protected, _) => Some(Why::Protected),
        (Outcome::BudgetSpent, _) | (Outcome::NotWanted, Outcome::BudgetSpent) => Some(Why::BudgetSpent),
        (Outcome::InForce, _) | (Outcome::NotWanted, Outcome::InForce) => Some(Why::InForce),
        (Outcome::NotWanted | Outcome::Asked, _) => None,
    }
}

fn verdict(policy: &Policy, shadow: bool, target: Target, response: Response, finding: &Finding) -> Verdict {
    Verdict {
        target,
        response,
        until: Some(finding.time.plus_secs(policy.spec.ttl.seconds as f64)),
        origin: Origin::Finding { finding: finding.id, policy: policy.name.to_string() },
        reason: finding.reasons.first().map(|reason| reason.value.clone()).unwrap_or_default(),
        shadow,
    }
}
