//! Randomness that is the same on every machine.
//!
//! Only the raw output of ChaCha8 is used, and arithmetic that IEEE 754 fixes to the last bit: neither a new release of a
//! library nor another libm changes a capture that was generated before.

use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers, given by its seed.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number in [`low`, `high`).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns a whole number in `low..=high`; `low` when the range is empty.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        let span = (high.max(low) - low) as u64 + 1;
        // The bias of the remainder is below 2^-40 for every range used here.
        low + (self.bits() % span) as usize
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a lognormal number: `median` times e to the `sigma` times a normal number.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * exp(sigma * self.normal())
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A sum of twelve uniform numbers: normal to within 6 sigma, which is all that traffic asks for.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// e to the x, from additions and multiplications alone.
fn exp(x: f64) -> f64 {
    let halvings = 10;
    let small = x / f64::from(1 << halvings);
    let series = 1.0 + small * (1.0 + small / 2.0 * (1.0 + small / 3.0 * (1.0 + small / 4.0)));
    (0..halvings).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_for_ever() {
        let mut dice = Dice::new(1);

        assert_eq!([dice.bits(), dice.bits()], [7_424_550_030_962_593_201, 1_482_817_706_323_250_795]);
    }

    #[test]
    fn the_series_is_the_exponential() {
        for tenths in -80..80 {
            let x = f64::from(tenths) / 10.0;

            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-9, "{x}");
        }
    }

    #[test]
    fn lognormal_numbers_keep_their_median() {
        let mut dice = Dice::new(7);
        let below = (0..10_000).filter(|_| dice.lognormal(3.0, 1.5) < 3.0).count();

        assert!((4_800..5_200).contains(&below), "{below}");
    }
}
