//! Services that every network has, as the operator's file names them: what is no candidate at all, and what speaks
//! against a finding.

mod file;
mod pattern;

use std::net::IpAddr;
use std::sync::Arc;

pub use file::{Effect, Error, SHIPPED};
pub(crate) use pattern::Candidate;
use pattern::{Names, Pattern};

/// One service.
#[derive(Clone, Debug, PartialEq)]
struct Service {
    name: Arc<str>,
    effect: Effect,
    pattern: Pattern,
}

/// All services of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Services {
    services: Vec<Service>,
    names: Names,
}

/// A service, by its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceId(u16);

impl Services {
    /// Returns the service whose traffic is no candidate and to which this belongs.
    pub(crate) fn excluding(&self, candidate: &Candidate<'_>) -> Option<ServiceId> {
        let holds = |service: &Service| service.effect == Effect::Exclude && service.pattern.holds(candidate);
        self.services.iter().position(holds).map(|at| ServiceId(at as u16))
    }

    /// Returns the service that explains traffic to a destination. `name` is what DNS told the client.
    pub(crate) fn explaining(&self, candidate: &Candidate<'_>, name: Option<&str>) -> Option<&Arc<str>> {
        let by_name = name.and_then(|name| self.names.find(name));
        let holds = |service: &&Service| service.effect == Effect::Explain && service.pattern.holds(candidate);
        let service = match by_name {
            Some(at) => self.services.get(at).filter(holds),
            None => self.services.iter().filter(|service| !service.pattern.has_names()).find(holds),
        };
        service.map(|service| &service.name)
    }

    pub(crate) fn name(&self, id: ServiceId) -> &str {
        self.services.get(usize::from(id.0)).map_or("", |service| &service.name)
    }

    /// Lists the excluded services, each with why it does not explain a candidate.
    pub(crate) fn objections(&self, candidate: &Candidate<'_>) -> Vec<String> {
        let excluded = self.services.iter().filter(|service| service.effect == Effect::Exclude);
        let objections = excluded.filter_map(|service| Some((service, service.pattern.objection(candidate)?)));
        objections.map(|(service, why)| format!("{}: {why}", service.name)).collect()
    }
}

impl Default for Services {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    fn default() -> Self {
        Self::read(SHIPPED).expect("the shipped services can be read")
    }
}

/// The last address of a private /24.
fn is_likely_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_private() && v4.octets()[3] == 255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Pair;
    use crate::opening::Facts;

    const TCP: u8 = 6;
    const UDP: u8 = 17;

    fn pair(responder: &str, port: u16, proto: u8) -> Pair {
        Pair {
            originator: "10.0.0.7".parse().unwrap(),
            responder: responder.parse().unwrap(),
            responder_port: port,
            proto,
        }
    }

    fn excluded(responder: &str, port: u16, proto: u8, facts: Facts, is_internal: bool) -> Option<String> {
        let services = Services::default();
        let pair = pair(responder, port, proto);
        let id = services.excluding(&Candidate { pair: &pair, facts, is_internal })?;
        Some(services.name(id).to_owned())
    }

    #[test]
    fn the_timers_of_every_network_are_excluded_by_name() {
        let none = Facts::default();
        let is = |got: Option<String>, name: &str| assert_eq!(got.as_deref(), Some(name));
        is(excluded("203.0.113.1", 123, UDP, none, false), "time service");
        is(excluded("9.9.9.9", 53, UDP, none, false), "name resolution");
        is(excluded("169.254.169.254", 80, TCP, none, true), "cloud metadata");
        is(excluded("fd00:ec2::254", 80, TCP, none, true), "cloud metadata");
        is(excluded("10.0.0.9", 502, TCP, none, true), "device polling");
        is(excluded("10.0.0.9", 9100, TCP, Facts::SCRAPE, true), "metrics scrape");
        is(excluded("192.168.1.255", 6667, UDP, none, true), "local broadcast");
    }

    #[test]
    fn a_disguise_is_not_excluded() {
        let none = Facts::default();
        assert_eq!(excluded("198.51.100.9", 53, UDP, Facts::NOT_DNS, false), None, "not DNS on its port");
        assert_eq!(excluded("198.51.100.9", 80, TCP, Facts::SCRAPE, false), None, "somebody else's server");
        assert_eq!(excluded("198.51.100.9", 502, TCP, none, false), None, "a device far away");
        assert_eq!(excluded("198.51.100.9", 5355, UDP, none, false), None, "discovery of somebody far away");
        assert_eq!(excluded("198.51.100.9", 123, TCP, none, false), None, "time over TCP");
    }

    #[test]
    fn a_name_explains_where_dns_told_it() {
        let services = Services::default();
        let pair = pair("198.51.100.9", 443, TCP);
        let candidate = Candidate { pair: &pair, facts: Facts::TLS, is_internal: false };
        let explaining = |name| services.explaining(&candidate, name).map(|name| &**name);

        assert_eq!(explaining(Some("fe2.update.microsoft.com")), Some("operating system updates"));
        assert_eq!(explaining(Some("ocsp.example.org")), Some("certificate status"));
        assert_eq!(explaining(Some("monitoring.eu-west-1.amazonaws.com")), Some("monitoring service"));
        assert_eq!(explaining(Some("update.microsoft.com.example.org")), None);
        assert_eq!(explaining(None), None);
    }

    #[test]
    fn an_objection_names_the_condition_that_does_not_hold() {
        let pair = pair("198.51.100.9", 443, TCP);
        let objections =
            Services::default().objections(&Candidate { pair: &pair, facts: Facts::TLS, is_internal: false });

        assert!(objections.contains(&"time service: tcp is not its protocol".to_owned()), "{objections:?}");
        assert!(objections.contains(&"metrics scrape: 198.51.100.9 is outside".to_owned()), "{objections:?}");
    }
}
