//! Whom this host must never cut itself off from: itself, its gateways, its resolvers.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::netlink::{Message, Netlink, attribute};

mod lasting;
mod watch;

pub use lasting::Lasting;
pub use watch::Watch;

/// `systemd-resolved` keeps the servers behind its stub in a file of its own.
const RESOLVER_FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Why the addresses could not be learnt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open a netlink socket")]
    Open { source: io::Error },
    #[error("cannot list this host's {what}")]
    List { what: &'static str, source: io::Error },
    #[error("cannot hear of changes to this host's addresses")]
    Subscribe { source: io::Error },
}

/// Addresses that matter to this host, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of its own interfaces.
    pub own: BTreeSet<IpAddr>,
    /// Next hops of every default route, in every routing table.
    pub gateways: BTreeSet<IpAddr>,
    /// Name servers it is configured to ask.
    pub resolvers: BTreeSet<IpAddr>,
}

impl Addresses {
    /// Learns them, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer. A missing resolver file is not an error.
    pub fn current() -> Result<Self, Error> {
        let mut netlink = Netlink::open(None).map_err(|source| Error::Open { source })?;
        Ok(Self { own: own(&mut netlink)?, gateways: gateways(&mut netlink)?, resolvers: configured_resolvers() })
    }

    /// Iterates over all of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.own.iter().chain(&self.gateways).chain(&self.resolvers).copied()
    }
}

/// Returns the name servers that this host's files name, without asking the kernel.
#[must_use]
pub fn configured_resolvers() -> BTreeSet<IpAddr> {
    RESOLVER_FILES.iter().flat_map(|file| resolvers_in(Path::new(file))).collect()
}

/// `struct ifaddrmsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct AddressMessage {
    family: u8,
    prefix: u8,
    flags: u8,
    scope: u8,
    ifindex: u32,
}

/// `struct rtmsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct RouteMessage {
    family: u8,
    destination_bits: u8,
    source_bits: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

fn own(netlink: &mut Netlink) -> Result<BTreeSet<IpAddr>, Error> {
    let mut found = BTreeSet::new();
    netlink
        .dump(&Message::new(libc::RTM_GETADDR, 0, &AddressMessage::default()), |kind, body| {
            if kind == libc::RTM_NEWADDR {
                found.extend(own_address(body));
            }
        })
        .map_err(|source| Error::List { what: "addresses", source })?;
    Ok(found)
}

fn own_address(body: &[u8]) -> Option<IpAddr> {
    let (_, rest) = AddressMessage::read_from_prefix(body).ok()?;
    // On a point-to-point link `IFA_ADDRESS` is the other end.
    attribute(rest, libc::IFA_LOCAL).or_else(|| attribute(rest, libc::IFA_ADDRESS)).and_then(ip)
}

fn gateways(netlink: &mut Netlink) -> Result<BTreeSet<IpAddr>, Error> {
    let mut found = BTreeSet::new();
    netlink
        .dump(&Message::new(libc::RTM_GETROUTE, 0, &RouteMessage::default()), |kind, body| {
            if kind == libc::RTM_NEWROUTE {
                default_gateways(body, &mut found);
            }
        })
        .map_err(|source| Error::List { what: "routes", source })?;
    Ok(found)
}

fn default_gateways(body: &[u8], found: &mut BTreeSet<IpAddr>) {
    let Ok((route, rest)) = RouteMessage::read_from_prefix(body) else { return };
    if route.destination_bits != 0 || route.kind != libc::RTN_UNICAST {
        return;
    }
    found.extend(gateway(rest));
    if let Some(hops) = attribute(rest, libc::RTA_MULTIPATH) {
        found.extend(next_hops(hops).filter_map(gateway));
    }
}

fn gateway(attributes: &[u8]) -> Option<IpAddr> {
    if let Some(via) = attribute(attributes, libc::RTA_GATEWAY) {
        return ip(via);
    }
    // An IPv4 route through an IPv6 neighbour: two bytes of family before the address.
    attribute(attributes, libc::RTA_VIA).and_then(|via| ip(via.get(2..)?))
}

/// Iterates over the attributes of each `struct rtnexthop`.
fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [a, b] = *bytes.first_chunk::<2>()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let hop = bytes.get(8..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(hop)
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

fn resolvers_in(file: &Path) -> Vec<IpAddr> {
    fs::read_to_string(file).map(|text| resolvers(&text)).unwrap_or_default()
}

/// Reads `nameserver` lines, as resolv.conf(5); an IPv6 scope is left out.
fn resolvers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|server| server.split('%').next()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_hosts_loopback_is_its_own() {
        let addresses = Addresses::current().unwrap();

        assert!(addresses.own.contains(&Ipv4Addr::LOCALHOST.into()), "{addresses:?}");
    }

    #[test]
    fn name_servers_are_read_and_the_rest_is_not() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 192.0.2.53\n nameserver fe80::1%eth0 \nnameserver x\noptions nameserver\n";

        let servers = resolvers(text);

        assert_eq!(servers, ["192.0.2.53".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let mut found = BTreeSet::new();
            default_gateways(&bytes, &mut found);
            let _ = own_address(&bytes);
            let _ = next_hops(&bytes).count();
        }
    }
}
