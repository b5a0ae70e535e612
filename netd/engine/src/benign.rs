//! Timers that every network has: keys that are no beacon candidates, each by name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::finding::Pair;
use crate::flow::protocol_name;
use crate::opening::Facts;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A benign class that is excluded before any history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    TimeService,
    NameService,
    AddressAssignment,
    ServiceDiscovery,
    CloudMetadata,
    MetricsScrape,
    HealthProbe,
    InternalPolling,
}

/// What the exclusion looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) pair: &'a Pair,
    pub(crate) facts: Facts,
    /// The responder is monitored, too.
    pub(crate) is_internal: bool,
}

impl Class {
    const ALL: [Self; 8] = [
        Self::TimeService,
        Self::NameService,
        Self::AddressAssignment,
        Self::ServiceDiscovery,
        Self::CloudMetadata,
        Self::MetricsScrape,
        Self::HealthProbe,
        Self::InternalPolling,
    ];

    /// Returns the class that a candidate belongs to.
    pub(crate) fn of(candidate: &Candidate<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.holds(candidate))
    }

    fn holds(self, candidate: &Candidate<'_>) -> bool {
        let Candidate { pair, facts, is_internal } = *candidate;
        let (proto, port) = (pair.proto, pair.responder_port);
        match self {
            // A time server speaks NTP, a resolver DNS; whoever only borrows their ports does not.
            Self::TimeService => proto == UDP && port == 123 && !facts.has(Facts::NOT_NTP),
            Self::NameService => port == 53 && !facts.has(Facts::NOT_DNS),
            Self::AddressAssignment => proto == UDP && matches!(port, 67 | 68 | 546 | 547),
            // mDNS, SSDP, LLMNR, WS-Discovery, NetBIOS name and datagram service: none of them leaves its network.
            Self::ServiceDiscovery => {
                let is_port = matches!(port, 5353 | 1900 | 5355 | 3702 | 137 | 138);
                proto == UDP && (is_internal && is_port || is_likely_broadcast(pair))
            }
            Self::CloudMetadata => is_metadata(pair.responder),
            Self::MetricsScrape => is_internal && facts.has(Facts::SCRAPE),
            Self::HealthProbe => is_internal && facts.has(Facts::PROBE),
            Self::InternalPolling => is_internal && is_polled(proto, port),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::TimeService => "time service",
            Self::NameService => "name resolution",
            Self::AddressAssignment => "address assignment",
            Self::ServiceDiscovery => "service discovery",
            Self::CloudMetadata => "cloud metadata",
            Self::MetricsScrape => "metrics scrape",
            Self::HealthProbe => "health probe",
            Self::InternalPolling => "device polling",
        }
    }

    /// Returns why the class does not explain a candidate.
    fn objection(self, candidate: &Candidate<'_>) -> String {
        let Candidate { pair, facts, is_internal } = *candidate;
        let port = pair.responder_port;
        match self {
            Self::TimeService if pair.proto == UDP && port == 123 => "the payload on port 123 is not NTP".to_owned(),
            Self::NameService if port == 53 => "the payload on port 53 is not DNS".to_owned(),
            Self::ServiceDiscovery if !is_internal => format!("{} is outside", pair.responder),
            Self::TimeService | Self::NameService | Self::AddressAssignment | Self::ServiceDiscovery => {
                format!("{}/{port} is none of its ports", protocol_name(pair.proto))
            }
            Self::CloudMetadata => format!("{} is no metadata address", pair.responder),
            Self::MetricsScrape | Self::HealthProbe if facts.has(Facts::HTTP) => "no such request was seen".to_owned(),
            Self::MetricsScrape | Self::HealthProbe => "no clear HTTP request was seen".to_owned(),
            Self::InternalPolling if !is_internal => format!("{} is outside", pair.responder),
            Self::InternalPolling => format!("port {port} is no device protocol's"),
        }
    }
}

/// Lists the classes that come near a candidate, each with why it was rejected.
pub(crate) fn considered(candidate: &Candidate<'_>) -> Vec<String> {
    Class::ALL.into_iter().map(|class| format!("{class}: {}", class.objection(candidate))).collect()
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Instance metadata of the large clouds, and the host agent of one of them.
fn is_metadata(address: IpAddr) -> bool {
    const V4: [Ipv4Addr; 4] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(169, 254, 170, 2),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => V4.contains(&v4),
        IpAddr::V6(v6) => v6 == V6,
    }
}

/// The last address of a private /24: directed broadcast in nearly every such network, and nobody's server.
fn is_likely_broadcast(pair: &Pair) -> bool {
    matches!(pair.responder, IpAddr::V4(v4) if v4.is_private() && v4.octets()[3] == 255)
}

/// SNMP, Zabbix, Munin, S7, Modbus, IEC 104, DNP3, EtherNet/IP, BACnet, NRPE.
const fn is_polled(proto: u8, port: u16) -> bool {
    match proto {
        TCP => matches!(port, 102 | 502 | 2404 | 20000 | 44818 | 4949 | 5666 | 10050 | 10051),
        UDP => matches!(port, 161 | 162 | 47808),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(responder: &str, port: u16, proto: u8, facts: Facts, is_internal: bool) -> Option<Class> {
        let pair = Pair {
            originator: "10.0.0.7".parse().unwrap(),
            responder: responder.parse().unwrap(),
            responder_port: port,
            proto,
        };
        Class::of(&Candidate { pair: &pair, facts, is_internal })
    }

    #[test]
    fn the_timers_of_every_network_are_excluded_by_name() {
        let none = Facts::default();
        assert_eq!(class("203.0.113.1", 123, UDP, none, false), Some(Class::TimeService));
        assert_eq!(class("9.9.9.9", 53, UDP, none, false), Some(Class::NameService));
        assert_eq!(class("169.254.169.254", 80, TCP, none, true), Some(Class::CloudMetadata));
        assert_eq!(class("fd00:ec2::254", 80, TCP, none, true), Some(Class::CloudMetadata));
        assert_eq!(class("10.0.0.9", 502, TCP, none, true), Some(Class::InternalPolling));
        assert_eq!(class("10.0.0.9", 9100, TCP, Facts::SCRAPE, true), Some(Class::MetricsScrape));
        assert_eq!(class("192.168.1.255", 6667, UDP, none, true), Some(Class::ServiceDiscovery));
    }

    #[test]
    fn a_disguise_is_not_excluded() {
        assert_eq!(class("198.51.100.9", 53, UDP, Facts::NOT_DNS, false), None, "not DNS on its port");
        assert_eq!(class("198.51.100.9", 123, UDP, Facts::NOT_NTP, false), None, "not NTP on its port");
        assert_eq!(class("198.51.100.9", 80, TCP, Facts::SCRAPE, false), None, "a scrape of somebody else's server");
        assert_eq!(class("198.51.100.9", 502, TCP, Facts::default(), false), None, "a device far away");
        assert_eq!(class("198.51.100.9", 5355, UDP, Facts::default(), false), None, "discovery of somebody far away");
        assert_eq!(class("198.51.100.9", 123, TCP, Facts::default(), false), None, "time over TCP");
    }
}
