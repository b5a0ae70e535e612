//! The null: the supremum of the log-likelihood over every irregular law of gaps.
//!
//! With `y = ln(d - g)`, the null holds each mixture, of any number of parts, of
//! - lognormal laws of `d - g` with `sigma >= 1`: `y` is normal with standard deviation at least 1, which is
//!   the unit normal convolved with another normal, so a *location mixture of the unit normal*;
//! - gamma laws of `d - g` with shape at most [`SHAPE`], and all their scale mixtures. A gamma law of a smaller shape is one of shape
//!   `SHAPE` times a beta variable, thus a scale mixture of it, and shape 1 is the exponential; by Bernstein's theorem every
//!   completely monotone law is a mixture of exponentials: Weibull with shape at most 1, Pareto (Lomax),
//!   hyperexponential bursts and sessions. In `y` each is a *location mixture of the log-gamma law* of shape `SHAPE`.
//!
//! Outside are laws with a floor well above the gate, such as a Pareto law of `d` itself from some seconds on: never sooner than a
//! delay is what a timer does, and it is found as one.
//!
//! The null is therefore the convex hull of two location families, and its supremum is a nonparametric maximum
//! likelihood (Kiefer and Wolfowitz 1956): a concave problem without false optima. For any mixture `f`
//! and any rival `h` of the hull, concavity of the logarithm gives (Lindsay 1983)
//! ```text
//! sum ln h(y_i) <= sum ln f(y_i) + n ln( max_m D(m) / n ),   D(m) = sum k(y_i - m) / f(y_i)
//! ```
//! with the maximum over both kernels `k` and all locations `m`. The right side bounds the supremum from above whatever
//! `f` is, and meets it at the best `f`. An e-value over this bound stays valid; a better `f` only adds power.
//!
//! The maximum over `m` is found on a grid. At the maximum `D' = 0` and `-D'' <= c D` (`c = 1` for the
//! normal, `SHAPE + 1/4` for the log-gamma), so a grid of step `s` sees at least `(1 - c s^2/8)` of it.

use super::fast_exp;

/// The most values one call takes.
pub(super) const MOST: usize = 64;
/// Atoms of the mixture that is fitted; more only sharpen the bound.
const ATOMS: usize = 6;
/// The steps of the grid: coarse everywhere, fine where the maximum can be.
const COARSE: f32 = 0.5;
const FINE: f32 = 0.125;
/// A bound this close to the supremum, in nats, is not worth another round.
const CLOSE: f64 = 0.1;
/// Twice the relative error of `fast_exp`, per value, so that rounding cannot break the bound.
const ROUNDING: f64 = 2e-5;

/// Above 1, so that the sum of two exponential waits (gamma 2), which is outside, is not far outside.
const SHAPE: f32 = 1.3;
/// ln of the gamma function at `SHAPE`.
const LN_GAMMA: f32 = -0.10817481;
const LANES: usize = 8;
const INV_SQRT_TAU: f32 = 0.398_942_3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Normal,
    LogGamma,
}

impl Kernel {
    #[inline]
    fn at(self, u: f32) -> f32 {
        match self {
            Self::Normal => normal(u),
            Self::LogGamma => log_gamma(u),
        }
    }

    /// Returns `D(location)`. `y` and `inverse` have whole chunks; padding has an inverse density of 0.
    fn slope(self, y: &[f32], inverse: &[f32], location: f32) -> f32 {
        match self {
            Self::Normal => weighted_sum(y, inverse, |y| normal(y - location)),
            Self::LogGamma => weighted_sum(y, inverse, |y| log_gamma(y - location)),
        }
    }

    /// Returns the largest factor by which a maximum exceeds its nearest point on a grid of step `step`.
    fn between(self, step: f32) -> f32 {
        let curvature = match self {
            Self::Normal => 1.0,
            Self::LogGamma => SHAPE + 0.25,
        };
        1.0 / (1.0 - curvature * step * step / 8.0)
    }
}

#[inline]
fn normal(u: f32) -> f32 {
    INV_SQRT_TAU * fast_exp(-0.5 * u * u)
}

#[inline]
fn log_gamma(u: f32) -> f32 {
    fast_exp(SHAPE * u - fast_exp(u.min(8.0)) - LN_GAMMA)
}

/// Sums in independent lanes, so that the compiler may use vectors.
#[inline]
fn weighted_sum(y: &[f32], inverse: &[f32], kernel: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (y, inverse) in y.chunks_exact(LANES).zip(inverse.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += kernel(y[lane]) * inverse[lane];
        }
    }
    sums.iter().sum()
}

/// Returns the log-likelihood of the unit normal at the mean: below the supremum, and cheap.
pub(super) fn lower_bound(n: f64, sum_squares: f64) -> f64 {
    -0.918_938_533_204_672_7 * n - 0.5 * sum_squares
}

