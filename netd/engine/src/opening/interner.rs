//! Equal values kept once: what clients say of themselves repeats from conversation to conversation.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// A bounded set of shared values.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized> {
    values: HashSet<Arc<T>>,
    limit: usize,
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { values: HashSet::new(), limit }
    }

    /// Returns the one copy of a value. A full set forgets first what nobody else holds, then everything.
    pub(super) fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        if self.values.len() >= self.limit {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            // Half must go, or a set of values in use would be searched through for every newcomer.
            if self.values.len() > self.limit / 2 {
                self.values.clear();
            }
        }
        self.values.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let mut interner: Interner<str> = Interner::new(8);

        let first = interner.share(Arc::from("curl/8"));
        let second = interner.share(Arc::from("curl/8"));

        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn the_set_stays_within_its_limit_whether_or_not_its_values_are_in_use() {
        let mut interner: Interner<str> = Interner::new(8);

        let held: Vec<_> = (0..100).map(|n| interner.share(Arc::from(n.to_string()))).collect();

        assert_eq!(held.len(), 100);
        assert!(interner.values.len() <= 8);
    }
}
