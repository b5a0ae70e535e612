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
//! - **Range**: implants draw `d` uniformly from an interval. With prior `1/(b-a)` on the ends (a, b), after n values of range R
//!   the predictive density is `(n-1)/(n+1) / R` inside and `(n-1)/(n+1) R^(n-1) / (R+e)^n` at distance e outside. Experts differ in the ratio a/b
//!   they look for, so each selects which gaps are single beats, sums of two or three, or others (bursts, pauses). Half of each
//!   knows the width that its ratio implies, and only the place is unknown: it learns sooner. Ratios below 0.3 weigh little, because
//!   a law as wide is hardly a timer's, and their experts alone would see one in the sum of two exponential waits.
//!
//! No kernel is narrower than [`RESOLUTION_S`]: a clock that ticks in steps of up to that size looks continuous to every expert,
//! and its lattice is not taken for regularity.

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{RESOLUTION_S, fast_exp};

const BANDWIDTHS: [f32; 5] = [0.001, 0.004, 0.015, 0.05, 0.12];
/// Of what is no beat: bursts, pauses.
const WIDE: f32 = 0.25;
const PRIOR_SCALES: [f32; 3] = [0.02, 0.12, 0.35];
/// Ratios a/b of the shortest to the longest gap of a uniform law.
const RATIOS: [f32; 8] = [0.97, 0.89, 0.74, 0.64, 0.5, 0.33, 0.22, 0.08];
const RATIO_WEIGHTS: [f32; 8] = [0.09, 0.1, 0.1, 0.1, 0.12, 0.1, 0.04, 0.01];
/// Prior weights, by kind: they sum to one.
const KERNEL_WEIGHT: f32 = 0.04;
const STUDENT_WEIGHT: f32 = 0.047;
const MOST_VARIANCE: f32 = 0.16;
const EXPERTS: usize = BANDWIDTHS.len() + PRIOR_SCALES.len() + RATIOS.len();

/// The share of the mixture that no expert owns: any gap is possible.
const FLOOR: f32 = 0.04;
/// Redistributed after each gap, so that an expert that was wrong for long can still be heard.
const SHARE: f32 = 0.005;
/// Before anything is known: a logistic law of `x` around half a minute, wide enough for 1 s and for 1 h.
const PRIOR_CENTRE: f32 = 3.4;
const PRIOR_SCALE: f32 = 1.4;

const LANES: usize = 8;
const LN_2: f32 = std::f32::consts::LN_2;
const LN_3: f32 = 1.098_612_3;

/// A mixture of experts and what they learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Predictor {
    weights: [f32; EXPERTS],
    /// Count (at most the window's length: older gaps fade), mean and sum of squared deviations of folded x.
    seen: f32,
    mean: f32,
    squares: f32,
}

impl Predictor {
    pub(super) fn new() -> Self {
        Self { weights: prior_weights(), seen: 0.0, mean: 0.0, squares: 0.0 }
    }

    /// Returns the density of `x` given `past`, and learns from it.
    pub(super) fn observe(&mut self, x: f32, past: &Window) -> f32 {
        let prior = logistic(x, PRIOR_CENTRE, PRIOR_SCALE);
        let mut density = prior;
        if !past.is_empty() {
            let experts = self.densities(x, past, prior);
            let told: f32 = experts.iter().zip(&self.weights).map(|(e, w)| e * w).sum();
            density = FLOOR * prior + (1.0 - FLOOR) * told;
            for ((weight, expert), prior) in self.weights.iter_mut().zip(experts).zip(prior_weights()) {
                *weight = (1.0 - SHARE) * *weight * expert / told + SHARE * prior;
            }
        }
        self.learn(x);
        density
    }

