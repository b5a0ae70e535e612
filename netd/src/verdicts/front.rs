//! The coarse bitmap in front of the lookup maps, and the service's copy of it.
//!
//! A set bit costs a look-up; a clear one is a promise that nothing below it is listed. So bits are set before a key
//! is inserted, and cleared only when enough of them have become idle.

use std::ops::Range;

use netd_common::key::Address;
use netd_common::verdict::{FRONT_BITS, FRONT_WORDS, front_bit, near};

use super::maps::{Error, MapKey, Maps};

/// Prefixes of IPv6 shorter than this have no bit of their own.
const SITE_BITS: u32 = 48;

/// What the kernel's front holds.
#[derive(Debug)]
pub(super) struct Front {
    words: Vec<u64>,
    short_v6: bool,
    /// Keys removed since the last rebuild: how many bits may be idle.
    removed: u64,
}

impl Front {
    /// Returns a copy of what the kernel holds.
    pub(super) fn read<M: Maps>(maps: &M) -> Result<Self, Error> {
        let mut words = maps.front()?;
        words.resize(FRONT_WORDS as usize, 0);
        Ok(Self { words, short_v6: false, removed: 0 })
    }

    /// Returns the front of nothing.
    pub(super) fn empty() -> Self {
        Self { words: vec![0; FRONT_WORDS as usize], short_v6: false, removed: 0 }
    }

    /// Sets the bits of `keys` in this copy alone, and returns the words that changed.
    pub(super) fn plan<'a>(&mut self, keys: impl Iterator<Item = &'a MapKey>) -> Vec<u32> {
        let mut changed = Vec::new();
        for key in keys {
            self.short_v6 |= is_short_v6(key);
            each_mask(key, &mut |word, bits| {
                let held = &mut self.words[word as usize];
                if *held | bits != *held {
                    *held |= bits;
                    changed.push(word);
                }
            });
        }
        changed
    }

    /// Returns words with their numbers.
    pub(super) fn numbered(&self, words: impl Iterator<Item = u32>) -> Vec<(u32, u64)> {
        words.filter_map(|word| Some((word, *self.words.get(word as usize)?))).collect()
    }

    pub(super) const fn short_v6(&self) -> bool {
        self.short_v6
    }

    /// Sets the bits of `keys`.
    pub(super) fn mark<'a, M: Maps>(
        &mut self,
        maps: &mut M,
        keys: impl Iterator<Item = &'a MapKey>,
    ) -> Result<(), Error> {
        let (mut before, mut short_v6) = (Vec::new(), self.short_v6);
        for key in keys {
            short_v6 |= is_short_v6(key);
            each_mask(key, &mut |word, bits| {
                let held = self.words[word as usize];
                if held | bits != held {
                    before.push((word, held));
                    self.words[word as usize] = held | bits;
                }
            });
        }
        let mut changed: Vec<_> = before.iter().map(|(word, _)| *word).collect();
        changed.sort_unstable();
        changed.dedup();
        let written = self.write(maps, &changed).and_then(|()| match short_v6 && !self.short_v6 {
            true => maps.set_short_v6_prefixes(true),
            false => Ok(()),
        });
        match &written {
            Ok(()) => self.short_v6 = short_v6,
            Err(_) => before.iter().rev().for_each(|(word, held)| self.words[*word as usize] = *held),
        }
        written
    }

    /// Returns the words from `first` on that the kernel holds otherwise than they should be.
    pub(super) fn differing(&self, first: u32, held: &[u64]) -> Vec<u32> {
        let wanted = self.words.get(first as usize..).unwrap_or_default();
        (first..).zip(wanted.iter().zip(held)).filter(|(_, (wanted, held))| wanted != held).map(|(at, _)| at).collect()
    }

    /// Returns runs of words from `first` on in which something is listed: of the next `scanned`, and at most so many.
    /// With them, where to go on.
    pub(super) fn listed(&self, first: u32, scanned: u32, most: u32) -> (Vec<Range<u32>>, u32) {
        let end = FRONT_WORDS.min(first + scanned);
        let (mut runs, mut left) = (Vec::<Range<u32>>::new(), most);
        for at in first..end {
            if self.words.get(at as usize).is_none_or(|word| *word == 0) {
                continue;
            }
            if left == 0 {
                return (runs, at);
            }
            left -= 1;
            match runs.last_mut().filter(|run| run.end == at) {
                Some(run) => run.end = at + 1,
                None => runs.push(at..at + 1),
            }
        }
        (runs, end % FRONT_WORDS)
    }

    /// Notes that keys are gone, and returns whether a rebuild is worth its while.
    pub(super) fn note_removed(&mut self, count: u64, remaining: u64) -> bool {
        self.removed += count;
        self.removed > 1_024.max(remaining / 4)
    }

    /// Clears every bit that none of `keys` needs. `keys` must be all that are in the kernel.
    pub(super) fn rebuild<M: Maps>(&mut self, maps: &mut M, keys: impl Iterator<Item = MapKey>) -> Result<(), Error> {
        let mut wanted = vec![0_u64; FRONT_WORDS as usize];
        let mut short_v6 = false;
        for key in keys {
            short_v6 |= is_short_v6(&key);
            each_mask(&key, &mut |word, bits| wanted[word as usize] |= bits);
        }
        let changed: Vec<u32> = (0..FRONT_WORDS).filter(|w| wanted[*w as usize] != self.words[*w as usize]).collect();
        let before = std::mem::replace(&mut self.words, wanted);
        if let Err(error) = self.write(maps, &changed) {
            // Too many bits are harmless, too few are not.
            self.words.iter_mut().zip(before).for_each(|(word, before)| *word |= before);
            return Err(error);
        }
        // Also when it was off here: a former run may have left it on.
        maps.set_short_v6_prefixes(short_v6)?;
        self.short_v6 = short_v6;
        self.removed = 0;
        Ok(())
    }

    /// Writes words as they should be.
    pub(super) fn write<M: Maps>(&self, maps: &mut M, changed: &[u32]) -> Result<(), Error> {
        let words: Vec<_> = changed.iter().map(|word| (*word, self.words[*word as usize])).collect();
        match words.is_empty() {
            true => Ok(()),
            false => maps.write_front(&words),
        }
    }
}

