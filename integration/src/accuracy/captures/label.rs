//! What an index says of a capture.

use std::net::IpAddr;

use super::replay::Finding;

/// What must be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    /// Any of these detectors answers the label; none: nothing is expected.
    detectors: &'static [&'static str],
    originator: Option<IpAddr>,
    responder: Option<IpAddr>,
    port: Option<u16>,
}

impl Label {
    /// Reads the kind, and the first `ORIGINATOR->RESPONDER[:PORT[/PROTOCOL]]` of the text, or `ADDRESS:PORT`.
    pub(crate) fn read(kind: &str, expected: &str) -> Self {
        let detectors = detectors(kind);
        let Some(words) = expected.split([' ', ',']).find(|word| word.contains("->")) else {
            let lone = expected.split([' ', ',']).find_map(|word| end(word).0.map(|address| (address, end(word).1)));
            let (responder, port) = lone.map_or((None, None), |(address, port)| (Some(address), port));
            return Self { detectors, originator: None, responder, port };
        };
        let (from, to) = words.split_once("->").unwrap_or((words, ""));
        let (responder, port) = end(to);
        // A scan has no one port.
        Self { detectors, originator: end(from).0, responder, port }
    }

    pub(crate) const fn is_expected(&self) -> bool {
        !self.detectors.is_empty()
    }

    pub(super) fn is_met_by(&self, finding: &Finding) -> bool {
        self.detectors.contains(&finding.detector.as_str())
            && self.originator.is_none_or(|known| known == finding.originator)
            && self.responder.is_none_or(|known| known == finding.responder)
            && self.port.is_none_or(|known| known == finding.responder_port)
    }

    /// Returns whether a finding is about the two ends of the label, whatever it says of them.
    pub(super) fn is_about(&self, finding: &Finding) -> bool {
        self.is_between(finding.originator, finding.responder)
    }

    pub(crate) fn is_between(&self, originator: IpAddr, responder: IpAddr) -> bool {
        let known = self.originator.is_some() || self.responder.is_some();
        known
            && self.originator.is_none_or(|known| known == originator)
            && self.responder.is_none_or(|known| known == responder)
    }
}

/// Which detectors answer a kind of capture.
fn detectors(kind: &str) -> &'static [&'static str] {
    match kind {
        "beacon" | "beacon-in-one-connection" => &["beacon"],
        "c2" => &["beacon", "reverse_shell", "protocol_port", "threat_intel", "exfiltration"],
        "icmp-tunnel" => &["icmp_tunnel"],
        "dns-tunnel" => &["dns_tunnel"],
        "scan" => &["port_scan"],
        "tunnel" => &["tunnel_tool", "protocol_port"],
        "bruteforce" => &["brute_force"],
        "reverse-shell" | "shell" => &["reverse_shell"],
        "exfiltration" | "exfil" => &["exfiltration"],
        "dga" => &["dga"],
        "fast-flux" => &["fast_flux"],
        _ => &[],
    }
}

/// Reads `ADDRESS`, `ADDRESS:PORT` or `ADDRESS:PORT/PROTOCOL`.
fn end(text: &str) -> (Option<IpAddr>, Option<u16>) {
    let text = text.split('/').next().unwrap_or(text);
    if let Ok(address) = text.parse() {
        return (Some(address), None);
    }
    match text.rsplit_once(':') {
        Some((address, port)) => match (address.parse().ok(), port.parse().ok()) {
            (Some(address), Some(port)) => (Some(address), Some(port)),
            _ => (None, None),
        },
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_label_names_two_ends_and_a_port() {
        let label = Label::read("beacon", "beacon 192.0.2.5->192.0.2.4:80/tcp, check-in about every 4.8 s");

        let expected =
            Label { detectors: &["beacon"], originator: ip("192.0.2.5"), responder: ip("192.0.2.4"), port: Some(80) };
        assert_eq!(label, expected);
    }

    #[test]
    fn a_scan_has_no_port() {
        let label = Label::read("scan", "192.0.2.8->198.51.100.52 port scan, 2000 probes in 23 s");

        assert_eq!((label.responder, label.port), (ip("198.51.100.52"), None));
    }

    #[test]
    fn a_lone_end_is_the_responder() {
        let label = Label::read("tunnel", "protocol tunnel 127.0.0.1:8888");

        assert_eq!((label.originator, label.responder, label.port), (None, ip("127.0.0.1"), Some(8_888)));
    }

    #[test]
    fn a_kind_that_nobody_knows_expects_nothing() {
        assert!(!Label::read("web", "no finding").is_expected());
        assert!(Label::read("bruteforce", "ssh brute force").is_expected());
    }
}
