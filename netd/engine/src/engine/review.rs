//! Looks again at findings that rest on a destination few used: others may have come since, as they do to the fleet's
//! software. What was found may be over by then, so that no evidence would bring it up again.

use super::judge::AGAIN_AFTER_NS;
use super::{Command, Engine};
use crate::detect::{self, Detector};
use crate::finding::{Finding, Severity};
use crate::policy::Case;
use crate::score::Ledger;
use crate::slab::Handle;
use crate::time::Timestamp;
use crate::weights::Term;

/// A finding as it would be told again.
struct Reviewed {
    incident: Handle,
    finding: Finding,
    log_odds: f64,
}

impl Engine {
    /// Tells the findings whose severity falls because their destination is common by now.
    pub(super) fn review(&mut self) {
        if self.now_ns < self.review_ns {
            return;
        }
        self.review_ns = self.now_ns.saturating_add(AGAIN_AFTER_NS);
        for Reviewed { incident, finding, log_odds } in self.explained() {
            let mut finding = self.incidents.tell(incident, finding, log_odds, None);
            finding.decision =
                Some(self.verdicts.peek(&Case { finding: &finding, direction: self.direction(&finding) }));
            self.commands.push_back(Command::Report(Box::new(finding)));
        }
    }

    fn explained(&self) -> Vec<Reviewed> {
        let due = |finding: &Finding| self.now_ns.saturating_sub(finding.time.0) >= AGAIN_AFTER_NS;
        let rare = self.incidents.rare().filter(|(_, _, finding, _)| due(finding));
        rare.filter_map(|(incident, detector, finding, rare)| {
            let told = finding.severity;
            let prevalence = self.histories.prevalence(&rare.pair, rare.resolved.as_deref());
            let mut ledger = self.without_prevalence(detector, finding);
            detect::add_prevalence(prevalence, false, &mut ledger);
            let is_sure = rare.is_sure && ledger.suffices_for_block();
            let severity = if ledger.is_finding() { ledger.severity(is_sure) } else { Severity::Info };
            let log_odds = ledger.log_odds();
            let finding = Finding {
                time: Timestamp(self.now_ns),
                severity,
                score: ledger.posterior(),
                block: finding.block && is_sure,
                reasons: ledger.into_reasons(),
                ..finding.clone()
            };
            Some(Reviewed { incident, finding, log_odds }).filter(|_| severity < told)
        })
        .collect()
    }

    fn without_prevalence(&self, detector: Detector, finding: &Finding) -> Ledger<'_> {
        let is_prevalence = |term| matches!(term, Term::RareDestination | Term::CommonDestination);
        Ledger::again(&self.weights, detector, &finding.reasons, is_prevalence)
    }
}
