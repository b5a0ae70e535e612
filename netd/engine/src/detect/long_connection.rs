//! Connections that stay open for hours, weighed by how much they are used and by whom.

use serde::Deserialize;

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::opening::Facts;
use crate::score::Ledger;
use crate::weights::Term;

/// Thresholds: see `weights.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub hours: [f64; 4],
    pub hardly: f64,
    pub steadily: f64,
}

impl Thresholds {
    /// Returns how many thresholds an age has passed.
    pub(crate) fn steps(&self, age_s: f64) -> u8 {
        self.hours.iter().filter(|hours| age_s >= **hours * 3_600.0).count() as u8
    }
}

/// A connection that has passed a threshold.
pub(crate) struct Lasting {
    pub(crate) age_s: f64,
    pub(crate) steps: u8,
    /// Payload of both directions.
    pub(crate) bytes: u64,
    pub(crate) is_two_way: bool,
}

impl Lasting {
    fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.age_s.max(1.0)
    }
}

impl Evidence for Lasting {
    fn detector(&self) -> Detector {
        Detector::LongConnection
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().long_connection;
        let value = || format!("open for {:.1} h", self.age_s / 3_600.0);
        ledger.add_times(Term::OpenForHours, f64::from(self.steps), value);
        let rate = self.bytes_per_second();
        let value = || format!("{rate:.1} payload bytes a second");
        if rate < thresholds.hardly {
            ledger.add(Term::HardlyUsed, value);
        } else if rate >= thresholds.steadily {
            ledger.add(Term::SteadilyUsed, value);
        }
        if context.facts.has(Facts::TLS_WITHOUT_NAME) {
            ledger.add(Term::TlsWithoutName, || "TLS without a server name".to_owned());
        }
        if context.facts.has(Facts::SELF_SIGNED) {
            ledger.add(Term::SelfSigned, || "the server's certificate is self-signed".to_owned());
        }
        super::protocol_port::weigh_port(context, ledger);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let pair = &context.pair;
        let whom = context.name.map_or_else(|| pair.responder.to_string(), |name| name.to_string());
        format!("connection to {whom} port {} open for {:.1} h", pair.responder_port, self.age_s / 3_600.0)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::ApplicationProtocol]
    }

    fn is_two_way(&self) -> bool {
        self.is_two_way
    }

    fn is_policy(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::weights::Weights;

    #[test]
    fn each_threshold_is_a_step() {
        let thresholds = Weights::default().long_connection;

        let steps = [0.9, 1.0, 4.5, 8.0, 13.0].map(|hours| thresholds.steps(hours * 3_600.0));

        assert_eq!(steps, [0, 1, 2, 3, 4]);
    }
}
