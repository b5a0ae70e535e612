//! Protocols where they are not at home: what the first bytes say against what the port promises.

use serde::Deserialize;

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::opening::{Facts, Protocol};
use crate::score::Ledger;
use crate::weights::Term;

const TCP: u8 = 6;

/// Ports on which nothing but TLS is expected.
const ONLY_TLS: [u16; 2] = [443, 8443];

/// Thresholds: see `weights.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub rare_share: f64,
    pub suspicious: Vec<u16>,
}

/// A protocol away from its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    Known(Protocol),
    /// Printable, on a port for TLS.
    Text,
    NoDns,
    NoNtp,
}

impl Misplaced {
    /// Returns what is out of place in a conversation, if anything is.
    pub(crate) fn of(protocol: Protocol, facts: Facts, proto: u8, port: u16) -> Option<Self> {
        if facts.has(Facts::NOT_DNS) {
            return Some(Self::NoDns);
        }
        if facts.has(Facts::NOT_NTP) {
            return Some(Self::NoNtp);
        }
        if proto != TCP {
            return None;
        }
        let is_misplaced = protocol.is_known() && !protocol.is_at_home(proto, port);
        let is_text = protocol == Protocol::Text && ONLY_TLS.contains(&port);
        is_misplaced.then_some(Self::Known(protocol)).or(is_text.then_some(Self::Text))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Known(protocol) => protocol.name(),
            Self::Text => "clear text of no known protocol",
            Self::NoDns => "something other than dns",
            Self::NoNtp => "something other than ntp",
        }
    }

    /// TLS and HTTP are used on any port; what hides behind a well-known one is odder.
    fn term(self) -> Term {
        let is_web = [Protocol::Tls, Protocol::Http, Protocol::Http2].map(Self::Known).contains(&self);
        if is_web { Term::MisplacedWeb } else { Term::MisplacedProtocol }
    }
}

/// A conversation that speaks another protocol than its port promises.
pub(crate) struct Stranger {
    pub(crate) misplaced: Misplaced,
    pub(crate) is_two_way: bool,
}

impl Evidence for Stranger {
    fn detector(&self) -> Detector {
        Detector::ProtocolPort
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let port = context.pair.responder_port;
        ledger.add(self.misplaced.term(), || format!("{} on port {port}", self.misplaced.name()));
        weigh_port(context, ledger);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let pair = &context.pair;
        let whom = context.name.map_or_else(|| pair.responder.to_string(), |name| name.to_string());
        format!("{} on port {} of {whom}", self.misplaced.name(), pair.responder_port)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        match self.misplaced {
            Misplaced::Known(Protocol::Ssh) => vec![Technique::NonStandardPort, Technique::ProtocolTunneling],
            Misplaced::NoDns => vec![Technique::NonStandardPort, Technique::Dns],
            Misplaced::Known(_) | Misplaced::Text | Misplaced::NoNtp => vec![Technique::NonStandardPort],
        }
    }

    fn is_two_way(&self) -> bool {
        self.is_two_way
    }

    fn may_block(&self) -> bool {
        false
    }
}

/// Adds what the port itself says, for any detector: little, and only where the protocol does not belong there.
pub(crate) fn weigh_port(context: &Context<'_>, ledger: &mut Ledger<'_>) {
    let thresholds = &ledger.weights().protocol_port;
    if is_suspicious(context, &thresholds.suspicious) {
        let port = context.pair.responder_port;
        ledger.add(Term::SuspiciousPort, || format!("port {port}, which handlers use by default"));
    }
}

/// Returns whether the protocol does not belong to the port, and the port is one of `suspicious` (if any are given).
pub(crate) fn is_suspicious(context: &Context<'_>, suspicious: &[u16]) -> bool {
    let (facts, port) = (context.facts, context.pair.responder_port);
    let is_misplaced = |fact, protocol: Protocol| facts.has(fact) && !protocol.is_at_home(context.pair.proto, port);
    // What speaks nothing known is at home nowhere.
    let is_unknown = (facts.has(Facts::TEXT) || facts.has(Facts::BINARY)) && !facts.has(Facts::TLS);
    let is_stranger =
        is_unknown || is_misplaced(Facts::TLS, Protocol::Tls) || is_misplaced(Facts::HTTP, Protocol::Http);
    is_stranger && (suspicious.is_empty() || suspicious.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(protocol: Protocol, port: u16) -> Option<Misplaced> {
        Misplaced::of(protocol, Facts::default(), TCP, port)
    }

    #[test]
    fn protocols_are_at_home_at_their_ports() {
        assert_eq!(of(Protocol::Tls, 443), None);
        assert_eq!(of(Protocol::Http, 8080), None);
        assert_eq!(of(Protocol::Ssh, 22), None);
        assert_eq!(of(Protocol::Text, 25), None, "text is no protocol's sign");
        assert_eq!(of(Protocol::BitTorrent, 443), None, "it lives on any port");
    }

    #[test]
    fn elsewhere_they_are_strangers() {
        assert_eq!(of(Protocol::Ssh, 443), Some(Misplaced::Known(Protocol::Ssh)));
        assert_eq!(of(Protocol::Tls, 4444), Some(Misplaced::Known(Protocol::Tls)));
        assert_eq!(of(Protocol::Text, 443), Some(Misplaced::Text));
        assert_eq!(Misplaced::of(Protocol::Binary, Facts::NOT_DNS, 17, 53), Some(Misplaced::NoDns));
        assert_eq!(Misplaced::of(Protocol::Unknown, Facts::NOT_NTP, 17, 123), Some(Misplaced::NoNtp));
    }
}
