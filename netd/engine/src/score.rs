//! From evidence to odds: named terms add up, and the sum says how sure the engine is and what that permits.

use crate::finding::{Kind, Reason, Severity};
use crate::weights;

/// What a term may do beyond moving the odds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// Counts as evidence of its kind for an automatic block.
    Independent,
    /// Moves the odds only: it tends to come with the other evidence by itself.
    Corroborating,
}

/// The terms of one case.
#[derive(Debug)]
pub(crate) struct Ledger {
    log_odds: f64,
    /// Independent evidence in favour, by kind.
    independent: [f64; Kind::COUNT],
    /// All evidence in favour other than timing.
    other: f64,
    /// None: only the sum is wanted, and no words are made.
    reasons: Option<Vec<Reason>>,
}

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self { log_odds: weights::PRIOR, independent: [0.0; Kind::COUNT], other: 0.0, reasons: None }
    }

    /// Begins a ledger that keeps its reasons.
    pub(crate) fn explained() -> Self {
        Self { reasons: Some(Vec::new()), ..Self::new() }
    }

    pub(crate) fn add(
        &mut self,
        evidence: &'static str,
        (kind, strength): (Kind, Strength),
        weight: f64,
        value: impl FnOnce() -> String,
    ) {
        self.log_odds += weight;
        if weight > 0.0 && strength == Strength::Independent {
            self.independent[kind as usize] += weight;
        }
        if weight > 0.0 && kind != Kind::Timing {
            self.other += weight;
        }
        if let Some(reasons) = &mut self.reasons {
            // For people: more digits would only differ between mathematical libraries.
            let weight = (weight * 1e3).round() / 1e3;
            reasons.push(Reason { evidence, kind, value: value(), weight });
        }
    }

    /// Returns the posterior probability.
    pub(crate) fn posterior(&self) -> f64 {
        1.0 / (1.0 + (-self.log_odds).exp())
    }

    pub(crate) fn is_finding(&self) -> bool {
        self.posterior() >= weights::FINDING
    }

    /// Returns whether the evidence suffices for an automatic block: sure enough, and not by one kind alone.
    pub(crate) fn suffices_for_block(&self) -> bool {
        let has_timing = self.independent[Kind::Timing as usize] >= weights::TIMING_KIND;
        let others = [Kind::Process, Kind::Destination, Kind::Content];
        let strong = others.iter().filter(|kind| self.independent[**kind as usize] >= weights::SECOND_KIND).count();
        self.posterior() >= weights::BLOCK && strong + usize::from(has_timing) >= 2
    }

    /// Returns how urgent a finding is: high only where a block would be justified.
    pub(crate) fn severity(&self, may_block: bool) -> Severity {
        if may_block {
            return if self.posterior() >= weights::CRITICAL { Severity::Critical } else { Severity::High };
        }
        let is_backed = self.other >= weights::MEDIUM_OTHER && self.posterior() >= weights::BLOCK;
        if is_backed { Severity::Medium } else { Severity::Low }
    }

    /// Returns the reasons, strongest first.
    pub(crate) fn into_reasons(self) -> Vec<Reason> {
        let mut reasons = self.reasons.unwrap_or_default();
        reasons.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()).then(a.evidence.cmp(b.evidence)));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEPENDENT: Strength = Strength::Independent;

    fn ledger(terms: &[(Kind, Strength, f64)]) -> Ledger {
        let mut ledger = Ledger::explained();
        for (kind, strength, weight) in terms {
            ledger.add("term", (*kind, *strength), *weight, String::new);
        }
        ledger
    }

    #[test]
    fn no_evidence_is_no_finding() {
        assert!(!Ledger::new().is_finding());
    }

    #[test]
    fn timing_alone_is_a_low_finding_and_never_a_block() {
        let ledger = ledger(&[(Kind::Timing, INDEPENDENT, 1_000.0)]);

        assert!(ledger.is_finding());
        assert!(!ledger.suffices_for_block());
        assert_eq!(ledger.severity(false), Severity::Low);
    }

    #[test]
    fn two_kinds_suffice_for_a_block() {
        let ledger = ledger(&[(Kind::Timing, INDEPENDENT, 12.0), (Kind::Process, INDEPENDENT, 3.0)]);

        assert!(ledger.suffices_for_block());
        assert!(ledger.severity(true) >= Severity::High);
    }

    #[test]
    fn corroboration_is_no_second_kind() {
        let ledger = ledger(&[(Kind::Timing, INDEPENDENT, 12.0), (Kind::Content, Strength::Corroborating, 5.0)]);

        assert!(ledger.posterior() > weights::BLOCK);
        assert!(!ledger.suffices_for_block());
    }

    #[test]
    fn the_strongest_reason_comes_first() {
        let reasons = ledger(&[(Kind::Timing, INDEPENDENT, 3.0), (Kind::Process, INDEPENDENT, -4.0)]).into_reasons();

        assert_eq!(reasons[0].weight, -4.0);
    }
}
