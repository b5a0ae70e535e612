//! How many of the monitored hosts speak to a country or an autonomous system, and how often: what is rare here.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use netd_common::key::Address;

use crate::region::{Country, Geography, Region};

/// Bounds, about 6 MB when all are full. Hosts and regions beyond them are not counted, and nothing is said of them.
const HOSTS: usize = 1_024;
const HOSTS_OF_A_REGION: usize = 64;
const SYSTEMS: usize = 16_384;
const RESPONDERS: usize = 65_536;

/// Counts of conversations with public addresses whose region is known.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    geography: Option<Arc<dyn Geography>>,
    hosts: HashSet<Address>,
    countries: HashMap<Country, Use>,
    systems: HashMap<u32, Use>,
    /// Conversations with single addresses: a check-in's own must not make its country look common.
    responders: HashMap<Address, u64>,
    /// Conversations with a known country, and with a known autonomous system.
    with_country: u64,
    with_system: u64,
}

#[derive(Debug, Default)]
struct Use {
    hosts: HashSet<Address>,
    conversations: u64,
}

/// What is known of where an address is, and of who else speaks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) region: Region,
    pub(crate) country: Option<Usage>,
    pub(crate) system: Option<Usage>,
}

/// Who speaks to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Monitored hosts that speak to any known region, and of these those that speak to this one.
    pub(crate) hosts: usize,
    pub(crate) users: usize,
    /// Conversations with other addresses than this one: with all known regions, with this one.
    pub(crate) others: u64,
    pub(crate) others_here: u64,
}

impl Regions {
    pub(crate) fn new(geography: Option<Arc<dyn Geography>>) -> Self {
        Self { geography, ..Self::default() }
    }

    /// Returns what a database says of an address.
    pub(crate) fn region(&self, address: IpAddr) -> Option<Region> {
        self.geography.as_ref()?.region(address)
    }

    /// Takes a conversation of a monitored host with a public address into account.
    pub(crate) fn observe(&mut self, originator: Address, responder: Address) {
        let Some(region) = self.region(responder.ip()) else { return };
        let is_counted = self.hosts.contains(&originator) || self.hosts.len() < HOSTS && self.hosts.insert(originator);
        let host = is_counted.then_some(originator);
        if self.responders.len() < RESPONDERS || self.responders.contains_key(&responder) {
            *self.responders.entry(responder).or_default() += 1;
        }
        if let Some(country) = region.country {
            self.with_country += 1;
            note(&mut self.countries, country, usize::MAX, host);
        }
        if let Some(system) = region.asn {
            self.with_system += 1;
            note(&mut self.systems, system, SYSTEMS, host);
        }
    }

    /// Returns what is known around an address.
    pub(crate) fn around(&self, responder: Address) -> Option<Surroundings> {
        let region = self.region(responder.ip())?;
        let own = self.responders.get(&responder).copied().unwrap_or_default();
        let country =
            region.country.and_then(|country| self.usage(self.countries.get(&country), self.with_country, own, true));
        let has_room = self.systems.len() < SYSTEMS;
        let system =
            region.asn.and_then(|system| self.usage(self.systems.get(&system), self.with_system, own, has_room));
        Some(Surroundings { region, country, system })
    }

    /// A region that is not counted for want of room is not rare: nothing is known of it.
    fn usage(&self, used: Option<&Use>, all: u64, own: u64, has_room: bool) -> Option<Usage> {
        if used.is_none() && !has_room {
            return None;
        }
        let (users, here) = used.map_or((0, 0), |used| (used.hosts.len(), used.conversations));
        Some(Usage {
            hosts: self.hosts.len(),
            users,
            others: all.saturating_sub(own),
            others_here: here.saturating_sub(own),
        })
    }
}

fn note<K: Eq + Hash>(uses: &mut HashMap<K, Use>, key: K, limit: usize, host: Option<Address>) {
    if uses.len() >= limit && !uses.contains_key(&key) {
        return;
    }
    let used = uses.entry(key).or_default();
    used.conversations += 1;
    if used.hosts.len() < HOSTS_OF_A_REGION {
        used.hosts.extend(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 203.0.113.0/24 is in JP and AS 64511, all else in DE and the AS numbered by its last octet.
    #[derive(Debug)]
    struct Atlas;

    impl Geography for Atlas {
        fn region(&self, address: IpAddr) -> Option<Region> {
            let IpAddr::V4(v4) = address else { return None };
            let [first, .., last] = v4.octets();
            let (country, asn) = if first == 203 { ("JP", 64_511) } else { ("DE", u32::from(last)) };
            Some(Region { country: Country::new(country), asn: Some(asn), as_name: None })
        }
    }

    fn address(octets: [u8; 4]) -> Address {
        IpAddr::from(octets).into()
    }

    #[test]
    fn hosts_and_conversations_are_counted_without_those_of_the_address_itself() {
        let mut regions = Regions::new(Some(Arc::new(Atlas)));
        for host in 1..=30 {
            regions.observe(address([10, 0, 0, host]), address([198, 51, 100, 1]));
        }
        for _ in 0..100 {
            regions.observe(address([10, 0, 0, 7]), address([203, 0, 113, 9]));
        }
        regions.observe(address([10, 0, 0, 7]), address([203, 0, 113, 10]));

        let around = regions.around(address([203, 0, 113, 9])).unwrap();

        let usage = Usage { hosts: 30, users: 1, others: 31, others_here: 1 };
        assert_eq!((around.country, around.system), (Some(usage), Some(usage)));
        assert_eq!(regions.around(address([198, 51, 100, 1])).unwrap().country.unwrap().users, 30);
    }

    #[test]
    fn a_region_for_which_there_is_no_room_is_not_called_rare() {
        #[derive(Debug)]
        struct Numbered;
        impl Geography for Numbered {
            fn region(&self, address: IpAddr) -> Option<Region> {
                let IpAddr::V4(v4) = address else { return None };
                Some(Region { asn: Some(u32::from(v4)), ..Region::default() })
            }
        }
        let mut regions = Regions::new(Some(Arc::new(Numbered)));
        for n in 0..100_000_u32 {
            regions.observe(address((0x0a00_0000 + n % 5_000).to_be_bytes()), address((0x0b00_0000 + n).to_be_bytes()));
        }

        assert_eq!(regions.around(address([203, 0, 113, 9])).unwrap().system, None);
        assert!(regions.hosts.len() <= HOSTS && regions.systems.len() <= SYSTEMS);
        assert!(regions.responders.len() <= RESPONDERS);
    }

    #[test]
    fn without_a_database_nothing_is_known() {
        let mut regions = Regions::new(None);
        regions.observe(address([10, 0, 0, 7]), address([203, 0, 113, 9]));

        assert_eq!(regions.around(address([203, 0, 113, 9])), None);
        assert!(regions.hosts.is_empty());
    }
}
