//! Whose address is whose, and which keys can be beacons at all.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netd_common::key::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Networks;

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Monitored.
    Local,
    Outside,
    /// Loopback, multicast, broadcast, unspecified: nobody's server.
    Nobody,
}

/// The networks an operator named, or the defaults.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    local: Vec<IpNet>,
    protected: Vec<IpNet>,
    own: Vec<IpNet>,
}

impl Scope {
    pub(crate) fn new(networks: &Networks) -> Self {
        let mut local = if networks.local.is_empty() { default_local() } else { networks.local.clone() };
        local.extend(&networks.own);
        Self { local, protected: networks.protected.clone(), own: networks.own.clone() }
    }

    pub(crate) fn side(&self, address: IpAddr) -> Side {
        if is_nobody(address) {
            return Side::Nobody;
        }
        if self.local.iter().any(|net| net.contains(&address)) { Side::Local } else { Side::Outside }
    }

    /// Only a monitored host that speaks first can call home. Where neither end is known as monitored (a capture of
    /// public addresses), whoever speaks first counts as monitored.
    pub(crate) fn may_beacon(&self, originator: Address, responder: Address) -> bool {
        match (self.side(originator.ip()), self.side(responder.ip())) {
            (Side::Nobody, _) | (_, Side::Nobody) | (Side::Outside, Side::Local) => false,
            (Side::Local, Side::Local | Side::Outside) | (Side::Outside, Side::Outside) => true,
        }
    }

    /// Whether a monitored host speaks to one that is not; where neither is known as monitored, as above.
    pub(crate) fn calls_outside(&self, originator: Address, responder: Address) -> bool {
        self.may_beacon(originator, responder) && !self.is_local(responder.ip())
    }

    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.side(address) == Side::Local
    }

    /// Whether it is an address of this host.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.own.iter().any(|net| net.contains(&address))
    }

    pub(crate) fn is_protected(&self, address: IpAddr) -> bool {
        self.protected.iter().any(|net| net.contains(&address)) || is_nobody(address)
    }
}

/// RFC 1918, RFC 6598, link-local, unique-local.
fn default_local() -> Vec<IpNet> {
    let v4 = |a, b, bits| Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), bits).ok().map(IpNet::V4);
    let v6 = |high, bits| Ipv6Net::new(Ipv6Addr::new(high, 0, 0, 0, 0, 0, 0, 0), bits).ok().map(IpNet::V6);
    [v4(10, 0, 8), v4(172, 16, 12), v4(192, 168, 16), v4(169, 254, 16), v4(100, 64, 10), v6(0xfe80, 10), v6(0xfc00, 7)]
        .into_iter()
        .flatten()
        .collect()
}

fn is_nobody(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_beacon(originator: &str, responder: &str) -> bool {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        Scope::new(&Networks::default()).may_beacon(address(originator), address(responder))
    }

    #[test]
    fn a_monitored_host_may_beacon_outwards_and_inwards() {
        assert!(may_beacon("10.0.0.7", "198.51.100.9"));
        assert!(may_beacon("192.168.56.5", "192.168.56.4"));
        assert!(may_beacon("fd00::7", "2001:db8::9"));
    }

    #[test]
    fn an_inbound_scanner_is_no_beacon() {
        assert!(!may_beacon("198.51.100.9", "10.0.0.7"));
    }

    #[test]
    fn nobody_beacons_to_everybody() {
        assert!(!may_beacon("10.0.0.7", "239.255.255.250"));
        assert!(!may_beacon("10.0.0.7", "255.255.255.255"));
        assert!(!may_beacon("fe80::1", "ff02::fb"));
        assert!(!may_beacon("127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn own_public_addresses_are_monitored() {
        let own = vec!["203.0.113.5/32".parse().unwrap()];
        let scope = Scope::new(&Networks { own, ..Networks::default() });

        assert_eq!(scope.side("203.0.113.5".parse().unwrap()), Side::Local);
        assert_eq!(scope.side("203.0.113.6".parse().unwrap()), Side::Outside);
    }
}
