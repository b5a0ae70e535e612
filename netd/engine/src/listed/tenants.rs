//! Who else has an address: how many domains would be cut with it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Addresses remembered at once, about 150 bytes each; the one first heard of gives way.
const ADDRESSES: usize = 65_536;
/// Domains told apart an address.
const DOMAINS: usize = 16;
/// How long a domain counts after its last answer.
const LATELY_NS: u64 = 6 * 3_600 * 1_000_000_000;

/// Registered domains by address, bounded.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    /// A domain's hash, and when it last had the address.
    by_address: HashMap<IpAddr, Vec<(u64, u64)>>,
    order: VecDeque<IpAddr>,
}

impl Tenants {
    /// Notes that a domain has an address.
    pub(crate) fn note(&mut self, address: IpAddr, domain: u64, at_ns: u64) {
        if !self.by_address.contains_key(&address) {
            while self.order.len() >= ADDRESSES {
                if let Some(oldest) = self.order.pop_front() {
                    self.by_address.remove(&oldest);
                }
            }
            self.order.push_back(address);
        }
        let domains = self.by_address.entry(address).or_default();
        if let Some((_, at)) = domains.iter_mut().find(|(known, _)| *known == domain) {
            *at = (*at).max(at_ns);
            return;
        }
        domains.retain(|(_, at)| at_ns.saturating_sub(*at) < LATELY_NS);
        if domains.len() < DOMAINS {
            domains.push((domain, at_ns));
        }
    }

    /// Returns how many domains other than `domain` lately had an address.
    pub(crate) fn others(&self, address: IpAddr, domain: u64, at_ns: u64) -> u32 {
        let domains = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let others = domains.iter().filter(|(other, at)| *other != domain && at_ns.saturating_sub(*at) < LATELY_NS);
        others.count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_domain_counts_once_and_not_forever() {
        let mut tenants = Tenants::default();
        let address = "198.51.100.9".parse().expect("an address");
        for (domain, at_ns) in [(1, 0), (2, 10), (2, 20), (3, LATELY_NS)] {
            tenants.note(address, domain, at_ns);
        }

        assert_eq!(tenants.others(address, 3, LATELY_NS + 15), 1, "1 is too long ago, 2 is not");
        assert_eq!(tenants.others(address, 9, LATELY_NS + 15), 2);
        assert_eq!(tenants.others("198.51.100.8".parse().expect("an address"), 1, 0), 0);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut tenants = Tenants::default();
        for n in 0..2 * ADDRESSES as u32 {
            tenants.note(IpAddr::from((0x0100_0000 + n).to_be_bytes()), 1, 0);
        }
        let address = "198.51.100.9".parse().expect("an address");
        for domain in 0..100 {
            tenants.note(address, domain, 0);
        }

        assert!(tenants.by_address.len() <= ADDRESSES && tenants.order.len() <= ADDRESSES);
        assert_eq!(tenants.others(address, 200, 0), DOMAINS as u32);
    }
}
