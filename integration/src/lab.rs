//! Laboratories: a small internet in namespaces, with netd's place in the middle.
//!
//! ```text
//! gateway:   lan ─── watched (lan0, wan0) ─── wan          host:   watched (eth0) ─── wan
//! ```
//! Both have the same addresses, so a scenario runs in either. Nothing leaves them: no interface of the machine is in
//! them, and there is no route to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::namespace::{End, Namespace, veth};

/// More at once than any test needs; beyond it something forgets to let go.
const MOST_LABS: usize = 8;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Where the implant of a scenario lives.
pub const IMPLANT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 7);
/// Where the people of a scenario live.
pub const PEOPLE: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 77, 0, 11),
    Ipv4Addr::new(10, 77, 0, 12),
    Ipv4Addr::new(10, 77, 0, 13),
    Ipv4Addr::new(10, 77, 0, 14),
    Ipv4Addr::new(10, 77, 0, 15),
    Ipv4Addr::new(10, 77, 0, 16),
];
/// The server of the implant.
pub const C2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// Servers that people visit.
pub const WEB: [Ipv4Addr; 6] = [
    Ipv4Addr::new(198, 51, 100, 21),
    Ipv4Addr::new(198, 51, 100, 22),
    Ipv4Addr::new(198, 51, 100, 23),
    Ipv4Addr::new(198, 51, 100, 24),
    Ipv4Addr::new(198, 51, 100, 25),
    Ipv4Addr::new(198, 51, 100, 26),
];
/// The server of bulk transfers.
pub const STORE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 40);
/// The time server.
pub const TIME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 123);
/// A network (198.18.0.0/15) behind the wan in which nobody lives and nothing answers: floods go there.
pub const NOWHERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The same for IPv6: 2001:db8:dead::/48.
pub const NOWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xdead, 0, 0, 0, 0, 0);

/// The gateway's address on the lan.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

const LAN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];
const GATEWAY_LAN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const NEAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x01];
const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x02];

/// A laboratory. It goes with its last handle: see [`crate::namespace`].
#[derive(Debug)]
pub struct Lab {
    lan: Namespace,
    watched: Namespace,
    wan: Namespace,
    kind: Kind,
    _counted: Counted,
}

/// Where netd stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between the lan and the wan: every packet passes two watched interfaces.
    Gateway,
    /// On the host that the originators run on.
    Host,
}

impl Lab {
    /// Builds lan – gateway – wan.
    ///
    /// # Errors
    ///
    /// Without root, without `ip`, or when this process has too many laboratories already.
    pub fn gateway() -> Result<Self> {
        let counted = Counted::new()?;
        let (lan, gateway, wan) = (empty("lan")?, empty("gateway")?, empty("wan")?);
        forward(&gateway)?;

        let lan_end = End { namespace: &lan, interface: "eth0", mac: LAN_MAC };
        let inner = End { namespace: &gateway, interface: "lan0", mac: GATEWAY_LAN_MAC };
        let outer = End { namespace: &gateway, interface: "wan0", mac: NEAR_MAC };
        let wan_end = End { namespace: &wan, interface: "eth0", mac: FAR_MAC };
        veth(lan_end, inner)?;
        veth(outer, wan_end)?;

        let mut lines: Vec<String> = residents().map(|address| lan_end.address(address, lan_prefix(address))).collect();
        for router in both(GATEWAY) {
            lines.push(lan_end.neighbour(router, GATEWAY_LAN_MAC));
            lines.push(lan_end.route("default", router));
        }
        lan.ip(&lines)?;

        let mut lines: Vec<String> = both(GATEWAY).map(|address| inner.address(address, lan_prefix(address))).into();
        lines.extend(residents().map(|address| inner.neighbour(address, LAN_MAC)));
        lines.extend(uplink(&outer));
        gateway.ip(&lines)?;

        wan.ip(&internet(&wan_end))?;
        Ok(Self { lan, watched: gateway, wan, kind: Kind::Gateway, _counted: counted })
    }

