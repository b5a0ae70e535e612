//! What an analyst finds in the morning: one row an incident, the worst first.

use std::collections::BTreeMap;

use netd_engine::finding::{Finding, Severity};

use super::super::wire::seconds;

/// An incident as it was last told.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) finding: Finding,
    /// When it was first told, seconds of the day.
    pub(crate) first_s: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox(BTreeMap<u64, Incident>);

impl Inbox {
    pub(crate) fn take(&mut self, finding: Finding) {
        let first_s = self.0.get(&finding.id).map_or_else(|| seconds(finding.time), |known| known.first_s);
        self.0.insert(finding.id, Incident { finding, first_s });
    }

    /// Returns the incidents by severity, score, time.
    pub(crate) fn sorted(&self) -> Vec<&Incident> {
        let mut sorted: Vec<&Incident> = self.0.values().collect();
        sorted.sort_by(|a, b| {
            let (one, other) = (&a.finding, &b.finding);
            other
                .severity
                .cmp(&one.severity)
                .then(other.score.total_cmp(&one.score))
                .then(a.first_s.total_cmp(&b.first_s))
        });
        sorted
    }
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}
