//! Rates with their confidence, and ranks.

use statrs::distribution::{Beta, ContinuousCDF as _};

/// Returns the one-sided 95 % upper bound of a rate of which `hits` of `trials` were seen (Clopper and Pearson 1934).
#[must_use]
pub(crate) fn upper_bound(hits: u64, trials: u64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    Beta::new(hits as f64 + 1.0, (trials - hits) as f64).map_or(1.0, |beta| beta.inverse_cdf(0.95))
}

/// Returns the nearest-rank quantile, where `None` is larger than everything.
#[must_use]
pub(crate) fn quantile(values: &[Option<f64>], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.clamp(1, sorted.len().max(1)) - 1)?;
    value.is_finite().then_some(*value)
}

/// Returns the share of values that are at most `most`.
#[must_use]
pub(crate) fn share_within(values: &[Option<f64>], most: f64) -> f64 {
    let within = values.iter().flatten().filter(|value| **value <= most).count();
    within as f64 / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With no hit in n trials the bound p solves (1 - p)^n = 0.05.
    #[test]
    fn no_hit_in_a_hundred_thousand_is_at_most_three_of_them() {
        assert!((upper_bound(0, 100_000) - (1.0 - 0.05_f64.powf(1e-5))).abs() < 1e-9);
        assert_eq!(upper_bound(5, 5), 1.0);
    }

    #[test]
    fn what_was_never_reached_ranks_last() {
        let runs = [Some(3.0), None, Some(1.0), Some(2.0)];

        assert_eq!((quantile(&runs, 0.5), quantile(&runs, 0.75), quantile(&runs, 0.9)), (Some(2.0), Some(3.0), None));
        assert_eq!(share_within(&runs, 2.0), 0.5);
    }
}
