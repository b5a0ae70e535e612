//! Seeded turns: of the timers that must be found, and of the irregular ones that must not.
//!
//! Everything here is a function of a seed. [`seeds`] gives those of [`TUNING`], which choices may look at, and those of [`REPORT`], which
//! only measurements use.

pub(crate) mod irregular;
pub(crate) mod timer;

use netd_engine::detect::beacon::Timing;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use timer::Turn;

pub(crate) const GATE_NS: u64 = 750_000_000;
/// ln 10^4.
pub(crate) const CONVINCED: f64 = 9.210_340_371_976_184;

/// A range of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(u64);

pub(crate) const TUNING: Seeds = Seeds(0);
pub(crate) const REPORT: Seeds = Seeds(1 << 40);

/// Returns the generators of `runs` runs.
pub(crate) fn seeds(seeds: Seeds, runs: u64) -> impl Iterator<Item = ChaCha8Rng> {
    (seeds.0..seeds.0 + runs).map(ChaCha8Rng::seed_from_u64)
}

/// Returns the check-ins after which E first reached each of e^thresholds.
pub(crate) fn check_ins_needed<const N: usize>(
    turns: impl IntoIterator<Item = Turn>,
    gate_ns: u64,
    thresholds: [f64; N],
) -> [Option<u32>; N] {
    let mut timing = Timing::new();
    let mut reached = [None; N];
    let mut check_ins = 0;
    for turn in turns {
        check_ins += u32::from(turn.is_check_in);
        timing.observe(nanoseconds(turn.at_s), gate_ns);
        for (reached, threshold) in reached.iter_mut().zip(thresholds) {
            if reached.is_none() && timing.ln_e() >= threshold {
                *reached = Some(check_ins);
            }
        }
        if reached.iter().all(Option::is_some) {
            break;
        }
    }
    reached
}

/// Returns the largest ln E over all `times`, seen by a clock of steps of `tick_s` (0: exact).
pub(crate) fn largest_ln_e(times: impl IntoIterator<Item = f64>, gate_ns: u64, tick_s: f64) -> f64 {
    let mut timing = Timing::new();
    let seen = |at_s: f64| if tick_s > 0.0 { (at_s / tick_s).floor() * tick_s } else { at_s };
    times.into_iter().fold(0.0, |largest: f64, at_s| {
        timing.observe(nanoseconds(seen(at_s)), gate_ns);
        largest.max(timing.ln_e())
    })
}

/// Returns the median and the 90th percentile (nearest rank); `None` where they were not reached.
pub(crate) fn median_and_90(mut runs: Vec<Option<u32>>) -> (Option<u32>, Option<u32>) {
    runs.sort_by_key(|run| run.unwrap_or(u32::MAX));
    let rank = |p: f64| runs[((p * runs.len() as f64).ceil() as usize).clamp(1, runs.len()) - 1];
    (rank(0.5), rank(0.9))
}

fn nanoseconds(at_s: f64) -> u64 {
    (at_s * 1e9).round() as u64
}

fn uniform(random: &mut ChaCha8Rng, from: f64, to: f64) -> f64 {
    from + (to - from) * random.random::<f64>()
}

fn exponential(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    (2.0 * exponential(random)).sqrt() * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
