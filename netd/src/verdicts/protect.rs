//! Addresses that must not be cut, and who says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use netd_common::verdict::Prefix;

use super::blocklist::Item;
use super::target;

/// Why an address is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// Loopback, unspecified, multicast, broadcast and IPv6 link-local addresses. Always there.
    Special,
    /// This host's own addresses.
    Own,
    /// Default gateways.
    Gateway,
    /// Configured resolvers.
    Resolver,
    /// Time servers.
    TimeServer,
    /// Who uses the API and may change what is enforced.
    Operator,
    /// Who is logged in over SSH, or whatever this host is managed by.
    Management,
    /// The configuration's `protect`.
    Config,
    /// An operator's allow-list. What it covers may be listed: it takes effect when the allow-list lets go of it.
    AllowList,
}

impl Guard {
    /// Returns what the guard stands for, as messages say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Special => "loopback, multicast or link-local",
            Self::Own => "an address of this host",
            Self::Gateway => "the default gateway",
            Self::Resolver => "a configured resolver",
            Self::TimeServer => "a time server",
            Self::Operator => "an operator's session",
            Self::Management => "a management session",
            Self::Config => "protected by the configuration",
            Self::AllowList => "allow-listed",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kept whatever anyone says: without them the host cannot speak to itself or find its neighbours. IPv4 link-local
/// is not among them, because nothing vital speaks it and a cloud's metadata service is worth blocking.
const SPECIAL: [&str; 8] =
    ["127.0.0.0/8", "0.0.0.0/32", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "::/128", "ff00::/8", "fe80::/10"];

/// The protected prefixes by guard, and the same once more in an order that answers quickly.
#[derive(Clone, Debug)]
pub(super) struct Protected {
    by_guard: BTreeMap<Guard, Vec<Item>>,
    /// The widest ones, disjoint, by address; allow-lists apart, because they protect less.
    widest: Vec<(Item, Guard)>,
    allowed: Vec<(Item, Guard)>,
}

impl Protected {
    pub(super) fn new() -> Self {
        let special = SPECIAL.iter().filter_map(|text| text.parse().ok()).collect();
        let mut protected =
            Self { by_guard: BTreeMap::from([(Guard::Special, special)]), widest: Vec::new(), allowed: Vec::new() };
        protected.index();
        protected
    }

    /// Replaces what one guard protects. A prefix that covers the IPv4-mapped addresses is left out: it would
    /// protect all of IPv4. `Special` cannot be replaced.
    pub(super) fn set(&mut self, guard: Guard, prefixes: &[IpNet]) {
        if guard == Guard::Special {
            return;
        }
        let items = prefixes.iter().copied().map(Item::from_net).filter(|item| !item.covers_ipv4_too()).collect();
        self.by_guard.insert(guard, items);
        self.index();
    }

    /// Returns the guard of the protected prefix that holds all of `item`; allow-lists last.
    pub(super) fn shield(&self, item: &Item) -> Option<Guard> {
        around(&self.widest, item).or_else(|| around(&self.allowed, item))
    }

    /// Iterates over the widest protected prefixes and their guards.
    pub(super) fn widest(&self) -> impl Iterator<Item = (&Item, Guard)> {
        self.widest.iter().map(|(item, guard)| (item, *guard))
    }

    /// Iterates over the widest allow-listed prefixes.
    pub(super) fn allowed(&self) -> impl Iterator<Item = Item> + '_ {
        self.allowed.iter().map(|(item, _)| *item)
    }

    /// Returns the protected prefixes inside `item`, the widest of each.
    pub(super) fn inside<'a>(&'a self, item: &'a Item) -> impl Iterator<Item = &'a Item> {
        let (first, _) = item.range();
        [&self.widest, &self.allowed].into_iter().flat_map(move |widest| {
            let from = widest.partition_point(|(widest, _)| widest.range().0 < first);
            widest.iter().skip(from).map(|(widest, _)| widest).take_while(|widest| item.contains(widest))
        })
    }

