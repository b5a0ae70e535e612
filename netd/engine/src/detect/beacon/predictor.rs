//! The alternative: what a timer's next gap would be, given the gaps so far.
//!
//! A [`Predictor`] is a Bayes mixture of experts, each a density of `x = ln d` (d in seconds) that reads only the past. Whatever the
//! experts are, the product of such densities is a probability law, which is all that the e-process needs;
//! the choice decides only how soon a timer is recognised. A density that integrates to less than one is safe.
//!
//! - **Kernel**: a density estimate over the last gaps, one expert for each bandwidth; part of it at twice and half
//!   each gap, for beats missed.
//! - **Student**: a normal law of `x` with unknown mean and variance; the predictive under the normal-inverse-gamma prior is
//!   Student's t (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution"), one expert for each prior scale. Gaps two or three
//!   times the mean are folded back.
//! - **Range** ([`range`]): sleeps drawn uniformly from an interval.
//! - **Phase** ([`phase`]): a clock that keeps its phase, whatever delays single beats.
//! - **Growth** ([`growth`]): schedules whose gaps follow from the gaps before.
//! - **Pair** ([`pair`]): two timers on one key.
//!
//! No kernel is narrower than [`RESOLUTION_S`]: a clock that ticks in steps of up to that size looks continuous to every expert,
//! and its lattice is not taken for regularity.

use serde::{Deserialize, Serialize};

use super::growth::{self, Growth};
use super::pair::{self, Timers};
use super::student::Student;
use super::window::Window;
use super::{LN_2, LN_3, RESOLUTION_S, Shape, fast_exp, phase, range};

const BANDWIDTHS: [f32; 5] = [0.001, 0.004, 0.015, 0.05, 0.12];
/// Of what is no beat: bursts, pauses.
const WIDE: f32 = 0.25;
const PRIOR_SCALES: [f32; 3] = [0.02, 0.12, 0.35];
/// Prior weights: those of all experts sum to one.
const KERNEL_WEIGHT: f32 = 0.033;
const STUDENT_WEIGHT: f32 = 0.0403;
const MOST_VARIANCE: f32 = 0.16;

/// Where each kind's experts begin.
const STUDENTS: usize = BANDWIDTHS.len();
const RANGES: usize = STUDENTS + PRIOR_SCALES.len();
const PHASES: usize = RANGES + range::EXPERTS;
const GROWTHS: usize = PHASES + phase::EXPERTS;
const PAIR: usize = GROWTHS + growth::EXPERTS;
const EXPERTS: usize = PAIR + 1;
/// The density of an expert that has nothing to say: it agrees with the others, and its weight stays.
pub(super) const ABSTAINS: f32 = -1.0;

/// The share of the mixture that no expert owns: any gap is possible.
const FLOOR: f32 = 0.04;
/// Redistributed after each gap, so that an expert that was wrong for long can still be heard.
const SHARE: f32 = 0.005;
/// Before anything is known: a logistic law of `x` around half a minute, wide enough for 1 s and for 1 h.
const PRIOR_CENTRE: f32 = 3.4;
const PRIOR_SCALE: f32 = 1.4;

const LANES: usize = 8;

/// A mixture of experts and what they learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Predictor {
    weights: [f32; EXPERTS],
    /// Count (at most the window's length: older gaps fade), mean and sum of squared deviations of folded x.
    seen: f32,
    mean: f32,
    squares: f32,
    growth: Growth,
    timers: Timers,
}

impl Predictor {
    pub(super) fn new() -> Self {
        Self {
            weights: prior_weights(),
            seen: 0.0,
            mean: 0.0,
            squares: 0.0,
            growth: Growth::new(),
            timers: Timers::new(),
        }
    }

    /// Returns the density of `x` given `past`, and learns from it.
    pub(super) fn observe(&mut self, x: f32, past: &Window) -> f32 {
        let prior = logistic(x, PRIOR_CENTRE, PRIOR_SCALE);
        let mut density = prior;
        if !past.is_empty() {
            let experts = self.densities(x, past, prior);
            let heard = || experts.iter().zip(&self.weights).filter(|(e, _)| **e >= 0.0);
            let told = heard().map(|(e, w)| e * w).sum::<f32>() / heard().map(|(_, w)| w).sum::<f32>();
            density = FLOOR * prior + (1.0 - FLOOR) * told;
            for ((weight, expert), prior) in self.weights.iter_mut().zip(experts).zip(prior_weights()) {
                let gain = if expert >= 0.0 { expert / told } else { 1.0 };
                *weight = (1.0 - SHARE) * *weight * gain + SHARE * prior;
            }
        }
        self.learn(x, past);
        density
    }

    /// Learns from a gap that is not scored; `past` does not hold it yet.
    pub(super) fn learn(&mut self, x: f32, past: &Window) {
        self.growth.learn(x, past);
        self.timers.learn(x, past);
        let folded = if self.seen == 0.0 { x } else { fold(x, self.mean) };
        // A pause or a burst says nothing about the timer.
        if self.seen > 2.0 && (folded - self.mean).abs() > 1.5 {
            return;
        }
        if self.seen >= Window::LEN as f32 {
            let keep = 1.0 - 1.0 / self.seen;
            self.seen *= keep;
            self.squares *= keep;
        }
        self.seen += 1.0;
        let from = folded - self.mean;
        self.mean += from / self.seen;
        self.squares += from * (folded - self.mean);
    }

