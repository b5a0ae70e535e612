//! Samples in turns, and what they say.

use anyhow::Result;

/// How often to sample, and how many packets a sample is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) samples: usize,
    pub(crate) packets: u32,
}

/// The smallest samples of each contestant, by round.
#[derive(Clone, Debug)]
pub(crate) struct Race<const N: usize> {
    rounds: Vec<[f64; N]>,
}

/// A figure: from the smallest samples of all, and the median of the rounds' own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) median: f64,
}

impl<const N: usize> Race<N> {
    /// Samples contestants in turns. `sample` returns nanoseconds a packet of contestant 0 to `N` - 1.
    pub(crate) fn run(effort: Effort, mut sample: impl FnMut(usize, u32) -> Result<f64>) -> Result<Self> {
        let mut rounds = Vec::with_capacity(effort.rounds);
        for _ in 0..effort.rounds {
            let mut smallest = [f64::INFINITY; N];
            for _ in 0..effort.samples {
                for (contestant, smallest) in smallest.iter_mut().enumerate() {
                    *smallest = smallest.min(sample(contestant, effort.packets)?);
                }
            }
            rounds.push(smallest);
        }
        Ok(Self { rounds })
    }

    /// Returns what `of` makes of the contestants' times.
    pub(crate) fn figure(&self, of: impl Fn(&[f64; N]) -> f64) -> Figure {
        let mut each: Vec<f64> = self.rounds.iter().map(&of).collect();
        each.sort_by(f64::total_cmp);
        Figure { value: of(&self.smallest()), median: each[each.len() / 2] }
    }

    /// Returns each contestant's smallest sample.
    pub(crate) fn smallest(&self) -> [f64; N] {
        std::array::from_fn(|at| self.rounds.iter().map(|round| round[at]).fold(f64::INFINITY, f64::min))
    }
}
