//! What a key usually sends in five minutes, in constant memory.

use crate::stats;

/// Buckets remembered: the last two hours with traffic.
const RECENT: usize = 24;
/// Least spread, in nats: what is always alike still varies by a factor of 1.3.
const LEAST_MAD: f32 = 0.17;
/// Half-life of the long memory, in buckets with traffic: a working week of hours.
const HALF_LIFE: f32 = 500.0;
const HOURS: u64 = 168;
/// Mondays at 0:00 UTC begin so many hours after the Unix epoch's Thursday.
const EPOCH_SHIFT: u64 = 72;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Recent buckets, and a long average that one night of uploads does not move.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    recent: [f32; RECENT],
    pub(super) buckets: u32,
    mean: f32,
    spread: f32,
}

impl Baseline {
    pub(super) fn add(&mut self, x: f32) {
        self.recent[self.buckets as usize % RECENT] = x;
        self.buckets = self.buckets.saturating_add(1);
        // Until the half-life is reached, the plain mean.
        let rate = (1.0 / self.buckets as f32).max(1.0 - 0.5_f32.powf(1.0 / HALF_LIFE));
        self.spread += rate * ((x - self.mean).abs() - self.spread);
        self.mean += rate * (x - self.mean);
    }

    /// Returns how far `x` lies above what is usual, in robust standard deviations: by the recent buckets and by the
    /// long memory, whichever finds it less remarkable.
    pub(super) fn z(&self, x: f32) -> f64 {
        let held = (self.buckets as usize).min(RECENT);
        let mut scratch = self.recent;
        let scratch = &mut scratch[..held];
        let Some(median) = stats::median(scratch) else { return 0.0 };
        let mad = stats::mad(scratch, median).unwrap_or(0.0).max(LEAST_MAD);
        let recent = (x - median) / (stats::MAD_TO_SD * mad);
        // The mean absolute deviation of a normal law is 0.8 standard deviations.
        let long = (x - self.mean) / (1.25 * self.spread.max(LEAST_MAD));
        f64::from(recent.min(long))
    }
}

/// What a host sends at each hour of the week.
#[derive(Clone, Debug)]
pub(super) struct Week {
    mean: Box<[f32; HOURS as usize]>,
    since_ns: u64,
}

impl Week {
    const KNOWN_NS: u64 = 2 * HOURS * HOUR_NS;

    pub(super) fn new(at_ns: u64) -> Self {
        Self { mean: Box::new([0.0; HOURS as usize]), since_ns: at_ns }
    }

    pub(super) fn add(&mut self, at_ns: u64, x: f32) {
        let mean = &mut self.mean[hour(at_ns)];
        *mean = if *mean == 0.0 { x } else { *mean + 0.1 * (x - *mean) };
    }

    /// Returns whether two weeks have shown that the host sends about as much at this hour.
    pub(super) fn knows(&self, at_ns: u64, x: f32) -> bool {
        at_ns.saturating_sub(self.since_ns) >= Self::KNOWN_NS && x <= self.mean[hour(at_ns)] + 1.0
    }
}

fn hour(at_ns: u64) -> usize {
    ((at_ns / HOUR_NS + EPOCH_SHIFT) % HOURS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_not_remarkable_and_a_hundredfold_is() {
        let mut baseline = Baseline::default();
        (0..48).for_each(|n| baseline.add(11.0 + 0.1 * (n % 5) as f32));

        assert!(baseline.z(11.4) < 2.0);
        assert!(baseline.z(11.2 + 100_f32.ln()) > 8.0);
    }

    #[test]
    fn a_nightly_upload_is_known_after_two_weeks() {
        let night = |day: u64| day * 24 * HOUR_NS;
        let mut week = Week::new(0);
        (0..15).for_each(|day| week.add(night(day), 20.0));

        assert!(week.knows(night(21), 20.2));
        assert!(!week.knows(night(21) + 9 * HOUR_NS, 20.2));
        assert!(!week.knows(night(7), 20.2), "too early");
    }
}
