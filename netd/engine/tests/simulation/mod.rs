//! Seeded laws of gaps: the timers that must be found and the irregular ones that must not.

use netd_engine::detect::beacon::Timing;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const GATE_NS: u64 = 750_000_000;

/// A law of the sleep between check-ins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sleep {
    pub(crate) name: &'static str,
    /// Shortest and longest sleep over the nominal one.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

pub(crate) const SLEEPS: [Sleep; 9] = [
    Sleep { name: "fixed", from: 1.0, to: 1.0 },
    Sleep { name: "jitter 10 %", from: 0.9, to: 1.0 },
    Sleep { name: "jitter 25 %", from: 0.75, to: 1.0 },
    Sleep { name: "jitter 50 %", from: 0.5, to: 1.0 },
    Sleep { name: "jitter 75 %", from: 0.25, to: 1.0 },
    Sleep { name: "jitter 90 %", from: 0.1, to: 1.0 },
    Sleep { name: "+-50 % (Empire, PoshC2, Mythic)", from: 0.5, to: 1.5 },
    Sleep { name: "Sliver default S+U(0,S/2)", from: 1.0, to: 1.5 },
    Sleep { name: "Caldera U(S/2,S)", from: 0.5, to: 1.0 },
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Implant {
    pub(crate) sleep: Sleep,
    pub(crate) period_s: f64,
    /// Probability that a check-in is not seen.
    pub(crate) missed: f64,
    /// Probability that a check-in brings tasks: a burst of quick turns, then the sleep again.
    pub(crate) tasked: f64,
}

impl Implant {
    /// Returns the check-ins (seen ones) after which E first reached each of e^thresholds.
    pub(crate) fn check_ins<const N: usize>(&self, seed: u64, most: usize, thresholds: [f64; N]) -> [Option<u32>; N] {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut timing = Timing::new();
        let mut reached = [None; N];
        let mut at_s = random.random_range(0.0..1000.0);
        for check_in in 1..=most as u32 {
            timing.observe((at_s * 1e9) as u64, GATE_NS);
            if random.random_bool(self.tasked) {
                for _ in 0..random.random_range(1..=4) {
                    at_s += random.random_range(0.8..4.0);
                    timing.observe((at_s * 1e9) as u64, GATE_NS);
                }
            }
            for (reached, threshold) in reached.iter_mut().zip(thresholds) {
                if reached.is_none() && timing.ln_e() >= threshold {
                    *reached = Some(check_in);
                }
            }
            if reached.iter().all(Option::is_some) {
                break;
            }
            at_s += self.gap(&mut random);
        }
        reached
    }

    fn gap(&self, random: &mut ChaCha8Rng) -> f64 {
        let mut gap = 0.0;
        loop {
            // The network adds some milliseconds.
            gap += self.period_s * uniform(random, self.sleep.from, self.sleep.to) + random.random_range(0.0..0.02);
            if !random.random_bool(self.missed) {
                return gap;
            }
        }
    }
}

/// A law of gaps without a timer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Irregular {
    Poisson,
    Lognormal(f64),
    /// Pareto of the second kind (Lomax) beyond the gate.
    Pareto(f64),
    /// Pareto of the first kind: no gap is below a fifth of the scale. Such a floor is timing, and outside the null.
    ParetoAboveFloor(f64),
    /// Quick turns in a session, long pauses between sessions.
    Sessions,
    Gamma2,
}

pub(crate) const IRREGULARS: [(&str, Irregular); 7] = [
    ("Poisson", Irregular::Poisson),
    ("lognormal 1.0", Irregular::Lognormal(1.0)),
    ("lognormal 1.8", Irregular::Lognormal(1.8)),
    ("Pareto 1.2", Irregular::Pareto(1.2)),
    ("sessions", Irregular::Sessions),
    ("gamma 2", Irregular::Gamma2),
    ("Pareto 1.2 above a floor (outside)", Irregular::ParetoAboveFloor(1.2)),
];

impl Irregular {
    /// Returns the largest ln E over `events` turns, with times in steps of `tick_s`.
    pub(crate) fn largest_ln_e(self, seed: u64, events: usize, mean_s: f64, tick_s: f64) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut timing = Timing::new();
        let mut largest = 0.0_f64;
        let mut at_s = 1.0;
        for _ in 0..events {
            let seen_s = if tick_s > 0.0 { (at_s / tick_s).floor() * tick_s } else { at_s };
            timing.observe((seen_s * 1e9).round() as u64, GATE_NS);
            largest = largest.max(timing.ln_e());
            at_s += self.gap(&mut random, mean_s);
        }
        largest
    }

    fn gap(self, random: &mut ChaCha8Rng, mean_s: f64) -> f64 {
        let gate_s = GATE_NS as f64 * 1e-9;
        match self {
            Self::Poisson => mean_s * exponential(random),
            Self::Lognormal(sigma) => gate_s + mean_s * (sigma * normal(random)).exp(),
            Self::Pareto(shape) => gate_s + mean_s * (exponential(random) / shape).exp_m1(),
            Self::ParetoAboveFloor(shape) => gate_s + 0.2 * mean_s * (exponential(random) / shape).exp(),
            Self::Sessions if random.random_bool(0.15) => mean_s * 20.0 * exponential(random),
            Self::Sessions => gate_s + 0.2 * mean_s * exponential(random),
            Self::Gamma2 => 0.5 * mean_s * (exponential(random) + exponential(random)),
        }
    }
}

/// Returns the median and the 90th percentile (nearest rank); `None` where they were not reached.
pub(crate) fn median_and_90(mut runs: Vec<Option<u32>>) -> (Option<u32>, Option<u32>) {
    runs.sort_by_key(|run| run.unwrap_or(u32::MAX));
    let rank = |p: f64| runs[((p * runs.len() as f64).ceil() as usize).clamp(1, runs.len()) - 1];
    (rank(0.5), rank(0.9))
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
