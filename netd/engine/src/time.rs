//! Points in time.

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch: the capture's own time in replay, wall time live.
///
/// Intervals are differences of kernel records' monotonic times, shifted once by the same offset, so that a step of
/// the wall clock changes no score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Returns a time that is `by_ns` earlier; 0 stands for none and stays.
pub(crate) const fn set_back(at_ns: u64, by_ns: u64) -> u64 {
    match (at_ns, at_ns.saturating_sub(by_ns)) {
        (0, _) => 0,
        (_, 0) => 1,
        (_, earlier) => earlier,
    }
}

impl Timestamp {
    /// Returns the time `seconds` later.
    #[must_use]
    pub fn plus_secs(self, seconds: f64) -> Self {
        Self(self.0.saturating_add((seconds.max(0.0) * 1e9) as u64))
    }

    /// Returns the seconds since `earlier`, 0 when it is later.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e9
    }
}
