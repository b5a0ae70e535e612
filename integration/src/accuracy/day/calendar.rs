//! When people are about.

use crate::traffic::dice::Dice;

pub(crate) const HOUR_S: f64 = 3_600.0;
pub(crate) const DAY_S: f64 = 24.0 * HOUR_S;

/// What people do in each hour of a day, over the busiest hour.
const ACTIVITY: [f64; 24] = [
    0.02, 0.01, 0.0, 0.0, 0.0, 0.01, 0.05, 0.3, 0.8, 1.0, 1.0, 0.95, 0.6, 0.8, 1.0, 0.95, 0.9, 0.6, 0.25, 0.12, 0.1,
    0.1, 0.06, 0.03,
];

pub(crate) fn is_working(at_s: f64) -> bool {
    (8.0 * HOUR_S..18.0 * HOUR_S).contains(&(at_s % DAY_S))
}

/// Returns an exponential number.
pub(crate) fn exponential(dice: &mut Dice, mean: f64) -> f64 {
    -mean * (1.0 - dice.unit()).ln()
}

/// Returns when a person next does what they do once in `mean_s` in their busiest hour (thinning: Lewis and Shedler
/// 1979), or `None` when the day is over.
pub(crate) fn next(dice: &mut Dice, now_s: f64, mean_s: f64) -> Option<f64> {
    let mut at_s = now_s;
    while at_s < DAY_S {
        at_s += exponential(dice, mean_s);
        let hour = (at_s / HOUR_S) as usize % ACTIVITY.len();
        if dice.chance(ACTIVITY[hour]) {
            return (at_s < DAY_S).then_some(at_s);
        }
    }
    None
}
