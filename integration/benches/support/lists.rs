//! Lists of addresses, drawn by a fixed seed.

use std::collections::BTreeMap;

use netd_common::{
    key::Address,
    verdict::{Prefix, front_bit, near},
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What is listed. None of it is private, as the bench's own addresses are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    pub(crate) hosts: Vec<Address>,
    pub(crate) prefixes: Vec<Prefix>,
}

impl Lists {
    /// Returns hosts all over the IPv4 addresses, and prefixes of 20 to 24 bits, or of 25 to 32 where there are more
    /// than those would be.
    pub(crate) fn random(hosts: usize, prefixes: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let hosts = (0..hosts).map(|_| Address::v4(public(&mut random).to_be_bytes())).collect();
        let lengths = if prefixes > 100_000 { 24..=32 } else { 20..=24 };
        let prefixes = (0..prefixes).map(|_| {
            let bits = random.random_range(lengths.clone());
            let address = public(&mut random) & u32::MAX << (32 - bits);
            Prefix { bits: 96 + bits, address: Address::v4(address.to_be_bytes()).0 }
        });
        let prefixes = prefixes.collect();
        Self { hosts, prefixes }
    }

    /// Returns the words of the front, and their bits.
    pub(crate) fn front(&self) -> BTreeMap<u32, u64> {
        let mut words = BTreeMap::new();
        let mut mark = |bit: u32, near: u8| *words.entry(bit / 64).or_insert(0) |= u64::from(near) << (bit % 64);
        for host in &self.hosts {
            mark(front_bit(host), near::HOST);
        }
        for prefix in &self.prefixes {
            let first = front_bit(&Address(prefix.address));
            let sites = 1 << 120_u32.saturating_sub(prefix.bits);
            (0..sites).for_each(|site| mark(first + 2 * site, near::PREFIX));
        }
        words
    }
}

fn public(random: &mut ChaCha8Rng) -> u32 {
    // From 11.0.0.0 to 191.255.255.255.
    random.random_range(11 << 24..192 << 24)
}