    /// Returns the kind of schedule that explains the gaps best.
    pub(super) fn shape(&self) -> Shape {
        let share = |from: usize, to: usize| self.weights[from..to].iter().sum::<f32>();
        let ratio = self.growth.ratio();
        match ratio {
            Some(ratio) if share(GROWTHS, PAIR) > 0.5 => Shape::Growing { ratio },
            _ if share(PHASES, GROWTHS) > 0.5 => Shape::PhaseLocked,
            _ if share(PAIR, EXPERTS) > 0.5 => Shape::TwoTimers,
            _ => Shape::Interval,
        }
    }

    fn densities(&self, x: f32, past: &Window, prior: f32) -> [f32; EXPERTS] {
        let mut densities = [0.0; EXPERTS];
        let (kernels, rest) = densities.split_at_mut(STUDENTS);
        let (students, rest) = rest.split_at_mut(RANGES - STUDENTS);
        let (ranges, rest) = rest.split_at_mut(PHASES - RANGES);
        let (phases, rest) = rest.split_at_mut(GROWTHS - PHASES);
        let (growths, pair) = rest.split_at_mut(PAIR - GROWTHS);
        let d = fast_exp(x);
        let resolution = RESOLUTION_S / d;
        for (density, bandwidth) in kernels.iter_mut().zip(BANDWIDTHS) {
            *density = kernel_estimate(x, bandwidth, resolution, past) + 0.04 * prior;
        }
        let wide = kernel_estimate(x, WIDE, resolution, past);
        self.fill_students(students, x, resolution);
        range::fill(ranges, d, past, wide, prior);
        phase::fill(phases, x, past, fast_exp(self.mean), prior);
        self.growth.fill(growths, x, past, prior);
        pair.fill(self.timers.density(x, prior).unwrap_or(ABSTAINS));
        // Every expert leaves some room for what it does not expect.
        for density in densities.iter_mut().filter(|density| **density >= 0.0) {
            *density = 0.99 * *density + 0.01 * prior;
        }
        densities
    }

    fn fill_students(&self, densities: &mut [f32], x: f32, resolution: f32) {
        let n = self.seen;
        for (density, prior) in densities.iter_mut().zip(PRIOR_SCALES) {
            // A spread beyond any timer's is not learned.
            let variance = (prior * prior + self.squares.min(MOST_VARIANCE * n)) / n * (1.0 + 1.0 / n);
            let student = Student::new(self.mean, variance + resolution * resolution, n);
            *density = 0.86 * student.density(x)
                + 0.07 * student.density(x - LN_2)
                + 0.03 * student.density(x - LN_3)
                + 0.02 * student.density(x + LN_2);
        }
    }
}

/// Returns the kernel density estimate at `x` from the last gaps, from their doubles and from their halves: 96 % in all.
fn kernel_estimate(x: f32, bandwidth: f32, resolution: f32, past: &Window) -> f32 {
    let slots = &past.slots()[..past.len().next_multiple_of(LANES)];
    let h = (bandwidth * bandwidth + resolution * resolution).sqrt();
    // The biweight kernel reaches sqrt(7) standard deviations far.
    let inverse = 1.0 / (h * 2.645_75);
    // Independent sums, so that the compiler may use vectors.
    let (mut single, mut missed) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for chunk in slots.chunks_exact(LANES) {
        for (lane, at) in chunk.iter().enumerate() {
            let from = (x - at) * inverse;
            single[lane] += biweight(from);
            missed[lane] += 2.0 * biweight(from - LN_2 * inverse) + biweight(from + LN_2 * inverse);
        }
    }
    let (single, missed) = (single.iter().sum::<f32>(), missed.iter().sum::<f32>());
    0.9375 * inverse / past.len() as f32 * (0.84 * single + 0.04 * missed)
}

fn prior_weights() -> [f32; EXPERTS] {
    let mut weights = [KERNEL_WEIGHT; EXPERTS];
    weights[STUDENTS..RANGES].fill(STUDENT_WEIGHT);
    weights[RANGES..PHASES].copy_from_slice(&range::weights());
    weights[PHASES..GROWTHS].copy_from_slice(&phase::WEIGHTS);
    weights[GROWTHS..PAIR].copy_from_slice(&growth::WEIGHTS);
    weights[PAIR] = pair::WEIGHT;
    weights
}

fn fold(x: f32, mean: f32) -> f32 {
    let from = x - mean;
    if !(0.5 * LN_2..=LN_3 + 0.3).contains(&from) {
        x
    } else if from < 0.5 * (LN_2 + LN_3) {
        x - LN_2
    } else {
        x - LN_3
    }
}

fn biweight(u: f32) -> f32 {
    let inside = (1.0 - u * u).max(0.0);
    inside * inside
}

fn logistic(x: f32, centre: f32, scale: f32) -> f32 {
    let e = fast_exp(-((x - centre) / scale).abs());
    e / (scale * (1.0 + e) * (1.0 + e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experts_share_one_whole() {
        let sum: f32 = prior_weights().iter().sum();

        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
