//! DNS over HTTPS, TLS and QUIC to public resolvers: a fact about a flow, and the reason why a client's other flows have
//! no name. It accuses nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::finding::Pair;

/// Whom the names and addresses belong to.
const LISTED: &str = include_str!("resolvers.txt");
const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Default)]
struct Resolvers {
    names: HashMap<&'static str, &'static str>,
    addresses: HashMap<IpAddr, &'static str>,
}

static RESOLVERS: LazyLock<Resolvers> = LazyLock::new(|| {
    let mut resolvers = Resolvers::default();
    for line in LISTED.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('|').map(str::trim);
        let (Some(operator), Some(names), Some(addresses)) = (columns.next(), columns.next(), columns.next()) else {
            continue;
        };
        resolvers.names.extend(names.split_whitespace().map(|name| (name, operator)));
        let addresses = addresses.split_whitespace().filter_map(|address| address.parse().ok());
        resolvers.addresses.extend(addresses.map(|address: IpAddr| (address, operator)));
    }
    resolvers
});

/// How a flow asks for names, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encrypted {
    pub(crate) transport: &'static str,
    pub(crate) operator: Option<&'static str>,
}

/// Returns how a flow asks for names, if it does: by its port, or by the resolver that its name or address belongs to.
pub(crate) fn encrypted(pair: &Pair, name: Option<&str>) -> Option<Encrypted> {
    let operator = || match name {
        Some(name) => by_name(name),
        None => RESOLVERS.addresses.get(&pair.responder).copied(),
    };
    match (pair.proto, pair.responder_port) {
        // RFC 7858 and RFC 9250: the port is theirs alone.
        (TCP, 853) => Some(Encrypted { transport: "dns-over-tls", operator: operator() }),
        (UDP, 853) => Some(Encrypted { transport: "dns-over-quic", operator: operator() }),
        (TCP | UDP, 443) => {
            operator().map(|operator| Encrypted { transport: "dns-over-https", operator: Some(operator) })
        }
        _ => None,
    }
}

pub(super) fn is_public_resolver(address: IpAddr) -> bool {
    RESOLVERS.addresses.contains_key(&address)
}

fn by_name(name: &str) -> Option<&'static str> {
    let mut rest = name;
    loop {
        if let Some(operator) = RESOLVERS.names.get(rest) {
            return Some(operator);
        }
        rest = rest.split_once('.')?.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(
        responder: &str,
        port: u16,
        proto: u8,
        name: Option<&str>,
    ) -> Option<(&'static str, Option<&'static str>)> {
        let originator = "10.0.0.7".parse().unwrap();
        let pair = Pair { originator, responder: responder.parse().unwrap(), responder_port: port, proto };
        encrypted(&pair, name).map(|found| (found.transport, found.operator))
    }

    #[test]
    fn a_known_resolver_is_known_by_name_or_address() {
        assert_eq!(found("8.8.8.8", 443, TCP, None), Some(("dns-over-https", Some("Google"))));
        assert_eq!(found("2620:fe::fe", 853, TCP, None), Some(("dns-over-tls", Some("Quad9"))));
        assert_eq!(
            found("198.51.100.9", 443, UDP, Some("a1b2c3.dns.nextdns.io")),
            Some(("dns-over-https", Some("NextDNS")))
        );
        assert_eq!(found("198.51.100.9", 853, UDP, None), Some(("dns-over-quic", None)));
    }

    #[test]
    fn other_flows_are_not_taken_for_it() {
        assert_eq!(found("198.51.100.9", 443, TCP, Some("evildns.google.example.org")), None);
        assert_eq!(found("8.8.8.8", 53, UDP, None), None);
        assert_eq!(found("1.1.1.1", 443, TCP, Some("www.example.org")), None, "its name says what it is");
    }

    #[test]
    fn every_line_of_the_list_is_read() {
        let lines = LISTED.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(columns.len(), 3, "{line}");
            assert!(columns[2].split_whitespace().all(|address| address.parse::<IpAddr>().is_ok()), "{line}");
            assert!(columns[1].split_whitespace().all(|name| by_name(name).is_some()), "{line}");
        }
    }
}
