//! From what a verdict names to the key the kernel looks up.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_common::key::{Address, Direction, Endpoint, FlowKey};
use netd_common::verdict::Prefix;
use netd_engine::verdict::Target;

use super::blocklist::Item;
use super::maps::MapKey;
use super::refusal::Refusal;

/// Widest prefixes that need no `force`.
pub(super) const WIDEST_V4: u8 = 8;
pub(super) const WIDEST_V6: u8 = 19;

/// Returns the key of a target.
pub(super) fn key(target: &Target) -> Result<MapKey, Refusal> {
    match *target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            let (source, destination) = (source.to_canonical(), destination.to_canonical());
            if source.is_ipv4() != destination.is_ipv4() {
                return Err(Refusal::MixedVersions);
            }
            let flow = FlowKey {
                src: source.into(),
                dst: destination.into(),
                src_port: source_port.to_be_bytes(),
                dst_port: destination_port.to_be_bytes(),
                proto,
                pad: [0; 3],
            };
            Ok(MapKey::Flow(flow.conversation().0.flow(Direction::AToB)))
        }
        Target::Endpoint { address, port, proto } => {
            let address = address.to_canonical().into();
            Ok(MapKey::Endpoint(Endpoint::new(address, port.to_be_bytes(), proto)))
        }
        Target::Host { address } => Ok(MapKey::Host(address.to_canonical().into())),
        Target::Prefix { prefix } => {
            let item = Item::from_net(prefix);
            match item.covers_ipv4_too() {
                true => Err(Refusal::CoversIpv4 { prefix: prefix.trunc().to_string() }),
                false => Ok(item.key()),
            }
        }
    }
}

/// Returns the addresses a target needs open to have any effect.
pub(super) fn ends(target: &Target) -> Vec<Item> {
    match *target {
        Target::FiveTuple { source, destination, .. } => vec![Item::host(source), Item::host(destination)],
        Target::Endpoint { address, .. } | Target::Host { address } => vec![Item::host(address)],
        Target::Prefix { prefix } => vec![Item::from_net(prefix)],
    }
}

/// Returns the limit that `item` exceeds, if it does.
pub(super) fn too_wide(item: &Item) -> Option<u8> {
    match item.net() {
        IpNet::V4(net) => (net.prefix_len() < WIDEST_V4).then_some(WIDEST_V4),
        IpNet::V6(net) => (net.prefix_len() < WIDEST_V6).then_some(WIDEST_V6),
    }
}

/// Returns the mapped form of a prefix without host bits, IPv4-mapped IPv6 taken as IPv4.
pub(super) fn mapped(net: IpNet) -> (Address, u8) {
    match net.trunc() {
        IpNet::V4(net) => (net.network().into(), net.prefix_len() + 96),
        IpNet::V6(net) => (Address::from(IpAddr::V6(net.network())), net.prefix_len()),
    }
}

/// Returns the prefix that a key of the kernel's tries stands for.
pub(super) fn item_of(prefix: &Prefix) -> Item {
    Item::from_net(unmapped(Address(prefix.address), u8::try_from(prefix.bits).unwrap_or(u8::MAX)))
}

/// Returns the prefix of a mapped form.
pub(super) fn unmapped(address: Address, bits: u8) -> IpNet {
    let (ip, bits) = match (address.ip(), bits.checked_sub(96)) {
        (IpAddr::V4(v4), Some(bits)) => (IpAddr::V4(v4), bits),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => (IpAddr::V6(address.0.into()), bits),
    };
    // No length is too long for its version; a host is what is left if one were.
    IpNet::new(ip, bits).unwrap_or(IpNet::from(ip))
}

/// Returns the trie key of a mapped prefix.
pub(super) const fn prefix(address: Address, bits: u8) -> Prefix {
    Prefix { bits: bits as u32, address: address.0 }
}
