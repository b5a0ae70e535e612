//! What a finding tells others to look for.

use std::net::IpAddr;

use netd_engine::detect::Detector;
use netd_engine::finding::Finding;
use netd_engine::policy::Direction;

/// The far side of a finding: what is worth an indicator or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sought<'a> {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) name: Option<&'a str>,
    /// It is who opens the conversations.
    pub(crate) is_originator: bool,
}

impl<'a> Sought<'a> {
    pub(crate) fn of(finding: &'a Finding) -> Self {
        let pair = &finding.pair;
        let port = Some(pair.responder_port).filter(|port| *port != 0);
        let name = finding.name.as_deref().filter(|name| !name.is_empty());
        let detector = Detector::ALL.iter().find(|detector| detector.name() == finding.detector);
        let is_inbound = finding.decision.as_ref().is_some_and(|decision| decision.direction == Direction::Inbound);
        if is_inbound || detector.is_some_and(|detector| is_about_originator(*detector)) {
            return Self { address: Some(pair.originator), port, name: None, is_originator: true };
        }
        if name.is_some() && detector.is_some_and(|detector| is_about_names(*detector)) {
            return Self { address: None, port: None, name, is_originator: false };
        }
        Self { address: Some(pair.responder), port, name, is_originator: false }
    }
}

/// Whoever is addressed has done nothing.
const fn is_about_originator(detector: Detector) -> bool {
    match detector {
        Detector::PortScan | Detector::InboundScan | Detector::BruteForce | Detector::BindShell => true,
        Detector::Beacon
        | Detector::ThreatIntel
        | Detector::IcmpTunnel
        | Detector::Exfiltration
        | Detector::DnsTunnel
        | Detector::DnsBeacon
        | Detector::Dga
        | Detector::FastFlux
        | Detector::ReverseShell
        | Detector::HostReverseShell
        | Detector::PipedScript
        | Detector::TunnelTool
        | Detector::ProtocolPort
        | Detector::LongConnection => false,
    }
}

/// The responder is a resolver, which is everybody's.
const fn is_about_names(detector: Detector) -> bool {
    match detector {
        Detector::DnsTunnel | Detector::DnsBeacon | Detector::Dga | Detector::FastFlux => true,
        Detector::Beacon
        | Detector::ThreatIntel
        | Detector::PortScan
        | Detector::InboundScan
        | Detector::BruteForce
        | Detector::IcmpTunnel
        | Detector::Exfiltration
        | Detector::ReverseShell
        | Detector::HostReverseShell
        | Detector::BindShell
        | Detector::PipedScript
        | Detector::TunnelTool
        | Detector::ProtocolPort
        | Detector::LongConnection => false,
    }
}
