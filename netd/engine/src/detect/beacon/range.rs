//! Sleeps drawn uniformly from an interval.
//!
//! With prior `1/(b-a)` on the ends (a, b) of the interval, after n values of range R the predictive density is `(n-1)/(n+1) / R` inside and
//! `(n-1)/(n+1) R^(n-1) / (R+e)^n` at distance e outside. Experts differ in the ratio a/b
//! they look for, so each selects which gaps are single beats, sums of two or three, or others (bursts, pauses). Half of each
//! knows the width that its ratio implies, and only the place is unknown: it learns sooner. Ratios below 0.3 weigh little, because
//! a law as wide is hardly a timer's, and their experts alone would see one in the sum of two exponential waits.

use super::window::Window;
use super::{LN_2, LN_3, RESOLUTION_S, fast_exp, fast_ln};

/// A law that an expert looks for.
struct Law {
    /// The shortest gap over the longest.
    ratio: f32,
    /// The rank of the single gaps' median among all gaps: a half, or less if a fifth or a half of the beats are missed.
    rank: f32,
    weight: f32,
}

const fn law(ratio: f32, rank: f32, weight: f32) -> Law {
    Law { ratio, rank, weight }
}

const LAWS: [Law; EXPERTS] = [
    law(0.97, 0.5, 0.0795),
    law(0.89, 0.5, 0.086),
    law(0.74, 0.5, 0.072),
    law(0.64, 0.5, 0.072),
    law(0.5, 0.5, 0.0876),
    law(0.33, 0.5, 0.072),
    law(0.22, 0.5, 0.034),
    law(0.08, 0.5, 0.0085),
    law(0.7, 0.4, 0.015),
    law(0.5, 0.4, 0.015),
    law(0.33, 0.4, 0.015),
    law(0.22, 0.4, 0.006),
    law(0.7, 0.25, 0.01),
    law(0.5, 0.25, 0.0065),
];
pub(super) const EXPERTS: usize = 14;

/// Returns the prior weights of the experts.
pub(super) fn weights() -> [f32; EXPERTS] {
    LAWS.map(|law| law.weight)
}

/// Fills the range experts. Their densities are of d, times d to be of x.
pub(super) fn fill(densities: &mut [f32], d: f32, past: &Window, wide: f32, prior: f32) {
    for (density, law) in densities.iter_mut().zip(LAWS) {
        let Law { ratio, rank, .. } = law;
        let median = past.quantile(rank);
        // The ends of U(a, b) seen from its median, with a tenth of the way to spare.
        let above = fast_ln(2.0 / (1.0 + ratio)) * 1.15 + 0.01;
        let below = fast_ln((1.0 + ratio) / (2.0 * ratio)) * 1.15 + 0.01;
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
        let (low, high) = (fast_exp(low), fast_exp(high));
        let beat = uniform_predictive(d, low, high, single);
        let usual = 2.0 * (1.0 - ratio) / (1.0 + ratio) * fast_exp(median) + RESOLUTION_S;
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
    let beyond = if outside > 0.0 { fast_exp(-n * fast_ln((range + outside) / range)) } else { 1.0 };
    (n - 1.0) / (n + 1.0) / range * beyond
}
