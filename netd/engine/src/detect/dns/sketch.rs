//! Numbers of different things, estimated in constant memory.

use std::f64::consts::LN_2;

/// Registers of a [`Sketch`]: a standard error of 1.04 / sqrt(128), 9 %.
const REGISTERS: usize = 128;

/// HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) with linear counting below its range.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    registers: [u8; REGISTERS],
}

impl Sketch {
    pub(super) const fn new() -> Self {
        Self { registers: [0; REGISTERS] }
    }

    /// Adds a thing by its number; returns whether the sketch changed.
    fn add(&mut self, hash: u64) -> bool {
        let rank = ((hash >> 7) | 1 << 57).trailing_zeros() as u8 + 1;
        let register = &mut self.registers[(hash as usize) % REGISTERS];
        let changed = rank > *register;
        *register = rank.max(*register);
        changed
    }

    /// Adds a thing that weighs `weight`: as many things of weight one. So the estimate is the sum of the weights of
    /// different things, which is the information of Ozery, Nadler and Shabtai (arXiv 2307.02614).
    pub(super) fn add_weighed(&mut self, hash: u64, weight: usize) -> bool {
        let mut changed = false;
        for n in 0..weight as u64 {
            changed |= self.add(mix(hash ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
        changed
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(other.registers) {
            *mine = theirs.max(*mine);
        }
    }

    pub(super) fn estimate(&self) -> f64 {
        let count = REGISTERS as f64;
        let alpha = 0.7213 / (1.0 + 1.079 / count);
        let sum: f64 = self.registers.iter().map(|rank| f64::from_bits((1023 - u64::from(*rank)) << 52)).sum();
        let raw = alpha * count * count / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        if raw <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { raw }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many different things were seen, up to some five times `64 * WORDS`: linear counting (Whang, Vander-Zanden,
/// Taylor 1990).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Few<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Few<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> Few<WORDS> {
    pub(super) const fn new() -> Self {
        Self([0; WORDS])
    }

    /// Adds a thing by its number; returns whether it changed anything.
    pub(super) fn add(&mut self, hash: u64) -> bool {
        let bit = (mix(hash) as usize) % (64 * WORDS);
        let (word, mask) = (&mut self.0[bit / 64], 1 << (bit % 64));
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    pub(super) fn estimate(&self) -> f64 {
        let bits = (64 * WORDS) as f64;
        let empty: u32 = self.0.iter().map(|word| word.count_zeros()).sum();
        // Full, it says at least what one empty bit would.
        bits * (bits / f64::from(empty.max(1))).ln()
    }

    /// Returns the estimate as a count.
    pub(super) fn count(&self) -> u32 {
        self.estimate().round() as u32
    }
}

/// Shannon entropy in bits of a histogram.
pub(super) fn entropy(counts: &[u16]) -> f64 {
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    let share = |count: &u16| f64::from(*count) / total;
    counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).ln() / LN_2).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_near_the_number_of_different_things_however_often_each_is_seen() {
        for weight in [20_u64, 100, 512, 5_000, 100_000] {
            let mut sketch = Sketch::new();
            for n in 0..weight / 20 {
                for _ in 0..3 {
                    sketch.add_weighed(mix(n), 20);
                }
            }
            let ratio = sketch.estimate() / weight as f64;

            assert!((0.7..1.3).contains(&ratio), "{weight}: {ratio}");
        }
    }

    #[test]
    fn a_union_counts_what_both_have_once() {
        let (mut a, mut b) = (Sketch::new(), Sketch::new());
        for n in 0..200 {
            a.add_weighed(mix(n), 10);
            b.add_weighed(mix(n + 100), 10);
        }
        a.join(&b);

        assert!((2_100.0..3_900.0).contains(&a.estimate()), "{}", a.estimate());
    }

    #[test]
    fn a_few_are_counted_nearly_exactly() {
        let mut few = Few::<4>::new();
        for n in 0..60 {
            few.add(n % 30);
        }

        assert!((27..=33).contains(&few.count()), "{}", few.count());
    }

    #[test]
    fn entropy_is_that_of_the_alphabet() {
        assert!((entropy(&[5; 16]) - 4.0).abs() < 1e-9);
        assert_eq!(entropy(&[7, 0, 0]), 0.0);
    }
}
