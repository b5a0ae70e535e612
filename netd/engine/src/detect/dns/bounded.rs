//! A map that does not grow beyond its limit: of a few entries compared, the one worth least gives way, not the oldest.
//!
//! The idea of space-saving (Metwally, Agrawal, El Abbadi 2005) with a sample for the minimum, so that a flood of new
//! keys costs a constant each and displaces itself.

use std::collections::HashMap;
use std::hash::Hash;

use crate::slab::{Handle, Slab};

/// Entries compared before one gives way.
const COMPARED: usize = 16;

/// What an entry is worth keeping for.
pub(super) trait Worth {
    /// Returns a number that is the larger the more would be lost with the entry.
    fn worth(&self, now_ns: u64) -> f64;
}

pub(super) struct Bounded<K, V> {
    handles: HashMap<K, Handle>,
    entries: Slab<(K, V)>,
    limit: usize,
    /// Where the search for the next to give way goes on.
    hand: u32,
    evicted: u64,
}

impl<K: Copy + Eq + Hash, V: Worth> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { handles: HashMap::new(), entries: Slab::new(), limit: limit.max(1), hand: 0, evicted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many places there are, in use or not.
    pub(super) fn places(&self) -> u32 {
        self.entries.places()
    }

    /// Returns the entry at a place, if it is in use.
    pub(super) fn at(&self, place: u32) -> Option<&(K, V)> {
        self.entries.get(self.entries.at(place)?)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.handles.get(key).and_then(|handle| self.entries.get(*handle)).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let handle = *self.handles.get(key)?;
        self.entries.get_mut(handle).map(|(_, value)| value)
    }

    /// Changes the entry of a key, made new where there is none.
    pub(super) fn change<R>(
        &mut self,
        key: K,
        now_ns: u64,
        new: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        if let Some(value) = self.get_mut(&key) {
            return change(value);
        }
        if self.entries.len() >= self.limit {
            self.make_room(now_ns);
        }
        let mut value = new();
        let result = change(&mut value);
        let handle = self.entries.insert((key, value));
        self.handles.insert(key, handle);
        result
    }

    fn make_room(&mut self, now_ns: u64) {
        let places = self.entries.places();
        let mut least: Option<(Handle, f64)> = None;
        // Full, every place is in use.
        for _ in 0..COMPARED {
            self.hand = (self.hand + 1) % places.max(1);
            let Some(handle) = self.entries.at(self.hand) else { continue };
            let Some((_, value)) = self.entries.get(handle) else { continue };
            let worth = value.worth(now_ns);
            if least.is_none_or(|(_, other)| worth < other) {
                least = Some((handle, worth));
            }
        }
        if let Some((key, _)) = least.and_then(|(handle, _)| self.entries.remove(handle)) {
            self.handles.remove(&key);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Worth for u32 {
        fn worth(&self, _now_ns: u64) -> f64 {
            f64::from(*self)
        }
    }

    #[test]
    fn a_flood_of_new_keys_displaces_itself_and_not_what_is_worth_more() {
        let mut map = Bounded::new(64);
        for _ in 0..100 {
            map.change(u64::MAX, 0, || 0_u32, |count| *count += 1);
        }

        for key in 0..1_000_000_u64 {
            map.change(key, 0, || 1, |_| ());
        }

        assert_eq!(map.len(), 64);
        assert_eq!(map.handles.len(), 64);
        assert_eq!(map.evicted(), 1_000_001 - 64);
        assert_eq!(map.get(&u64::MAX), Some(&100));
    }
}
