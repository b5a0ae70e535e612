//! How many monitored hosts speak to one destination: the evidence of a fleet's ordinary software.
//!
//! Kept apart from the histories, which forget who has no evidence. A destination is the registered domain that DNS told
//! the client (rotating addresses are one), and each endpoint for itself.

use netd_common::key::Address;

use super::PairKey;
use crate::pool::{Pool, Worth};

/// Destinations counted at once, about 100 bytes each; the one used by the fewest gives way.
const LIMIT: usize = 262_144;
/// Bits of a count: some hundred hosts are told apart within a tenth.
const WORDS: usize = 4;
const BITS: u32 = 64 * WORDS as u32;

/// How many monitored hosts there are, and how many of them speak to one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prevalence {
    pub(crate) hosts: u32,
    pub(crate) users: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Destination {
    Endpoint(Address, u16, u8),
    Domain(Box<str>),
}

/// Hosts counted by linear probabilistic counting: Whang, Vander-Zanden, Taylor, "A linear-time probabilistic counting
/// algorithm for database applications" (1990).
#[derive(Debug, Default)]
struct Users {
    bits: [u64; WORDS],
    last_ns: u64,
}

impl Users {
    fn note(&mut self, originator: Address, at_ns: u64) {
        let bit = mixed(originator) % BITS;
        self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        self.last_ns = at_ns;
    }

    fn count(&self) -> u32 {
        let set: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        let free = f64::from((BITS - set).max(1));
        (f64::from(BITS) * (f64::from(BITS) / free).ln()).round() as u32
    }
}

impl Worth for Users {
    fn worth(&self) -> (f32, u64) {
        (self.bits.iter().map(|word| word.count_ones()).sum::<u32>() as f32, self.last_ns)
    }
}

/// Counts of users.
#[derive(Debug)]
pub(crate) struct Destinations(Pool<Destination, Users>);

impl Destinations {
    pub(crate) fn new() -> Self {
        Self(Pool::new(LIMIT))
    }

    /// Notes that a monitored host speaks to an endpoint, which DNS named to it as `name`.
    pub(crate) fn note(&mut self, key: &PairKey, name: Option<&str>, at_ns: u64) {
        let domain = name.and_then(registered).map(|domain| Destination::Domain(domain.into()));
        let endpoint = Destination::Endpoint(key.responder, key.port, key.proto);
        for destination in [Some(endpoint), domain].into_iter().flatten() {
            if let Some(users) = self.0.get_or_insert_with(destination, Users::default) {
                users.note(key.originator, at_ns);
            }
        }
    }

    /// Returns how many hosts were seen to speak to a destination, at least one.
    pub(crate) fn users(&self, key: &PairKey, name: Option<&str>) -> u32 {
        let domain = name.and_then(registered).map(|domain| Destination::Domain(domain.into()));
        let endpoint = Destination::Endpoint(key.responder, key.port, key.proto);
        let counts = [Some(endpoint), domain].into_iter().flatten().filter_map(|destination| self.0.get(&destination));
        counts.map(Users::count).max().unwrap_or(0).max(1)
    }
}

/// Returns the domain that somebody registered, or the whole of a name that is no public one.
pub(super) fn registered(name: &str) -> Option<&str> {
    psl::domain_str(name).or_else(|| name.contains('.').then_some(name))
}

/// Spreads addresses that differ in few bits.
fn mixed(address: Address) -> u32 {
    let (high, low) = address.words();
    let mut word = high.rotate_left(29) ^ low;
    word = (word ^ (word >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: u32, responder: u8) -> PairKey {
        let [_, b, c, d] = host.to_be_bytes();
        PairKey {
            originator: Address::v4([10, b, c, d]),
            responder: Address::v4([198, 51, 100, responder]),
            port: 443,
            proto: 6,
        }
    }

    #[test]
    fn a_domain_of_rotating_addresses_is_one_destination() {
        let mut destinations = Destinations::new();
        for host in 0..84 {
            destinations.note(&key(host, host as u8), Some("eu3.edr.example.org"), 1);
        }

        let users = destinations.users(&key(7, 200), Some("us1.edr.example.org"));

        assert!((76..=92).contains(&users), "{users}");
        assert_eq!(destinations.users(&key(7, 7), None), 1);
    }

    #[test]
    fn few_hosts_are_counted_exactly() {
        let mut destinations = Destinations::new();
        for host in [1, 2, 3, 1, 2] {
            destinations.note(&key(host, 9), None, 1);
        }

        assert_eq!(destinations.users(&key(1, 9), None), 3);
    }
}
