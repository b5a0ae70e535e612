//! Schedules that grow: back-off, and sleeps made to escape whoever looks for a constant one.
//!
//! - **Trend**: `x = ln d` grows by a constant, `d` by a constant ratio: linear regression of x on the beat's number. After a fall the schedule
//!   begins again: a new run with an intercept of its own and the slope of all runs. A missed beat is a gap that sums two.
//! - **Sum**: each gap is the sum of the two before (Fibonacci).
//! - **Successor**: what followed the last time a gap like this one was seen, whatever the schedule's cycle.

use serde::{Deserialize, Serialize};

use super::predictor::ABSTAINS;
use super::student::Student;
use super::window::Window;
use super::{RESOLUTION_S, fast_exp};

/// Spreads of x around a schedule that are expected before any is known.
const SPREADS: [f32; 2] = [0.004, 0.05];
/// A gap this much (in x) below its forerunner begins a run.
const FALL: f32 = 0.35;
/// A gap farther (in x) than this from what was expected teaches nothing.
const STRANGE: f32 = 0.5;
/// Slopes (of x) of a schedule that grows.
const GROWING: std::ops::Range<f32> = 0.05..2.5;
/// Gaps closer than this (in x) are alike to the successor.
const LIKE: f32 = 0.03;

pub(super) const EXPERTS: usize = 4;
pub(super) const WEIGHTS: [f32; EXPERTS] = [0.02, 0.012, 0.012, 0.016];

/// The regression of the trend, and the error of the sum.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Growth {
    /// The run's gaps, the number of its latest one, and the means of numbers and of x.
    held: f32,
    number: f32,
    mean_number: f32,
    mean: f32,
    /// x of the run's first gap.
    first: f32,
    /// Sums of squares and products around each run's own means, over all runs, and their degrees of freedom.
    numbers: f32,
    products: f32,
    squares: f32,
    freedom: f32,
    /// Squared errors of the sum, and their count.
    sum_squares: f32,
    sums: f32,
}

impl Growth {
    pub(super) fn new() -> Self {
        Self {
            held: 0.0,
            number: 0.0,
            mean_number: 0.0,
            mean: 0.0,
            first: 0.0,
            numbers: 0.0,
            products: 0.0,
            squares: 0.0,
            freedom: 0.0,
            sum_squares: 0.0,
            sums: 0.0,
        }
    }

    /// Returns the constant by which x grows, if that is known.
    pub(super) fn slope(&self) -> Option<f32> {
        (self.numbers > 0.0).then(|| self.products / self.numbers)
    }

    /// Returns the ratio of a gap to the one before, if the gaps grow.
    pub(super) fn ratio(&self) -> Option<f32> {
        self.slope().filter(|slope| GROWING.contains(slope)).map(f32::exp)
    }

    /// Fills in the experts' densities of `x`.
    pub(super) fn fill(&self, densities: &mut [f32], x: f32, past: &Window, prior: f32) {
        let resolution = RESOLUTION_S * fast_exp(-x);
        let resolution = resolution * resolution;
        let (trends, rest) = densities.split_at_mut(SPREADS.len());
        self.fill_trends(trends, x, prior, resolution);
        if let [sum, successor] = rest {
            *sum = self.sum(x, past, prior, resolution);
            *successor = successors(x, past, prior, resolution);
        }
    }

    fn fill_trends(&self, densities: &mut [f32], x: f32, prior: f32, resolution: f32) {
        let Some(slope) = self.slope().filter(|slope| GROWING.contains(slope)) else {
            densities.fill(ABSTAINS);
            return;
        };
        let residue = (self.squares - slope * self.products).max(0.0);
        let freedom = self.freedom.max(1.0);
        let missed = fast_exp(slope).ln_1p();
        for (density, spread) in densities.iter_mut().zip(SPREADS) {
            let variance = (spread * spread + residue) / freedom;
            let beat = |ahead: f32, shift: f32| {
                let from = self.number + ahead - self.mean_number;
                let leverage = 1.0 + 1.0 / self.held + from * from / self.numbers;
                Student::new(self.mean + slope * from + shift, variance * leverage + resolution, freedom).density(x)
            };
            let again = Student::new(self.first, 2.0 * variance + resolution, freedom).density(x);
            *density = 0.74 * beat(1.0, 0.0) + 0.12 * beat(1.0, missed) + 0.08 * again + 0.06 * prior;
        }
    }

    fn sum(&self, x: f32, past: &Window, prior: f32, resolution: f32) -> f32 {
        let Some(expected) = sum_of_last(past) else { return ABSTAINS };
        let freedom = self.sums.max(1.0);
        let of = |spread: f32| {
            Student::new(expected, (spread * spread + self.sum_squares) / freedom + resolution, freedom).density(x)
        };
        let [narrow, wide] = SPREADS;
        0.46 * (of(narrow) + of(wide)) + 0.08 * prior
    }