fn is_short_v6(key: &MapKey) -> bool {
    match key {
        MapKey::Prefix(prefix) => prefix.bits < SITE_BITS,
        MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Host(_) | MapKey::Allow(_) => false,
    }
}

/// Calls `each` with the words and the bits in them that a key needs set.
fn each_mask(key: &MapKey, each: &mut impl FnMut(u32, u64)) {
    let mut one = |address: &Address, near: u8| {
        let bit = front_bit(address);
        each(bit / 64, u64::from(near) << (bit % 64));
    };
    match key {
        MapKey::Flow(flow) => {
            one(&flow.src, near::ANYTHING);
            one(&flow.dst, near::ANYTHING);
        }
        MapKey::Endpoint(endpoint) => one(&endpoint.address, near::ANYTHING),
        MapKey::Host(address) => one(address, near::HOST),
        MapKey::Prefix(prefix) if prefix.bits < SITE_BITS => {}
        MapKey::Prefix(prefix) if prefix.bits < 96 || !Address(prefix.address).is_v4() => {
            one(&Address(prefix.address), near::PREFIX);
        }
        // IPv4, a /24 two bits: wider prefixes are a run of them.
        MapKey::Prefix(prefix) => {
            let first = front_bit(&Address(prefix.address));
            let count = 2_u32 << (120_u32.saturating_sub(prefix.bits));
            run(first, first + count).for_each(|(word, bits)| each(word, bits & EVERY_PREFIX));
        }
        MapKey::Allow(_) => {}
    }
}

/// [`near::PREFIX`] of each neighbourhood in a word.
const EVERY_PREFIX: u64 = u64::MAX / near::ANYTHING as u64 * near::PREFIX as u64;

/// Returns the bits `first..end` by words. A run longer than a word is aligned, as prefixes are.
fn run(first: u32, end: u32) -> impl Iterator<Item = (u32, u64)> {
    debug_assert!(end <= FRONT_BITS);
    (first / 64..end.div_ceil(64)).map(move |word| {
        let from = first.saturating_sub(word * 64).min(63);
        let to = (end - word * 64).min(64);
        let below = if to == 64 { u64::MAX } else { (1 << to) - 1 };
        (word, below & (u64::MAX << from))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verdicts::blocklist::Item;
    use crate::verdicts::fake::Fake;

    fn key(text: &str) -> MapKey {
        text.parse::<Item>().unwrap().key()
    }

    fn is_set(fake: &Fake, address: &str) -> bool {
        let bit = front_bit(&address.parse::<std::net::IpAddr>().unwrap().into());
        fake.front().unwrap()[bit as usize / 64] >> (bit % 64) & 3 != 0
    }

    #[test]
    fn a_prefix_sets_the_bits_of_all_its_addresses_and_no_other() {
        let mut fake = Fake::default();
        let mut front = Front::read(&fake).unwrap();

        front.mark(&mut fake, [key("10.4.0.0/15"), key("192.0.2.128/25"), key("2001:db8:7::/48")].iter()).unwrap();

        for inside in ["10.4.0.1", "10.5.255.255", "192.0.2.1", "2001:db8:7::9"] {
            assert!(is_set(&fake, inside), "{inside}");
        }
        for outside in ["10.3.255.255", "10.6.0.0", "192.0.3.1"] {
            assert!(!is_set(&fake, outside), "{outside}");
        }
    }

    #[test]
    fn a_short_ipv6_prefix_switches_the_front_off_for_ipv6() {
        let mut fake = Fake::default();
        let mut front = Front::read(&fake).unwrap();

        front.mark(&mut fake, [key("2001:db8::/32")].iter()).unwrap();
        assert!(fake.short_v6_prefixes());

        front.rebuild(&mut fake, std::iter::empty()).unwrap();
        assert!(!fake.short_v6_prefixes());
    }

    #[test]
    fn a_rebuild_clears_what_nobody_needs() {
        let mut fake = Fake::default();
        let mut front = Front::read(&fake).unwrap();
        front.mark(&mut fake, [key("192.0.2.1"), key("198.51.100.1")].iter()).unwrap();

        front.rebuild(&mut fake, [key("192.0.2.1")].into_iter()).unwrap();

        assert!(is_set(&fake, "192.0.2.1"));
        assert!(!is_set(&fake, "198.51.100.1"));
    }

    proptest! {
        #[test]
        fn a_run_has_exactly_its_bits(bits in 0_u32..=24, start in any::<u32>()) {
            let count = 1_u32 << bits;
            let first = (start % FRONT_BITS) / count * count;

            let set: u32 = run(first, first + count).map(|(_, mask)| mask.count_ones()).sum();
            let least = run(first, first + count).next().map(|(word, mask)| word * 64 + mask.trailing_zeros());

            prop_assert_eq!(set, count);
            prop_assert_eq!(least, Some(first));
        }
    }
}
