//! A map of bounded size: when it is full, of some entries the one worth least gives way, whatever its age.

use std::collections::HashMap;
use std::hash::Hash;

use crate::slab::{Handle, Slab};

/// Entries compared before one gives way.
const COMPARED: usize = 16;

/// Something that can say how much would be lost with it.
pub(crate) trait Worth {
    /// Evidence first, then when it was last of use; record time in nanoseconds.
    fn worth(&self) -> (f32, u64);
}

#[derive(Debug)]
pub(crate) struct Pool<K, V> {
    entries: Slab<(K, V)>,
    /// Keys are chosen by whoever sends packets, hence the standard library's keyed hash.
    index: HashMap<K, Handle>,
    limit: usize,
    /// Where the search for the next to give way goes on.
    hand: u32,
    pub(crate) evicted: u64,
}

impl<K: Clone + Eq + Hash, V: Worth> Pool<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Slab::new(), index: HashMap::new(), limit: limit.max(1), hand: 0, evicted: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(*self.index.get(key)?).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(*self.index.get(key)?).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// Returns the entry of `key`, made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let handle = match self.index.get(&key) {
            Some(handle) => *handle,
            None => {
                self.make_room();
                let handle = self.entries.insert((key.clone(), make()));
                self.index.insert(key, handle);
                handle
            }
        };
        self.entries.get_mut(handle).map(|(_, value)| value)
    }

    fn make_room(&mut self) {
        if self.entries.len() < self.limit {
            return;
        }
        let places = self.entries.places();
        let mut least: Option<(Handle, (f32, u64))> = None;
        // No place is free while the pool is full.
        for _ in 0..COMPARED {
            self.hand = (self.hand + 1) % places.max(1);
            let Some(handle) = self.entries.at(self.hand) else { continue };
            let Some((_, value)) = self.entries.get(handle) else { continue };
            let worth = value.worth();
            if least.is_none_or(|(_, other)| worth < other) {
                least = Some((handle, worth));
            }
        }
        if let Some((key, _)) = least.and_then(|(handle, _)| self.entries.remove(handle)) {
            self.index.remove(&key);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Worth for f32 {
        fn worth(&self) -> (f32, u64) {
            (*self, 0)
        }
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_the_memory_nor_drive_out_evidence() {
        let mut pool = Pool::new(64);
        pool.get_or_insert_with(0_u32, || 9.0_f32);

        for key in 1..100_000 {
            pool.get_or_insert_with(key, || 0.5);
        }

        assert_eq!(pool.len(), 64);
        assert_eq!(pool.get(&0), Some(&9.0));
        assert_eq!(pool.evicted, 100_000 - 64);
    }
}
