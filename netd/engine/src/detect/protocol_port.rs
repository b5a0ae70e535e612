//! Protocols where they are not at home: what the first bytes say against what the port promises.

use serde::Deserialize;

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::opening::Facts;
use crate::score::Ledger;
use crate::weights::Term;

const TCP: u8 = 6;

/// Ports at which a protocol is expected, by what is heard.
const TLS_PORTS: [u16; 31] = [
    443, 465, 563, 587, 636, 853, 989, 990, 992, 993, 994, 995, 1443, 2376, 2484, 3269, 4433, 4443, 5061, 5223, 5228,
    5349, 5671, 5986, 6443, 6514, 6697, 8443, 8883, 9443, 10250,
];
const HTTP_PORTS: [u16; 22] = [
    80, 81, 591, 631, 2375, 3000, 3128, 5000, 5357, 5985, 8000, 8008, 8080, 8081, 8088, 8123, 8888, 9000, 9090, 9100,
    9200, 2869,
];
const SSH_PORTS: [u16; 2] = [22, 2222];
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
    Ssh,
    Tls,
    Http,
    /// Printable, on a port for TLS.
    Text,
    NoDns,
    NoNtp,
}

impl Misplaced {
    /// Returns what is out of place in a conversation, if anything is.
    pub(crate) fn of(facts: Facts, speaks_ssh: bool, proto: u8, port: u16) -> Option<Self> {
        if facts.has(Facts::NOT_DNS) {
            return Some(Self::NoDns);
        }
        if facts.has(Facts::NOT_NTP) {
            return Some(Self::NoNtp);
        }
        if proto != TCP {
            return None;
        }
        let is_only_tls = ONLY_TLS.contains(&port);
        match () {
            () if speaks_ssh => (!SSH_PORTS.contains(&port)).then_some(Self::Ssh),
            () if facts.has(Facts::TLS) => (!TLS_PORTS.contains(&port)).then_some(Self::Tls),
            () if facts.has(Facts::HTTP) => (!HTTP_PORTS.contains(&port)).then_some(Self::Http),
            () if facts.has(Facts::TEXT) && is_only_tls => Some(Self::Text),
            () => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ssh => "SSH",
            Self::Tls => "TLS",
            Self::Http => "clear HTTP",
            Self::Text => "clear text of no known protocol",
            Self::NoDns => "something other than DNS",
            Self::NoNtp => "something other than NTP",
        }
    }

    /// TLS and HTTP are used on any port; what hides behind a well-known one is odder.
    const fn term(self) -> Term {
        match self {
            Self::Tls | Self::Http => Term::MisplacedWeb,
            Self::Ssh | Self::Text | Self::NoDns | Self::NoNtp => Term::MisplacedProtocol,
        }
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
            Misplaced::Ssh => vec![Technique::NonStandardPort, Technique::ProtocolTunneling],
            Misplaced::NoDns => vec![Technique::NonStandardPort, Technique::Dns],
            Misplaced::Tls | Misplaced::Http | Misplaced::Text | Misplaced::NoNtp => vec![Technique::NonStandardPort],
        }
    }

    fn is_two_way(&self) -> bool {
        self.is_two_way
    }

    fn is_policy(&self) -> bool {
        true
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
    let is_misplaced = Misplaced::of(facts, false, context.pair.proto, port).is_some();
    // What speaks nothing known is at home nowhere.
    let is_unknown = (facts.has(Facts::TEXT) || facts.has(Facts::BINARY)) && !facts.has(Facts::TLS);
    (is_misplaced || is_unknown) && (suspicious.is_empty() || suspicious.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_at_home_at_their_ports() {
        assert_eq!(Misplaced::of(Facts::TLS, false, TCP, 443), None);
        assert_eq!(Misplaced::of(Facts::HTTP, false, TCP, 8080), None);
        assert_eq!(Misplaced::of(Facts::BINARY, true, TCP, 22), None);
        assert_eq!(Misplaced::of(Facts::TEXT, false, TCP, 25), None, "text is no protocol's sign");
        assert_eq!(Misplaced::of(Facts::DNS, false, 17, 53), None);
    }

    #[test]
    fn elsewhere_they_are_strangers() {
        assert_eq!(Misplaced::of(Facts::TLS, false, TCP, 4444), Some(Misplaced::Tls));
        assert_eq!(Misplaced::of(Facts::HTTP, false, TCP, 443), Some(Misplaced::Http));
        assert_eq!(Misplaced::of(Facts::TEXT, true, TCP, 443), Some(Misplaced::Ssh));
        assert_eq!(Misplaced::of(Facts::TEXT, false, TCP, 443), Some(Misplaced::Text));
        assert_eq!(Misplaced::of(Facts::NOT_DNS, false, 17, 53), Some(Misplaced::NoDns));
    }
}