    /// Learns from a gap that is not scored.
    pub(super) fn learn(&mut self, x: f32) {
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

    fn densities(&self, x: f32, past: &Window, prior: f32) -> [f32; EXPERTS] {
        let mut densities = [0.0; EXPERTS];
        let (kernels, rest) = densities.split_at_mut(BANDWIDTHS.len());
        let (students, ranges) = rest.split_at_mut(PRIOR_SCALES.len());
        let d = x.exp();
        let resolution = RESOLUTION_S / d;
        for (density, bandwidth) in kernels.iter_mut().zip(BANDWIDTHS) {
            *density = kernel_estimate(x, bandwidth, resolution, past) + 0.04 * prior;
        }
        let wide = kernel_estimate(x, WIDE, resolution, past);
        self.students(students, x, resolution);
        fill_ranges(ranges, d, past, wide, prior);
        // Every expert leaves some room for what it does not expect.
        for density in &mut densities {
            *density = 0.99 * *density + 0.01 * prior;
        }
        densities
    }

    fn students(&self, densities: &mut [f32], x: f32, resolution: f32) {
        let n = self.seen;
        let freedom = n;
        // The normaliser of Student's t, from below (two terms of the gamma ratio's series).
        let normaliser = 0.398_942_3 * (1.0 - 0.25 / freedom + 0.031_25 / (freedom * freedom));
        for (density, prior) in densities.iter_mut().zip(PRIOR_SCALES) {
            // A spread beyond any timer's is not learned.
            let variance = (prior * prior + self.squares.min(MOST_VARIANCE * n)) / freedom * (1.0 + 1.0 / n)
                + resolution * resolution;
            let scale = variance.sqrt();
            let t = |x: f32| {
                let u = (x - self.mean) / scale;
                normaliser / scale * fast_exp(-0.5 * (freedom + 1.0) * (u * u / freedom).ln_1p())
            };
            *density = 0.86 * t(x) + 0.07 * t(x - LN_2) + 0.03 * t(x - LN_3) + 0.02 * t(x + LN_2);
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

/// Fills the range experts. Their densities are of d, times d to be of x.
fn fill_ranges(densities: &mut [f32], d: f32, past: &Window, wide: f32, prior: f32) {
    let median = past.median();
    for (density, ratio) in densities.iter_mut().zip(RATIOS) {
        // The ends of U(a, b) seen from its median, with a tenth of the way to spare.
        let above = (2.0 / (1.0 + ratio)).ln() * 1.15 + 0.01;
        let below = ((1.0 + ratio) / (2.0 * ratio)).ln() * 1.15 + 0.01;
        let (least, most) = (median - below, median + above);
        let (from, to) = (past.below(least), past.below(most));
        let single = (to - from) as f32;
        let low = past.ranked(from);
        let high = past.ranked(to.saturating_sub(1).max(from));
        let between = |low: f32, high: f32| past.below(high).saturating_sub(past.below(low)) as f32;
        let double_high = high + LN_2 + 0.01;
        let double = between((low + LN_2 - 0.01).max(most), double_high);
        let triple = between((low + LN_3 - 0.01).max(double_high), high + LN_3 + 0.01);
        let n = past.len() as f32;
        let other = (n - single - double - triple).max(0.0);
        let all = n + 1.95;
        let (low, high) = (low.exp(), high.exp());
        let beat = uniform_predictive(d, low, high, single);
        let usual = 2.0 * (1.0 - ratio) / (1.0 + ratio) * median.exp() + RESOLUTION_S;
        let beat = known_width(d, low, high, usual).map_or(beat, |known| 0.5 * (beat + known));
        let spread = (high - low) / (single - 1.0).max(0.5);
        let width = high - low + spread + RESOLUTION_S + 0.002 * high;
        let centre = low + high;
        let two = (width - (d - centre).abs()).max(0.0) / (width * width);
        let u = ((d - 1.5 * centre) / width).abs();
        let three = if u < 0.5 { 0.75 - u * u } else { 0.5 * (1.5 - u).max(0.0).powi(2) } / width;
        let expected = (single + 1.0) * beat + (double + 0.5) * two + (triple + 0.15) * three;
        *density = (expected * d + (other + 0.3) * if ratio < 0.3 { prior } else { wide }) / all;
    }
}

/// Returns the predictive density at `d` of a uniform law of known width whose values ranged from `low` to `high`:
/// its lower end is uniform over what they leave free. `None` when they do not fit into it.
fn known_width(d: f32, low: f32, high: f32, width: f32) -> Option<f32> {
    let free = width - (high - low);
    let outside = (low - d).max(d - high).max(0.0);
    (free > 0.0).then(|| (1.0 - outside / free).max(0.0) / width)
}

/// Returns the predictive density at `d` of a uniform law of which `n` values ranged from `low` to `high`.
fn uniform_predictive(d: f32, low: f32, high: f32, n: f32) -> f32 {
    if n < 2.0 {
        // The width's prior is log-uniform between `least` and the gap itself.
        let least = RESOLUTION_S + 0.002 * low;
        let from = (d - low).abs();
        return if from < low { 0.5 / ((from + least) * (1.0 + low / least).ln()) } else { 0.0 };
    }
    let range = high - low + RESOLUTION_S;
    let outside = (low - d).max(d - high).max(0.0);
    let beyond = if outside > 0.0 { fast_exp(n * (range / (range + outside)).ln()) } else { 1.0 };
    (n - 1.0) / (n + 1.0) / range * beyond
}

const fn prior_weights() -> [f32; EXPERTS] {
    let mut weights = [STUDENT_WEIGHT; EXPERTS];
    let mut at = 0;
    while at < EXPERTS {
        if at < BANDWIDTHS.len() {
            weights[at] = KERNEL_WEIGHT;
        } else if at >= BANDWIDTHS.len() + PRIOR_SCALES.len() {
            weights[at] = RATIO_WEIGHTS[at - BANDWIDTHS.len() - PRIOR_SCALES.len()];
        }
        at += 1;
    }
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
