//! From evidence to odds: named terms add up, and the sum says how sure the engine is and what that permits.

use crate::detect::Detector;
use crate::finding::{Kind, Reason, Severity};
use crate::weights::{Start, Term, Weights};

/// The terms of one case.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    weights: &'a Weights,
    start: Start,
    log_odds: f64,
    /// Independent evidence in favour, by kind.
    independent: [f64; Kind::COUNT],
    /// All evidence in favour other than timing.
    other: f64,
    /// None: only the sum is wanted, and no words are made.
    reasons: Option<Vec<Reason>>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(weights: &'a Weights, detector: Detector) -> Self {
        let start = weights.start(detector);
        Self { weights, start, log_odds: start.prior, independent: [0.0; Kind::COUNT], other: 0.0, reasons: None }
    }

    /// Begins a ledger that keeps its reasons.
    pub(crate) fn explained(weights: &'a Weights, detector: Detector) -> Self {
        Self { reasons: Some(Vec::new()), ..Self::new(weights, detector) }
    }

    /// Begins a ledger with reasons of another that kept them, but for those that `leaves_out`.
    pub(crate) fn again(
        weights: &'a Weights,
        detector: Detector,
        reasons: &[Reason],
        leaves_out: impl Fn(Term) -> bool,
    ) -> Self {
        let mut ledger = Self::explained(weights, detector);
        for reason in reasons {
            let term = Term::ALL.iter().find(|term| term.name() == reason.evidence);
            if let Some(term) = term.filter(|term| !leaves_out(**term)) {
                ledger.put(*term, reason.weight, || reason.value.clone());
            }
        }
        ledger
    }

    pub(crate) const fn weights(&self) -> &'a Weights {
        self.weights
    }

    /// Adds a term at its weight. `value` says what was measured, in words with numbers.
    pub(crate) fn add(&mut self, term: Term, value: impl FnOnce() -> String) {
        self.add_times(term, 1.0, value);
    }

    /// Adds a term at `times` its weight.
    pub(crate) fn add_times(&mut self, term: Term, times: f64, value: impl FnOnce() -> String) {
        self.put(term, self.weights.worth(term).weight * times, value);
    }

    fn put(&mut self, term: Term, weight: f64, value: impl FnOnce() -> String) {
        let worth = self.weights.worth(term);
        self.log_odds += weight;
        if weight > 0.0 && worth.independent {
            self.independent[worth.kind as usize] += weight;
        }
        if weight > 0.0 && worth.kind != Kind::Timing {
            self.other += weight;
        }
        if let Some(reasons) = &mut self.reasons {
            // For people: more digits would only differ between mathematical libraries.
            let weight = (weight * 1e3).round() / 1e3;
            reasons.push(Reason { evidence: term.name(), kind: worth.kind, value: value(), weight });
        }
    }

    /// Returns the sum so far, nats.
    pub(crate) const fn log_odds(&self) -> f64 {
        self.log_odds
    }

    /// Returns the posterior probability.
    pub(crate) fn posterior(&self) -> f64 {
        1.0 / (1.0 + (-self.log_odds).exp())
    }

    pub(crate) fn is_finding(&self) -> bool {
        self.posterior() >= self.weights.score.finding
    }

    /// Returns whether the evidence suffices for an automatic block: sure enough, and not by one kind alone.
    pub(crate) fn suffices_for_block(&self) -> bool {
        let score = &self.weights.score;
        let has_timing = self.independent[Kind::Timing as usize] >= score.timing_kind;
        let others = [Kind::Process, Kind::Destination, Kind::Content];
        let strong = others.iter().filter(|kind| self.independent[**kind as usize] >= score.second_kind).count();
        self.posterior() >= score.block && strong + usize::from(has_timing) >= 2
    }

    /// Returns how urgent a finding is: high only where a block would be justified, and no more than its impact allows.
    pub(crate) fn severity(&self, may_block: bool) -> Severity {
        let score = &self.weights.score;
        let is_backed = self.other >= score.medium_other && self.posterior() >= score.block;
        let severity = match may_block {
            true if self.posterior() >= score.critical => Severity::Critical,
            true => Severity::High,
            false if is_backed => self.start.sure,
            false => Severity::Low,
        };
        severity.max(self.start.least.unwrap_or(Severity::Info)).min(self.start.most)
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

    fn ledger<'a>(weights: &'a Weights, terms: &[(Term, f64)]) -> Ledger<'a> {
        let mut ledger = Ledger::explained(weights, Detector::Beacon);
        for (term, times) in terms {
            ledger.add_times(*term, *times, String::new);
        }
        ledger
    }

    #[test]
    fn no_evidence_is_no_finding() {
        assert!(!Ledger::new(&Weights::default(), Detector::Beacon).is_finding());
    }

    #[test]
    fn timing_alone_is_a_low_finding_and_never_a_block() {
        let weights = Weights::default();
        let ledger = ledger(&weights, &[(Term::IntervalRegularity, 1_000.0)]);

        assert!(ledger.is_finding());
        assert!(!ledger.suffices_for_block());
        assert_eq!(ledger.severity(false), Severity::Low);
    }

    #[test]
    fn two_kinds_suffice_for_a_block() {
        let weights = Weights::default();
        let ledger = ledger(&weights, &[(Term::IntervalRegularity, 12.0), (Term::TemporaryExecutable, 1.0)]);

        assert!(ledger.suffices_for_block());
        assert!(ledger.severity(true) >= Severity::High);
    }

    #[test]
    fn corroboration_is_no_second_kind() {
        let weights = Weights::default();
        let ledger = ledger(&weights, &[(Term::IntervalRegularity, 12.0), (Term::SizesAlike, 5.0)]);

        assert!(ledger.posterior() > weights.score.block);
        assert!(!ledger.suffices_for_block());
    }

    #[test]
    fn the_strongest_reason_comes_first() {
        let weights = Weights::default();
        let terms = [(Term::IntervalRegularity, 3.0), (Term::PackagedExecutable, 1.0)];

        assert_eq!(ledger(&weights, &terms).into_reasons()[0].evidence, "packaged_executable");
    }
}
