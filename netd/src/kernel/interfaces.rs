//! Which interfaces are watched, and which came and went.
//!
//! The kernel is asked through netlink, never `/sys/class/net`: in a network namespace `/sys` may be another's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::host::netlink::{Message, Netlink, News, Told, attribute};

/// Why the interfaces could not be chosen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list the network interfaces")]
    List { source: io::Error },
    #[error("cannot hear of changes to network interfaces")]
    Subscribe { source: io::Error },
    #[error("there is no interface {name}; there are: {}", existing.join(", "))]
    Unknown { name: String, existing: Vec<String> },
    #[error("interface {name} carries neither Ethernet nor plain IP (hardware type {hardware})")]
    Unsupported { name: String, hardware: u16 },
}

/// What a packet starts with on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    Ethernet,
    /// The IP header: tun, WireGuard, PPP, tunnels.
    None,
}

/// A network interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub link_layer: LinkLayer,
}

/// Which interfaces to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// All that are up, except loopback.
    #[default]
    Auto,
    /// All except loopback, up or not: before the network is up.
    Every,
    /// These, up or not.
    Named(Vec<String>),
}

impl Choice {
    /// Reads names separated by commas; `auto` is [`Choice::Auto`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" | "auto" => Self::Auto,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

/// What happened to the watched interfaces since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// To be detached from. One that was deleted and made anew under the same index is here and in `appeared`.
    pub vanished: Vec<Interface>,
    pub appeared: Vec<Interface>,
    /// Still attached to; only the name is another.
    pub renamed: Vec<Interface>,
}

impl Changes {
    /// Returns whether nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.vanished.is_empty() && self.appeared.is_empty() && self.renamed.is_empty()
    }

    /// Compares two looks; whatever has one of the `deleted` indices in both is another interface.
    fn between(old: &BTreeMap<u32, Interface>, new: &BTreeMap<u32, Interface>, deleted: &BTreeSet<u32>) -> Self {
        let mut changes = Self::default();
        let stayed = |index: &u32| old.contains_key(index) && new.contains_key(index) && !deleted.contains(index);
        changes.vanished.extend(old.values().filter(|old| !stayed(&old.index)).cloned());
        for interface in new.values() {
            match old.get(&interface.index).filter(|old| stayed(&old.index)) {
                None => changes.appeared.push(interface.clone()),
                Some(before) if before.name != interface.name => changes.renamed.push(interface.clone()),
                Some(_) => {}
            }
        }
        changes
    }
}

/// Keeps the set of interfaces that a [`Choice`] means.
#[derive(Debug)]
pub struct Watch {
    choice: Choice,
    current: BTreeMap<u32, Interface>,
    news: News,
}

impl Watch {
    /// Looks which interfaces `choice` means in this thread's network namespace.
    ///
    /// # Errors
    ///
    /// When a named interface does not exist, or packets on it cannot be read.
    pub fn new(choice: Choice) -> Result<Self, Error> {
        // First the subscription, then the look: nothing can happen in between unheard.
        let news = News::of(libc::RTMGRP_LINK).map_err(|source| Error::Subscribe { source })?;
        let found = list()?;
        if let Choice::Named(names) = &choice {
            for name in names {
                let Some(found) = found.iter().find(|found| found.name == *name) else {
                    let existing = found.into_iter().map(|found| found.name).collect();
                    return Err(Error::Unknown { name: name.clone(), existing });
                };
                if link_layer(found.hardware).is_none() {
                    return Err(Error::Unsupported { name: name.clone(), hardware: found.hardware });
                }
            }
        }
        let current = choose(&choice, found);
        Ok(Self { choice, current, news })
    }

    /// Iterates over the interfaces as of the last look.
    pub fn current(&self) -> impl Iterator<Item = &Interface> {
        self.current.values()
    }

    /// Waits until something may have changed. Must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the subscription cannot be waited for.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.news.wait().await
    }

    /// Returns what changed since the last call, at once.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer; the next call makes up for it.
    pub fn changes(&mut self) -> Result<Changes, Error> {
        let Some(deleted) = self.drain() else { return Ok(Changes::default()) };
        let next = choose(&self.choice, list()?);
        let changes = Changes::between(&self.current, &next, &deleted);
        self.current = next;
        Ok(changes)
    }

    /// Reads all news; returns the indices of deleted interfaces, or `None` when there was no news.
    fn drain(&self) -> Option<BTreeSet<u32>> {
        let mut deleted = BTreeSet::new();
        let any = self.news.drain(|told| match told {
            Told::Message(libc::RTM_DELLINK, body) => deleted.extend(deleted_index(body)),
            // Too much news to keep: look, as for any other.
            Told::Message(..) | Told::Missed => {}
        });
        any.then_some(deleted)
    }
}

/// `struct ifinfomsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct LinkMessage {
    family: u8,
    pad: u8,
    hardware: u16,
    index: u32,
    flags: u32,
    change: u32,
}

#[derive(Clone, Debug)]
struct Found {
    index: u32,
    name: String,
    hardware: u16,
    flags: u32,
}

