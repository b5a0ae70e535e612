//! Student's t, the predictive law of a normal value whose variance is learned.

use super::{fast_exp, fast_ln};

/// The location, scale and degrees of freedom of Student's t.
#[derive(Clone, Copy, Debug)]
pub(super) struct Student {
    location: f32,
    scale: f32,
    freedom: f32,
    peak: f32,
}

impl Student {
    /// `freedom` is at least 1, `variance` the squared scale.
    pub(super) fn new(location: f32, variance: f32, freedom: f32) -> Self {
        let scale = variance.sqrt();
        // The normaliser, from below (two terms of the gamma ratio's series).
        let normaliser = 0.398_942_3 * (1.0 - 0.25 / freedom + 0.031_25 / (freedom * freedom));
        Self { location, scale, freedom, peak: normaliser / scale }
    }

    pub(super) fn density(&self, at: f32) -> f32 {
        let u = (at - self.location) / self.scale;
        self.peak * fast_exp(-0.5 * (self.freedom + 1.0) * fast_ln(1.0 + u * u / self.freedom))
    }
}