/// Returns an upper bound on the supremum of the log-likelihood of `y` under the null.
pub(super) fn upper_bound(y: &[f32]) -> f64 {
    debug_assert!(y.len() <= MOST);
    let n = y.len().min(MOST);
    let y = &y[..n];
    if n == 0 {
        return 0.0;
    }
    let count = n as f64;
    let mean = y.iter().sum::<f32>() / n as f32;
    let low = y.iter().copied().fold(f32::INFINITY, f32::min);
    let high = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut values = [mean; MOST];
    values[..n].copy_from_slice(y);
    let values = &values[..n.next_multiple_of(LANES)];
    // One atom: of the normal kernel at the mean of y, or of the other at its best, which is the mean of e^y over the shape.
    let scale = values[..n].iter().map(|y| fast_exp(y - mean)).sum::<f32>() / (count as f32 * SHAPE);
    let location = mean + scale.ln();
    let as_normal = lower_bound(count, y.iter().map(|y| f64::from(y - mean).powi(2)).sum());
    let as_gamma = -count * f64::from(SHAPE * scale.ln() + SHAPE + LN_GAMMA);
    let (start, first) = if as_gamma > as_normal { (Kernel::LogGamma, location) } else { (Kernel::Normal, mean) };
    let mut fit = Fit::new(values, start, first);
    let mut best = f64::INFINITY;
    for round in 0..ATOMS {
        let mut inverse = [0.0_f32; MOST];
        for (inverse, density) in inverse.iter_mut().zip(&fit.density[..n]) {
            *inverse = 1.0 / density.max(f32::MIN_POSITIVE);
        }
        let likelihood = if round == 0 {
            as_normal.max(as_gamma)
        } else {
            fit.density[..n].iter().map(|density| f64::from(density.max(f32::MIN_POSITIVE).ln())).sum()
        };
        let steepest = steepest(values, &inverse[..values.len()], low, high);
        let slack = (count * (f64::from(steepest.bound) / count).ln()).max(0.0);
        best = best.min(likelihood + slack);
        if slack < CLOSE + 0.002 * count || round + 1 == ATOMS {
            break;
        }
        fit.add(values, n, &steepest);
    }
    best + ROUNDING * count
}

/// A finite mixture and its densities at the values.
struct Fit {
    weights: [f32; ATOMS],
    kernels: [[f32; MOST]; ATOMS],
    atoms: usize,
    density: [f32; MOST],
}

impl Fit {
    fn new(y: &[f32], start: Kernel, location: f32) -> Self {
        let mut fit = Self { weights: [0.0; ATOMS], kernels: [[0.0; MOST]; ATOMS], atoms: 1, density: [0.0; MOST] };
        fit.weights[0] = 1.0;
        for (kernel, y) in fit.kernels[0].iter_mut().zip(y) {
            *kernel = start.at(y - location);
        }
        fit.density = fit.kernels[0];
        fit
    }

    /// Adds an atom and improves the weights by expectation maximisation.
    fn add(&mut self, y: &[f32], n: usize, steepest: &Steepest) {
        const STEPS: usize = 24;
        let new = self.atoms;
        self.atoms += 1;
        for (kernel, y) in self.kernels[new].iter_mut().zip(y) {
            *kernel = steepest.kernel.at(y - steepest.location);
        }
        let start = 1.0 / self.atoms as f32;
        for weight in &mut self.weights[..new] {
            *weight *= 1.0 - start;
        }
        self.weights[new] = start;
        for _ in 0..STEPS {
            self.mix(n);
            let mut inverse = [0.0_f32; MOST];
            for (inverse, density) in inverse[..n].iter_mut().zip(&self.density[..n]) {
                *inverse = 1.0 / density.max(f32::MIN_POSITIVE);
            }
            for atom in 0..self.atoms {
                let gain: f32 = self.kernels[atom][..n].iter().zip(&inverse[..n]).map(|(k, i)| k * i).sum();
                self.weights[atom] *= gain / n as f32;
            }
        }
        let sum: f32 = self.weights[..self.atoms].iter().sum();
        for weight in &mut self.weights[..self.atoms] {
            *weight /= sum;
        }
        self.mix(n);
    }

    fn mix(&mut self, n: usize) {
        self.density = [0.0; MOST];
        for (weight, kernel) in self.weights[..self.atoms].iter().zip(&self.kernels) {
            for (density, kernel) in self.density[..n].iter_mut().zip(&kernel[..n]) {
                *density += weight * kernel;
            }
        }
    }
}

/// The atom that would raise the likelihood fastest, and a bound on `D` everywhere.
struct Steepest {
    kernel: Kernel,
    location: f32,
    bound: f32,
}

