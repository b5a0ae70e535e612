//! Logistic regression with a Gaussian prior around the present weights, and bounds.
//!
//! Minimises `sum votes * ln(1 + exp(-+ b.x)) + sum ((b - centre) / spread)^2 / 2` within the bounds by projected Newton
//! steps (Bertsekas 1982). The objective is strictly convex in what is free, so that the minimum is the only one.

const STEPS: usize = 200;
const HALVINGS: usize = 50;
/// Gradient, in nats per unit, at which the minimum is reached.
const FLAT: f64 = 1e-8;

/// What is believed of a coefficient before the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prior {
    pub(crate) centre: f64,
    /// Standard deviation; 0 holds the coefficient where it is.
    pub(crate) spread: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// One case: the factors that are not 0, by the numbers of their coefficients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) factors: Vec<(usize, f64)>,
    pub(crate) is_positive: bool,
    /// How much it counts.
    pub(crate) votes: f64,
}

impl Row {
    pub(crate) fn log_odds(&self, coefficients: &[f64]) -> f64 {
        self.factors.iter().map(|(at, factor)| coefficients[*at] * factor).sum()
    }

    /// Returns the negative logarithm of the probability that the coefficients gave to what is the case.
    pub(crate) fn loss(&self, coefficients: &[f64]) -> f64 {
        let odds = self.log_odds(coefficients);
        let against = if self.is_positive { -odds } else { odds };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    }
}

pub(crate) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Returns the coefficients that explain the rows best, given what is believed of them.
pub(crate) fn fit(rows: &[&Row], priors: &[Prior]) -> Vec<f64> {
    let mut best: Vec<f64> = priors.iter().map(|prior| prior.centre.clamp(prior.low, prior.high)).collect();
    let mut least = objective(rows, priors, &best);
    for _ in 0..STEPS {
        let (gradient, curvature) = derivatives(rows, priors, &best);
        let free: Vec<usize> = (0..priors.len()).filter(|at| is_free(priors[*at], best[*at], gradient[*at])).collect();
        if free.iter().all(|at| gradient[*at].abs() < FLAT) {
            break;
        }
        let step = newton(&free, &gradient, &curvature);
        let Some((next, objective)) = search(rows, priors, (&best, least), (&free, &step, &gradient)) else { break };
        (best, least) = (next, objective);
    }
    best
}

fn is_free(prior: Prior, at: f64, gradient: f64) -> bool {
    let is_pushed_out = (at <= prior.low && gradient > 0.0) || (at >= prior.high && gradient < 0.0);
    prior.spread > 0.0 && !is_pushed_out
}

fn objective(rows: &[&Row], priors: &[Prior], coefficients: &[f64]) -> f64 {
    let losses: f64 = rows.iter().map(|row| row.votes * row.loss(coefficients)).sum();
    let held = |(prior, at): (&Prior, &f64)| match prior.spread {
        spread if spread > 0.0 => ((at - prior.centre) / spread).powi(2) / 2.0,
        _ => 0.0,
    };
    losses + priors.iter().zip(coefficients).map(held).sum::<f64>()
}

fn derivatives(rows: &[&Row], priors: &[Prior], coefficients: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let count = priors.len();
    let (mut gradient, mut curvature) = (vec![0.0; count], vec![vec![0.0; count]; count]);
    for (at, prior) in priors.iter().enumerate().filter(|(_, prior)| prior.spread > 0.0) {
        gradient[at] = (coefficients[at] - prior.centre) / prior.spread.powi(2);
        curvature[at][at] = prior.spread.powi(-2);
    }
    for row in rows {
        let predicted = probability(row.log_odds(coefficients));
        let excess = row.votes * (predicted - f64::from(u8::from(row.is_positive)));
        let bend = row.votes * predicted * (1.0 - predicted);
        for (at, factor) in &row.factors {
            gradient[*at] += excess * factor;
            for (other, its) in &row.factors {
                curvature[*at][*other] += bend * factor * its;
            }
        }
    }
    (gradient, curvature)
}

/// Solves `curvature * step = -gradient` for what is free, by Cholesky's decomposition: the prior makes it positive.
fn newton(free: &[usize], gradient: &[f64], curvature: &[Vec<f64>]) -> Vec<f64> {
    let count = free.len();
    let mut lower = vec![vec![0.0; count]; count];
    for row in 0..count {
        for column in 0..=row {
            let known: f64 = (0..column).map(|at| lower[row][at] * lower[column][at]).sum();
            let left = curvature[free[row]][free[column]] - known;
            lower[row][column] =
                if row == column { left.max(f64::MIN_POSITIVE).sqrt() } else { left / lower[column][column] };
        }
    }
    let mut step: Vec<f64> = free.iter().map(|at| -gradient[*at]).collect();
    for row in 0..count {
        let known: f64 = (0..row).map(|at| lower[row][at] * step[at]).sum();
        step[row] = (step[row] - known) / lower[row][row];
    }
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|at| lower[at][row] * step[at]).sum();
        step[row] = (step[row] - known) / lower[row][row];
    }
    step
}

