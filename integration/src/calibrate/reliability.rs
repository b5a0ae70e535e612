//! How far a posterior can be believed: what was predicted beside what was so.

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF as _};

use super::regression::{Row, probability};

const EDGES: [f64; 9] = [0.0, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0];

/// Cases whose posterior lies within a bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Bin {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) cases: usize,
    /// Cases that count for themselves.
    pub(crate) votes: f64,
    /// Mean posterior, share that is malicious, and the 95 % interval of that share.
    pub(crate) predicted: f64,
    pub(crate) observed: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Bin {
    pub(crate) fn is_within(&self) -> bool {
        (self.low..=self.high).contains(&self.predicted)
    }
}

/// Mean losses over votes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Losses {
    /// Mean square of posterior minus truth (Brier 1950).
    pub(crate) brier: f64,
    /// Mean of -ln of the probability that was given to the truth.
    pub(crate) log_loss: f64,
}

/// Rows with the log-odds that a model gave each.
pub(crate) type Predicted<'a> = [(&'a Row, f64)];

pub(crate) fn losses(predicted: &Predicted<'_>) -> Losses {
    let votes: f64 = predicted.iter().map(|(row, _)| row.votes).sum();
    let mean = |loss: &dyn Fn(bool, f64) -> f64| {
        let sum: f64 = predicted.iter().map(|(row, odds)| row.votes * loss(row.is_positive, *odds)).sum();
        sum / votes.max(f64::MIN_POSITIVE)
    };
    let brier = mean(&|is_positive, odds| (probability(odds) - f64::from(u8::from(is_positive))).powi(2));
    let surprise = |is_positive, odds: f64| {
        let against = if is_positive { -odds } else { odds };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    Losses { brier, log_loss: mean(&surprise) }
}

/// Returns the bins that hold a case.
pub(crate) fn table(predicted: &Predicted<'_>) -> Vec<Bin> {
    let bin = |edges: &[f64]| {
        let (from, to) = (edges[0], edges[1]);
        let within: Vec<(&Row, f64)> = predicted
            .iter()
            .map(|(row, odds)| (*row, probability(*odds)))
            .filter(|(_, posterior)| *posterior >= from && (*posterior < to || to >= 1.0))
            .collect();
        let votes: f64 = within.iter().map(|(row, _)| row.votes).sum();
        let malicious: f64 = within.iter().map(|(row, _)| if row.is_positive { row.votes } else { 0.0 }).sum();
        let posteriors: f64 = within.iter().map(|(row, posterior)| row.votes * posterior).sum();
        let (low, high) = interval(malicious, votes);
        let (predicted, observed) = (posteriors / votes, malicious / votes);
        (!within.is_empty()).then_some(Bin { from, to, cases: within.len(), votes, predicted, observed, low, high })
    };
    EDGES.windows(2).filter_map(bin).collect()
}

/// Returns the two-sided 95 % interval of a share of which `hits` of `trials` were seen (Clopper and Pearson 1934),
/// which holds for fractions, too.
fn interval(hits: f64, trials: f64) -> (f64, f64) {
    let misses = trials - hits;
    let quantile = |a, b, share| Beta::new(a, b).map_or(share, |beta| beta.inverse_cdf(share));
    let low = if hits <= 0.0 { 0.0 } else { quantile(hits, misses + 1.0, 0.025) };
    let high = if misses <= 0.0 { 1.0 } else { quantile(hits + 1.0, misses, 0.975) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(is_positive: bool) -> Row {
        Row { factors: Vec::new(), is_positive, votes: 1.0 }
    }

    fn log_odds(probability: f64) -> f64 {
        (probability / (1.0 - probability)).ln()
    }

    #[test]
    fn losses_are_those_of_the_definitions() {
        let (yes, no) = (row(true), row(false));

        let losses = losses(&[(&yes, log_odds(0.8)), (&no, log_odds(0.4))]);

        assert!((losses.brier - (0.04 + 0.16) / 2.0).abs() < 1e-12);
        assert!((losses.log_loss + (0.8_f64.ln() + 0.6_f64.ln()) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_case_is_in_its_bin_and_certainty_in_the_last() {
        let (yes, no) = (row(true), row(false));
        let rows = [(&yes, log_odds(0.6)), (&no, log_odds(0.7)), (&yes, 800.0), (&no, -800.0)];

        let bins = table(&rows);

        let told: Vec<(f64, usize, f64)> = bins.iter().map(|bin| (bin.from, bin.cases, bin.observed)).collect();
        assert_eq!(told, [(0.0, 1, 0.0), (0.5, 2, 0.5), (0.999, 1, 1.0)]);
        assert!((bins[1].predicted - 0.65).abs() < 1e-12 && bins[1].is_within());
    }

    /// With no hit in n trials the upper end p solves (1 - p)^n = 0.025.
    #[test]
    fn the_interval_is_exact_at_its_ends() {
        let (low, high) = interval(0.0, 20.0);

        assert_eq!(low, 0.0);
        assert!((high - (1.0 - 0.025_f64.powf(1.0 / 20.0))).abs() < 1e-9);
        assert_eq!(interval(20.0, 20.0).1, 1.0);
    }
}
