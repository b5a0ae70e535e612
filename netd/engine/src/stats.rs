//! Order statistics of small samples.
//!
//! Each function reorders the slice it is given, so that none allocates. Values must be comparable:
//! a NaN is ordered by `f32::total_cmp`, that is last.

/// Scales a median absolute deviation to the standard deviation of a normal law.
pub const MAD_TO_SD: f32 = 1.4826;

/// Returns the quantile `p` in 0..=1, the linear interpolation of the order statistics (R's type 7).
#[must_use]
pub fn quantile(values: &mut [f32], p: f32) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let position = p.clamp(0.0, 1.0) * last as f32;
    let below = (position as usize).min(last);
    let (_, low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let low = *low;
    let fraction = position - below as f32;
    if fraction == 0.0 {
        return Some(low);
    }
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    Some(low + fraction * (high - low))
}

/// Returns the median.
#[must_use]
pub fn median(values: &mut [f32]) -> Option<f32> {
    quantile(values, 0.5)
}

/// Returns the median absolute deviation from `centre`, leaving the deviations in `values`.
#[must_use]
pub fn mad(values: &mut [f32], centre: f32) -> Option<f32> {
    for value in values.iter_mut() {
        *value = (*value - centre).abs();
    }
    median(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn one_outlier_does_not_move_the_mad() {
        assert_eq!(mad(&mut [10.0, 11.0, 12.0, 13.0, 900.0], 12.0), Some(1.0));
    }

    #[test]
    fn quartiles_follow_type_7() {
        assert_eq!(quantile(&mut [5.0, 1.0, 4.0, 2.0, 3.0], 0.25), Some(2.0));
        assert_eq!(quantile(&mut [1.0, 2.0], 0.75), Some(1.75));
    }

    proptest! {
        /// The order in which values were seen is no evidence.
        #[test]
        fn order_changes_nothing(mut values in prop::collection::vec(0.0_f32..1e6, 1..64)) {
            let here = median(&mut values);
            values.reverse();

            prop_assert_eq!(here, median(&mut values));
        }
    }
}