fn list() -> Result<Vec<Found>, Error> {
    let all = || -> io::Result<Vec<Found>> {
        let mut netlink = Netlink::open(None)?;
        // A disturbed dump may lack an interface: ask again, but not for ever.
        let mut found = Vec::new();
        for _ in 0..4 {
            found.clear();
            let disturbed =
                netlink.dump(&Message::new(libc::RTM_GETLINK, 0, &LinkMessage::default()), |kind, body| {
                    if kind == libc::RTM_NEWLINK {
                        found.extend(interface(body));
                    }
                })?;
            if !disturbed {
                break;
            }
        }
        Ok(found)
    };
    all().map_err(|source| Error::List { source })
}

/// Returns the indices of every interface of this network namespace.
pub(super) fn indices() -> Result<Vec<u32>, Error> {
    Ok(list()?.into_iter().map(|found| found.index).collect())
}

fn interface(body: &[u8]) -> Option<Found> {
    let (link, rest) = LinkMessage::read_from_prefix(body).ok()?;
    let name = attribute(rest, libc::IFLA_IFNAME)?;
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next()?).into_owned();
    Some(Found { index: link.index, name, hardware: link.hardware, flags: link.flags })
}

/// A bridge tells of a port's leaving as of a deletion, in its own family.
fn deleted_index(body: &[u8]) -> Option<u32> {
    let (link, _) = LinkMessage::read_from_prefix(body).ok()?;
    (i32::from(link.family) == libc::AF_UNSPEC).then_some(link.index)
}

fn choose(choice: &Choice, found: Vec<Found>) -> BTreeMap<u32, Interface> {
    let wanted = |found: &Found| match choice {
        Choice::Auto => {
            found.flags & libc::IFF_UP.cast_unsigned() != 0 && found.flags & libc::IFF_LOOPBACK.cast_unsigned() == 0
        }
        Choice::Every => found.flags & libc::IFF_LOOPBACK.cast_unsigned() == 0,
        Choice::Named(names) => names.contains(&found.name),
    };
    found
        .into_iter()
        .filter(wanted)
        .filter_map(|found| {
            let link_layer = link_layer(found.hardware)?;
            Some((found.index, Interface { index: found.index, name: found.name, link_layer }))
        })
        .collect()
}

/// Returns what packets start with on devices of an `ARPHRD_` type; `None` for those we cannot read, such as
/// InfiniBand or radio monitors.
const fn link_layer(hardware: u16) -> Option<LinkLayer> {
    /// Cellular modems, and GRE over IPv6; not in libc.
    const RAW_IP: u16 = 519;
    const IP6_GRE: u16 = 823;
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkLayer::Ethernet),
        libc::ARPHRD_NONE
        | RAW_IP
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE
        | IP6_GRE => Some(LinkLayer::None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: u32, name: &str, hardware: u16, flags: i32) -> Found {
        Found { index, name: name.to_owned(), hardware, flags: flags.cast_unsigned() }
    }

    #[test]
    fn auto_takes_what_is_up_and_not_loopback() {
        let all = vec![
            found(1, "lo", libc::ARPHRD_LOOPBACK, libc::IFF_UP | libc::IFF_LOOPBACK),
            found(2, "eth0", libc::ARPHRD_ETHER, libc::IFF_UP),
            found(3, "eth1", libc::ARPHRD_ETHER, 0),
            found(4, "wg0", libc::ARPHRD_NONE, libc::IFF_UP),
            found(5, "ib0", libc::ARPHRD_INFINIBAND, libc::IFF_UP),
        ];

        let chosen = choose(&Choice::Auto, all);

        assert_eq!(chosen.keys().copied().collect::<Vec<_>>(), [2, 4]);
        assert_eq!(chosen[&4].link_layer, LinkLayer::None);
    }

    #[test]
    fn between_two_looks_interfaces_come_go_and_are_renamed() {
        let looked = |all: &[(u32, &str)]| {
            let all = all.iter().map(|(index, name)| found(*index, name, libc::ARPHRD_ETHER, libc::IFF_UP));
            choose(&Choice::Auto, all.collect())
        };
        let before = looked(&[(2, "eth0"), (3, "eth1"), (4, "eth2"), (5, "eth3")]);
        let after = looked(&[(2, "eth0"), (3, "wan0"), (5, "eth3"), (6, "eth4")]);

        let changes = Changes::between(&before, &after, &BTreeSet::from([5]));

        let indices = |all: &[Interface]| all.iter().map(|interface| interface.index).collect::<Vec<_>>();
        assert_eq!(indices(&changes.vanished), [4, 5]);
        assert_eq!(indices(&changes.appeared), [5, 6]);
        assert_eq!(changes.renamed, [after[&3].clone()]);
        assert!(Changes::between(&after, &after, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_named_interface_is_taken_up_or_down() {
        let all = vec![found(3, "eth1", libc::ARPHRD_ETHER, 0), found(4, "eth2", libc::ARPHRD_ETHER, libc::IFF_UP)];

        let chosen = choose(&Choice::parse("eth1"), all);

        assert_eq!(chosen.keys().copied().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_what_exists() {
        let error = Watch::new(Choice::parse("lo, no-such-if")).unwrap_err().to_string();

        assert!(error.starts_with("there is no interface no-such-if; there are: ") && error.contains("lo"), "{error}");
    }
}
