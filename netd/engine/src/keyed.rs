//! Numbers for what others choose, under a key they do not know: whoever can foretell which bits of a sketch his names
//! and targets set can pick those that set none.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// The key of an engine's sketches: see [`crate::config::Config::sketch_key`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SketchKey(u64);

impl SketchKey {
    pub(crate) const fn new(key: u64) -> Self {
        Self(key)
    }

    /// Returns a number of `value`: SipHash, after the key.
    pub(crate) fn number<T: Hash + ?Sized>(self, value: &T) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 256 bits are set by targets that were chosen to set one under a known key.
    fn bits_set(key: SketchKey) -> usize {
        let chosen = (0..u64::MAX).filter(|target| SketchKey::new(0).number(target) & 0xff == 7).take(4_096);
        let bits: std::collections::HashSet<_> = chosen.map(|target| key.number(&target) & 0xff).collect();
        bits.len()
    }

    #[test]
    fn what_collides_under_a_known_key_does_not_under_another() {
        assert_eq!((bits_set(SketchKey::new(0)), bits_set(SketchKey::new(1))), (1, 256));
    }
}