    /// Returns what `ALLOW` has to hold, each once.
    pub(super) fn keys(&self) -> BTreeSet<Prefix> {
        self.by_guard.values().flatten().map(allow_key).collect()
    }

    fn index(&mut self) {
        let of = |kept: fn(Guard) -> bool| {
            let by_guard = self.by_guard.iter().filter(|(guard, _)| kept(**guard));
            disjoint(by_guard.flat_map(|(guard, items)| items.iter().map(|item| (*item, *guard))).collect())
        };
        let widest = of(|guard| guard != Guard::AllowList);
        self.allowed = of(|guard| guard == Guard::AllowList);
        self.widest = widest;
    }
}

/// Returns the widest of these prefixes, by address.
fn disjoint(mut all: Vec<(Item, Guard)>) -> Vec<(Item, Guard)> {
    // Wider before narrower where both begin at one address.
    all.sort_unstable_by_key(|(item, guard)| (item.range().0, item.parts().1, *guard));
    let mut widest: Vec<(Item, Guard)> = Vec::with_capacity(all.len());
    for (item, guard) in all {
        if widest.last().is_none_or(|(widest, _)| !widest.contains(&item)) {
            widest.push((item, guard));
        }
    }
    widest
}

fn around(widest: &[(Item, Guard)], item: &Item) -> Option<Guard> {
    let after = widest.partition_point(|(widest, _)| widest.range().0 <= item.range().0);
    let (widest, guard) = widest.get(after.checked_sub(1)?)?;
    widest.contains(item).then_some(*guard)
}

fn allow_key(item: &Item) -> Prefix {
    let (address, bits) = item.parts();
    target::prefix(address, bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(text: &str) -> Item {
        text.parse().unwrap()
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn what_the_host_needs_to_speak_to_itself_is_protected_from_the_start() {
        let protected = Protected::new();

        for text in ["127.0.0.53", "::1", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "fe80::1", "255.255.255.255"] {
            assert_eq!(protected.shield(&item(text)), Some(Guard::Special), "{text}");
        }
        for text in ["198.51.100.7", "2001:db8::1", "0.0.0.0/0", "169.254.169.254", "10.0.0.0/8"] {
            assert_eq!(protected.shield(&item(text)), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_around_a_protected_address_is_not_protected_but_names_it() {
        let mut protected = Protected::new();
        protected.set(Guard::Gateway, &[net("10.0.0.1/32")]);

        let around = item("10.0.0.0/24");

        assert_eq!(protected.shield(&around), None);
        assert_eq!(protected.inside(&around).collect::<Vec<_>>(), [&item("10.0.0.1")]);
        assert_eq!(protected.shield(&item("10.0.0.1")), Some(Guard::Gateway));
    }

    #[test]
    fn the_special_addresses_cannot_be_given_up() {
        let mut protected = Protected::new();

        protected.set(Guard::Special, &[]);

        assert_eq!(protected.shield(&item("127.0.0.1")), Some(Guard::Special));
    }

    proptest! {
        #[test]
        fn the_quick_answer_is_the_slow_one(
            nets in proptest::collection::vec((any::<u8>(), 20_u8..=32), 0..12),
            asked in (any::<u8>(), 20_u8..=32),
        ) {
            let of = |(last, bits): (u8, u8)| {
                IpNet::V4(ipnet::Ipv4Net::new([10, 0, 0, last].into(), bits).unwrap().trunc())
            };
            let nets: Vec<_> = nets.into_iter().map(of).collect();
            let mut protected = Protected::new();
            protected.set(Guard::Config, &nets);

            let asked = Item::from_net(of(asked));

            prop_assert_eq!(
                protected.shield(&asked).is_some(),
                nets.iter().any(|net| Item::from_net(*net).contains(&asked))
            );
            // Inside something wider that is protected, nothing is left to name.
            let wider = nets.iter().any(|net| Item::from_net(*net).contains(&asked) && Item::from_net(*net) != asked);
            let holds_one = nets.iter().any(|net| asked.contains(&Item::from_net(*net)));
            prop_assert_eq!(protected.inside(&asked).next().is_some(), holds_one && !wider);
        }
    }
}