    /// Learns from the gap `x`; `past` does not hold it yet.
    pub(super) fn learn(&mut self, x: f32, past: &Window) {
        if let Some(error) = sum_of_last(past).map(|expected| x - expected).filter(|error| error.abs() < 0.2) {
            let keep = fade(self.sums);
            self.sum_squares = keep * self.sum_squares + error * error;
            self.sums = keep * self.sums + 1.0;
        }
        let Some(last) = past.last(1).next().filter(|_| self.held > 0.0) else {
            self.begin(x);
            return;
        };
        if x < last - FALL {
            self.begin(x);
            return;
        }
        let mut x = x;
        let mut ahead = 1.0;
        if let Some(slope) = self.slope().filter(|_| self.freedom >= 2.0) {
            let expected = self.mean + slope * (self.number + 1.0 - self.mean_number);
            let missed = fast_exp(slope).ln_1p();
            if (x - expected - missed).abs() < (x - expected).abs() {
                x -= missed;
                ahead = 2.0;
            }
            if (x - expected).abs() > STRANGE {
                self.begin(x);
                return;
            }
        }
        self.extend(x, ahead);
    }

    fn begin(&mut self, x: f32) {
        (self.held, self.number, self.mean_number) = (1.0, 0.0, 0.0);
        (self.mean, self.first) = (x, x);
    }

    /// Adds a gap to the run, by Welford's recurrences. The gap begins at the next beat and ends `beats` later.
    fn extend(&mut self, x: f32, beats: f32) {
        let keep = fade(self.freedom);
        self.number += 1.0;
        self.held += 1.0;
        let (from_number, from) = (self.number - self.mean_number, x - self.mean);
        self.mean_number += from_number / self.held;
        self.mean += from / self.held;
        self.numbers = keep * self.numbers + from_number * (self.number - self.mean_number);
        self.products = keep * self.products + from_number * (x - self.mean);
        self.squares = keep * self.squares + from * (x - self.mean);
        self.freedom = keep * self.freedom + 1.0;
        self.number += beats - 1.0;
    }
}

/// What is kept of a sum of `count` values when one comes: no more than a window's worth.
fn fade(count: f32) -> f32 {
    if count < Window::LEN as f32 { 1.0 } else { 1.0 - 1.0 / count }
}

/// Returns ln of the sum of the last two gaps.
fn sum_of_last(past: &Window) -> Option<f32> {
    if past.len() < 2 {
        return None;
    }
    Some(past.last(2).map(fast_exp).sum::<f32>().ln())
}

/// Returns a kernel estimate from the gaps that followed gaps like the last one.
fn successors(x: f32, past: &Window, prior: f32, resolution: f32) -> f32 {
    let Some(last) = past.last(1).next() else { return prior };
    let narrow = 1.0 / (0.003_f32 * 0.003 + resolution).sqrt();
    let wide = 1.0 / (0.03_f32 * 0.03 + resolution).sqrt();
    let (mut like, mut sum) = (0.0_f32, 0.0_f32);
    let mut before = f32::INFINITY;
    for gap in past.last(Window::LEN) {
        if (before - last).abs() < LIKE {
            let from = (x - gap) * (1.0 / 2.645_75);
            let kernel = |inverse: f32| {
                let inside = (1.0 - (from * inverse).powi(2)).max(0.0);
                inside * inside * inverse
            };
            sum += kernel(narrow) + kernel(wide);
            like += 1.0;
        }
        before = gap;
    }
    // The biweight kernel of unit deviation peaks at 15/16 over its reach.
    let estimate = 0.5 * 0.9375 / 2.645_75 * sum;
    (estimate + 0.3 * prior) / (like + 0.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(gaps: &[f32]) -> (Growth, Window) {
        let (mut growth, mut past) = (Growth::new(), Window::new());
        for x in gaps.iter().map(|gap| gap.ln()) {
            growth.learn(x, &past);
            past.push(x);
        }
        (growth, past)
    }

    fn densities(gaps: &[f32], next: f32) -> [f32; EXPERTS] {
        let (growth, past) = learned(gaps);
        let mut densities = [0.0; EXPERTS];
        growth.fill(&mut densities, next.ln(), &past, 0.05);
        densities
    }

    #[test]
    fn a_constant_ratio_is_learned_across_restarts_and_a_missed_beat() {
        // 32 + 64 stand together.
        let (growth, _) = learned(&[4.0, 8.0, 16.0, 96.0, 128.0, 4.0, 8.0, 16.0]);

        assert!((growth.slope().unwrap() - 2.0_f32.ln()).abs() < 1e-3, "{:?}", growth.slope());
    }

    #[test]
    fn each_kind_of_schedule_has_an_expert() {
        let [trend, _, _, _] = densities(&[10.0, 15.0, 22.5, 33.75, 50.625], 75.937);
        let [_, _, sum, _] = densities(&[10.0, 10.0, 20.0, 30.0, 50.0], 80.0);
        let [_, _, _, successor] = densities(&[10.0, 90.0, 17.0, 10.0, 90.0, 17.0, 10.0], 90.0);

        assert!(trend > 10.0 && sum > 10.0 && successor > 10.0, "{trend} {sum} {successor}");
    }

    #[test]
    fn no_expert_has_more_than_the_whole_probability() {
        for gaps in [&[10.0, 15.0, 22.5, 33.75, 50.6][..], &[10.0, 10.0, 20.0, 30.0], &[60.0, 61.0, 10.0, 60.0, 9.0]] {
            let (growth, past) = learned(gaps);
            let mut total = [0.0_f32; EXPERTS];
            for step in 0..40_000 {
                let mut densities = [0.0; EXPERTS];
                growth.fill(&mut densities, -4.0 + step as f32 * 0.0005, &past, 0.0);
                for (total, density) in total.iter_mut().zip(densities) {
                    *total += density * 0.0005;
                }
            }
            assert!(total.iter().all(|total| *total < 1.01), "{total:?}");
        }
    }
}
