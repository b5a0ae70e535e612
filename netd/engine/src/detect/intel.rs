//! Threat intelligence: a destination or a TLS client that a list of the operator's accuses.

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::score::Ledger;

/// A conversation with a listed end. The match itself is a term of the context, because it speaks for other
/// detectors' findings, too.
pub(crate) struct Match {
    /// Payload went both ways.
    pub(crate) is_answered: bool,
}

impl Evidence for Match {
    fn detector(&self) -> Detector {
        Detector::ThreatIntel
    }

    fn weigh(&self, _context: &Context<'_>, _ledger: &mut Ledger<'_>) {}

    fn title(&self, context: &Context<'_>) -> String {
        let whom = context.name.map_or_else(|| context.pair.responder.to_string(), |name| name.to_string());
        match context.listed.first() {
            Some(listed) => format!("{whom}: {} is on the list {}", listed.indicator, listed.list),
            None => format!("{whom} is listed"),
        }
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::ApplicationProtocol]
    }

    fn is_two_way(&self) -> bool {
        self.is_answered
    }
}
