//! From findings to verdicts and responses: policy, budget, expiry.

use std::collections::{BTreeMap, HashMap, VecDeque};

use netd_common::key::FlowKey;

use super::Command;
use crate::finding::{Finding, Severity};
use crate::policy::{Mode, Policy};
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

/// Why a finding led to no verdict, or that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotWanted,
    InForce,
    BudgetSpent,
    Asked,
}

#[derive(Debug)]
pub(super) struct Verdicts {
    policy: Policy,
    /// What was asked for and has not expired.
    in_force: HashMap<Target, (Timestamp, u64)>,
    by_expiry: BTreeMap<(Timestamp, Target), u64>,
    /// When verdicts of the last hour were asked for.
    recent: VecDeque<Timestamp>,
    /// The severity at which a response was asked for, and in which order they were.
    responded: HashMap<Answered, Severity>,
    by_age: VecDeque<Answered>,
}

impl Verdicts {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            in_force: HashMap::new(),
            by_expiry: BTreeMap::new(),
            recent: VecDeque::new(),
            responded: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Returns whether any finding can lead to a verdict.
    pub(super) fn may_act(&self) -> bool {
        self.policy.spec.mode != Mode::Observe
    }

    /// Asks for the verdict that the policy wants for a finding.
    pub(super) fn consider(&mut self, finding: &Finding, commands: &mut VecDeque<Command>) -> Outcome {
        if !self.policy.wants_verdict(finding) {
            return Outcome::NotWanted;
        }
        let (now, target) = (finding.time, self.policy.target(finding));
        if self.in_force.get(&target).is_some_and(|(until, _)| *until > now) {
            return Outcome::InForce;
        }
        if !self.spend(now) {
            return Outcome::BudgetSpent;
        }
        let verdict = self.note(target, finding);
        commands.push_back(Command::Enforce { verdict, finding: finding.id });
        Outcome::Asked
    }

    /// Asks for what the policy wants done at once about a finding: once for each conversation and process of it, and
    /// again when its severity has risen.
    pub(super) fn respond(
        &mut self,
        finding: &Finding,
        culprit: &Culprit,
        commands: &mut VecDeque<Command>,
    ) -> Outcome {
        let measures = self.policy.measures(finding).to_vec();
        if measures.is_empty() {
            return Outcome::NotWanted;
        }
        let about = (finding.id, culprit.key, culprit.process);
        if self.responded.get(&about).is_some_and(|at| finding.severity <= *at) {
            return Outcome::InForce;
        }
        if !self.spend(finding.time) {
            return Outcome::BudgetSpent;
        }
        self.remember(about, finding.severity);
        let target = self.policy.target(finding);
        let is_open = self.in_force.get(&target).is_none_or(|(until, _)| *until <= finding.time);
        let wants_block = measures.contains(&Measure::Block) && is_open && !culprit.is_protected;
        commands.push_back(Command::Respond(Box::new(Order {
            finding: finding.id,
            detector: finding.detector,
            since: culprit.since,
            key: culprit.key,
            process: culprit.process,
            holder: culprit.holder,
            block: wants_block.then(|| self.note(target, finding)),
            cut: (!culprit.is_own).then(|| self.verdict(Order::five_tuple(&culprit.key), Order::CUT, finding)),
            measures,
            is_protected: culprit.is_protected,
            shadow: self.policy.spec.mode == Mode::Shadow,
        })));
        Outcome::Asked
    }

    /// Takes one from the hour's budget; returns false when it is spent.
    fn spend(&mut self, now: Timestamp) -> bool {
        while self.recent.front().is_some_and(|asked| now.secs_since(*asked) >= HOUR_S) {
            self.recent.pop_front();
        }
        let has_room = self.recent.len() < self.policy.spec.max_blocks_per_hour as usize;
        if has_room {
            self.recent.push_back(now);
        }
        has_room
    }

    /// Notes that a target is cut until its time is over; returns the verdict that says so.
    fn note(&mut self, target: Target, finding: &Finding) -> Verdict {
        self.forget(&target);
        let verdict = self.verdict(target, self.policy.response(), finding);
        if let Some(until) = verdict.until {
            self.in_force.insert(target, (until, finding.id));
            self.by_expiry.insert((until, target), finding.id);
        }
        verdict
    }

    fn verdict(&self, target: Target, response: Response, finding: &Finding) -> Verdict {
        Verdict {
            target,
            response,
            until: Some(finding.time.plus_secs(self.policy.spec.ttl.seconds as f64)),
            origin: Origin::Finding { finding: finding.id, policy: self.policy.name.clone() },
            reason: finding.reasons.first().map(|reason| reason.value.clone()).unwrap_or_default(),
            shadow: self.policy.spec.mode == Mode::Shadow,
        }
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
        if let Some((until, _)) = self.in_force.remove(target) {
            self.by_expiry.remove(&(until, *target));
        }
    }
}
