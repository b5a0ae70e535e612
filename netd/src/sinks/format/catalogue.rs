//! What Suricata's readers expect of a rule, for each detector: a number for good, and a class.

use netd_engine::detect::Detector;

/// EVE's `gid`: signature numbers below it are netd's.
pub(super) const GENERATOR: u32 = 9_100;

/// A detector as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// Never given to another detector.
    pub(super) id: u32,
    /// Description of the class, as in Suricata's `classification.config`.
    pub(super) category: &'static str,
}

/// Returns the signature of a detector, by the name that findings bear.
pub(super) fn signature(detector: &str) -> Signature {
    let known = Detector::ALL.iter().find(|known| known.name() == detector);
    known.map_or(Signature { id: 9_100_000, category: "Misc activity" }, |detector| of(*detector))
}

const fn of(detector: Detector) -> Signature {
    const C2: &str = "Malware Command and Control Activity Detected";
    const TROJAN: &str = "A Network Trojan was detected";
    const SCAN: &str = "Detection of a Network Scan";
    const LEAK: &str = "Potential Corporate Privacy Violation";
    const ODD: &str = "Potentially Bad Traffic";
    let (id, category) = match detector {
        Detector::Beacon => (9_100_001, C2),
        Detector::ThreatIntel => (9_100_002, C2),
        Detector::PortScan => (9_100_003, SCAN),
        Detector::InboundScan => (9_100_004, SCAN),
        Detector::BruteForce => (9_100_005, "Attempted User Privilege Gain"),
        Detector::IcmpTunnel => (9_100_006, C2),
        Detector::Exfiltration => (9_100_007, LEAK),
        Detector::DnsTunnel => (9_100_008, C2),
        Detector::DnsBeacon => (9_100_009, C2),
        Detector::Dga => (9_100_010, "Domain Observed Used for C2 Detected"),
        Detector::FastFlux => (9_100_011, "Domain Observed Used for C2 Detected"),
        Detector::ReverseShell => (9_100_012, TROJAN),
        Detector::HostReverseShell => (9_100_013, TROJAN),
        Detector::BindShell => (9_100_014, TROJAN),
        Detector::PipedScript => (9_100_015, TROJAN),
        Detector::TunnelTool => (9_100_016, LEAK),
        Detector::ProtocolPort => (9_100_017, ODD),
        Detector::LongConnection => (9_100_018, ODD),
    };
    Signature { id, category }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_detectors_share_a_number() {
        let ids: BTreeSet<u32> = Detector::ALL.iter().map(|detector| signature(detector.name()).id).collect();

        assert_eq!(ids.len(), Detector::ALL.len());
        assert!(!ids.contains(&signature("of another version").id));
    }
}