/// Returns the steepest atom. Each term of `D` falls away from its own value on both sides, so the maximum lies within the values.
fn steepest(y: &[f32], inverse: &[f32], low: f32, high: f32) -> Steepest {
    let mut steepest = Steepest { kernel: Kernel::Normal, location: low, bound: 0.0 };
    let mut largest = 0.0_f32;
    for kernel in [Kernel::Normal, Kernel::LogGamma] {
        let slope = |location: f32| kernel.slope(y, inverse, location);
        let steps = ((high - low) / COARSE).ceil() as usize;
        // One point in the middle of each cell, so that no location is farther than half a step.
        let cells = steps.max(1);
        let step = (high - low) / cells as f32;
        for cell in 0..cells {
            let middle = low + (cell as f32 + 0.5) * step;
            // Below this, the cell cannot hold a maximum over what is known.
            let reach = slope(middle) * kernel.between(step);
            if reach <= steepest.bound {
                continue;
            }
            let parts = (step / FINE).ceil().max(1.0) as usize;
            let part = step / parts as f32;
            for at in 0..parts {
                let location = low + cell as f32 * step + (at as f32 + 0.5) * part;
                let value = slope(location);
                steepest.bound = steepest.bound.max(value * kernel.between(part));
                if value > largest {
                    largest = value;
                    steepest.kernel = kernel;
                    steepest.location = location;
                }
            }
        }
    }
    steepest
}

#[cfg(test)]
mod tests {
    use statrs::function::gamma::ln_gamma;

    use super::*;

    fn normal_log_likelihood(y: &[f32], mean: f64, sd: f64) -> f64 {
        y.iter().map(|y| -0.918_938_533_204_672_7 - sd.ln() - 0.5 * ((f64::from(*y) - mean) / sd).powi(2)).sum()
    }

    fn weibull_log_likelihood(y: &[f32], location: f64, shape: f64) -> f64 {
        let terms = y.iter().map(|y| (f64::from(*y) - location) * shape).map(|u| shape.ln() + u - u.exp());
        terms.sum()
    }

    fn wave(n: usize, spread: f32) -> Vec<f32> {
        (0..n).map(|i| 3.0 + spread * ((i * 37 % 64) as f32 / 32.0 - 1.0) + (i % 5) as f32 * 0.1 * spread).collect()
    }

    fn gamma_log_likelihood(y: &[f32], location: f64, shape: f64) -> f64 {
        let terms = y.iter().map(|y| f64::from(*y) - location).map(|u| shape * u - u.exp() - ln_gamma(shape));
        terms.sum()
    }

    #[test]
    fn the_constant_is_the_gamma_function_of_the_shape() {
        assert!((ln_gamma(f64::from(SHAPE)) - f64::from(LN_GAMMA)).abs() < 1e-6);
    }

    #[test]
    fn of_one_tight_cluster_a_single_atom_is_the_supremum() {
        let y = wave(40, 0.1);
        let best = (0..200).map(|i| gamma_log_likelihood(&y, 2.0 + 0.01 * f64::from(i), f64::from(SHAPE)));

        let excess = upper_bound(&y) - best.fold(f64::NEG_INFINITY, f64::max);

        assert!((0.0..0.3).contains(&excess), "{excess}");
    }

    #[test]
    fn no_member_of_the_null_lies_above_the_bound() {
        for spread in [0.01, 0.3, 1.0, 2.0, 5.0] {
            for n in [1, 2, 3, 10, 33, 64] {
                let y = wave(n, spread);
                let bound = upper_bound(&y);
                for location in (-40..=140).map(|m| f64::from(m) * 0.05 + 0.5) {
                    for scale in [1.0, 1.3, 2.0, 4.0] {
                        assert!(normal_log_likelihood(&y, location, scale) <= bound);
                        assert!(weibull_log_likelihood(&y, location, 1.0 / scale) <= bound);
                        assert!(gamma_log_likelihood(&y, location, 1.3 / scale) <= bound);
                    }
                }
            }
        }
    }

    #[test]
    fn two_clusters_are_bounded_closely_by_the_mixture_of_two_parts() {
        let y: Vec<f32> = (0..60).map(|i| if i % 3 == 0 { 0.7 } else { 6.0 } + 0.01 * i as f32).collect();
        let shape = f64::from(SHAPE);
        let parts = |a: f64, b: f64| {
            let at = |u: f64| (shape * (u + shape.ln()) - shape * u.exp() - ln_gamma(shape)).exp();
            let terms = y.iter().map(|y| f64::from(*y)).map(|y| (a * at(y - 0.995) + b * at(y - 6.295)).ln());
            terms.sum::<f64>()
        };

        let excess = upper_bound(&y) - parts(1.0 / 3.0, 2.0 / 3.0);

        assert!((0.0..0.6).contains(&excess), "{excess}");
    }
}