    /// Builds host – wan. The host has all the addresses that the lan has in the other laboratory.
    ///
    /// # Errors
    ///
    /// As [`Lab::gateway`].
    pub fn host() -> Result<Self> {
        let counted = Counted::new()?;
        let (host, wan) = (empty("host")?, empty("wan")?);

        let end = End { namespace: &host, interface: "eth0", mac: NEAR_MAC };
        let wan_end = End { namespace: &wan, interface: "eth0", mac: FAR_MAC };
        veth(end, wan_end)?;

        // The residents come first: what a program does not choose is the address of the implant.
        let mut lines: Vec<String> = residents().map(|address| end.address(address, lan_prefix(address))).collect();
        lines.extend(uplink(&end));
        host.ip(&lines)?;

        wan.ip(&internet(&wan_end))?;
        Ok(Self { lan: host.clone(), watched: host, wan, kind: Kind::Host, _counted: counted })
    }

    /// Returns the namespace of the originators. In a host laboratory it is the watched one.
    #[must_use]
    pub fn lan(&self) -> &Namespace {
        &self.lan
    }

    /// Returns the namespace that netd runs in.
    #[must_use]
    pub fn watched(&self) -> &Namespace {
        &self.watched
    }

    /// Returns the namespace of the servers.
    #[must_use]
    pub fn wan(&self) -> &Namespace {
        &self.wan
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the names of the interfaces that netd watches, the one towards the originators first.
    #[must_use]
    pub fn watched_interfaces(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Gateway => &["lan0", "wan0"],
            Kind::Host => &["eth0"],
        }
    }

    /// Returns the Ethernet addresses of a frame from an originator to its next hop.
    #[must_use]
    pub fn first_hop(&self) -> FirstHop {
        match self.kind {
            Kind::Gateway => FirstHop { interface: "eth0", source: LAN_MAC, destination: GATEWAY_LAN_MAC },
            Kind::Host => FirstHop { interface: "eth0", source: NEAR_MAC, destination: FAR_MAC },
        }
    }
}

/// How a hand-made frame leaves the lan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstHop {
    pub interface: &'static str,
    pub source: [u8; 6],
    pub destination: [u8; 6],
}

/// Returns the IPv6 address that a resident or server has beside its IPv4 address.
#[must_use]
pub fn v6(address: Ipv4Addr) -> Ipv6Addr {
    let [a, _, _, host] = address.octets();
    let network = match a {
        10 => 0x77,
        192 => 0xff,
        _ => 0x51,
    };
    // The last group reads as the IPv4 address does: .16 is ::16.
    let group = u16::from(host / 100) << 8 | u16::from(host / 10 % 10) << 4 | u16::from(host % 10);
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, group)
}

fn both(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), v6(address).into()]
}

fn residents() -> impl Iterator<Item = IpAddr> {
    [IMPLANT].into_iter().chain(PEOPLE).flat_map(both)
}

fn servers() -> impl Iterator<Item = IpAddr> {
    [C2, STORE, TIME].into_iter().chain(WEB).flat_map(both)
}

fn lan_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

fn link_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 30 } else { 64 }
}

/// The watched machine's way to the wan.
fn uplink(end: &End<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (near, far) in both(NEAR).into_iter().zip(both(FAR)) {
        lines.push(end.address(near, link_prefix(near)));
        lines.push(end.neighbour(far, FAR_MAC));
        lines.push(end.route("default", far));
    }
    lines
}

/// The wan: servers, the way back, and a network that swallows floods without an answer.
fn internet(end: &End<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (near, far) in both(NEAR).into_iter().zip(both(FAR)) {
        lines.push(end.address(far, link_prefix(far)));
        lines.push(end.neighbour(near, NEAR_MAC));
    }
    for server in servers() {
        lines.push(end.address(server, if server.is_ipv4() { 32 } else { 128 }));
    }
    lines.push(end.route("10.77.0.0/24", NEAR.into()));
    lines.push(end.route("2001:db8:77::/64", v6(NEAR).into()));
    lines.push(format!("route add blackhole {NOWHERE}/15"));
    lines.push(format!("route add blackhole {NOWHERE_V6}/48"));
    lines
}

/// A namespace that says nothing by itself and waits for nothing.
fn empty(name: &'static str) -> Result<Namespace> {
    let namespace = Namespace::new(name)?;
    namespace
        .sysctls(&[
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
            ("ipv6/conf/default/addr_gen_mode", "1"),
        ])
        .context("cannot set up a namespace (a laboratory needs IPv6)")?;
    Ok(namespace)
}

fn forward(namespace: &Namespace) -> Result<()> {
    namespace.sysctls(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])
}

/// Holds the number of laboratories down.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Result<Self> {
        let counted = Self;
        if LIVE.fetch_add(1, Ordering::Relaxed) >= MOST_LABS {
            bail!("there are {MOST_LABS} laboratories already");
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
