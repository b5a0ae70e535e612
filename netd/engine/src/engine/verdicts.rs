//! From findings to verdicts: policy, budget, expiry.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::Command;
use crate::finding::Finding;
use crate::policy::{Mode, Policy};
use crate::time::Timestamp;
use crate::verdict::{Origin, Target, Verdict};

const HOUR_S: f64 = 3_600.0;

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
}

impl Verdicts {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, in_force: HashMap::new(), by_expiry: BTreeMap::new(), recent: VecDeque::new() }
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
        while self.recent.front().is_some_and(|asked| now.secs_since(*asked) >= HOUR_S) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.policy.spec.max_blocks_per_hour as usize {
            return Outcome::BudgetSpent;
        }
        self.recent.push_back(now);
        self.forget(&target);
        let until = now.plus_secs(self.policy.spec.ttl.seconds as f64);
        self.in_force.insert(target, (until, finding.id));
        self.by_expiry.insert((until, target), finding.id);
        commands.push_back(Command::Enforce {
            verdict: Verdict {
                target,
                response: self.policy.response(),
                until: Some(until),
                origin: Origin::Finding { finding: finding.id, policy: self.policy.name.clone() },
                reason: finding.reasons.first().map(|reason| reason.value.clone()).unwrap_or_default(),
                shadow: self.policy.spec.mode == Mode::Shadow,
            },
            finding: finding.id,
        });
        Outcome::Asked
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