/// Goes along the step, within the bounds, as far as it helps (Armijo's rule).
fn search(
    rows: &[&Row],
    priors: &[Prior],
    (from, least): (&[f64], f64),
    (free, step, gradient): (&[usize], &[f64], &[f64]),
) -> Option<(Vec<f64>, f64)> {
    let mut share = 1.0;
    for _ in 0..HALVINGS {
        let mut next = from.to_vec();
        let mut promised = 0.0;
        for (at, step) in free.iter().zip(step) {
            next[*at] = (from[*at] + share * step).clamp(priors[*at].low, priors[*at].high);
            promised += gradient[*at] * (next[*at] - from[*at]);
        }
        let reached = objective(rows, priors, &next);
        if reached < least && reached <= least + 1e-4 * promised {
            return Some((next, reached));
        }
        share /= 2.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ANY: Prior = Prior { centre: 0.0, spread: 100.0, low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// Cases drawn from known coefficients: a constant and two pieces of evidence.
    fn drawn(known: &[f64], count: usize) -> Vec<Row> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut row = || {
            let mut factors = vec![(0, 1.0)];
            factors.extend((1..known.len()).map(|at| (at, rng.random_range(-2.0..2.0))));
            let row = Row { factors, is_positive: false, votes: 1.0 };
            let is_positive = rng.random_bool(probability(row.log_odds(known)));
            Row { is_positive, ..row }
        };
        (0..count).map(|_| row()).collect()
    }

    #[test]
    fn known_weights_are_recovered() {
        let known = [-1.0, 1.5, -0.7];
        let rows = drawn(&known, 20_000);

        let fitted = fit(&rows.iter().collect::<Vec<_>>(), &[ANY; 3]);

        for (fitted, known) in fitted.iter().zip(known) {
            assert!((fitted - known).abs() < 0.08, "{fitted} instead of {known}");
        }
    }

    #[test]
    fn few_cases_move_little_and_none_move_nothing() {
        let prior = Prior { centre: 2.0, spread: 0.5, ..ANY };
        let rows = drawn(&[0.0, -1.0], 10);
        let priors = [Prior { centre: 0.0, spread: 3.0, ..ANY }, prior];

        let fitted = fit(&rows.iter().collect::<Vec<_>>(), &priors);

        assert!(fitted[1] < 2.0 && fitted[1] > 0.5, "{fitted:?}");
        assert_eq!(fit(&[], &priors), [0.0, 2.0]);
    }

    #[test]
    fn evidence_for_never_turns_against_and_what_is_held_stays() {
        let rows = drawn(&[-1.0, -1.5, 0.8], 5_000);
        let held = Prior { centre: 3.0, spread: 0.0, ..ANY };
        let without = |row: &Row| Row { factors: vec![row.factors[0], (1, row.factors[2].1)], ..row.clone() };
        let without: Vec<Row> = rows.iter().map(without).collect();
        let rows: Vec<&Row> = rows.iter().collect();

        let fitted = fit(&rows, &[ANY, Prior { centre: 1.0, low: 0.0, ..ANY }, ANY]);
        let with_one_held = fit(&rows, &[ANY, ANY, held]);

        assert_eq!(fitted[1], 0.0);
        let others = fit(&without.iter().collect::<Vec<_>>(), &[ANY; 2]);
        assert!((fitted[0] - others[0]).abs() < 1e-6 && (fitted[2] - others[1]).abs() < 1e-6, "{fitted:?} {others:?}");
        assert_eq!(with_one_held[2], 3.0);
    }

    /// At the minimum without bounds the gradient is 0 in every direction.
    #[test]
    fn the_minimum_is_flat() {
        let rows = drawn(&[-3.0, 2.0, 0.1], 400);
        let rows: Vec<&Row> = rows.iter().collect();
        let priors = [ANY, Prior { centre: 1.0, spread: 0.3, ..ANY }, ANY];

        let (gradient, _) = derivatives(&rows, &priors, &fit(&rows, &priors));

        assert!(gradient.iter().all(|slope| slope.abs() < 1e-6), "{gradient:?}");
    }
}
