//! What kind of schedule a key follows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// A sleep after each beat, of one length or drawn from an interval.
    Interval,
    /// Beats at t0 + mT: what delays one does not move the next.
    PhaseLocked,
    /// Each gap is longer than the one before by about this ratio: back-off, if the attempts failed.
    Growing { ratio: f32 },
    /// Two timers, each with a sleep of its own.
    TwoTimers,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval => f.write_str("a sleep between beats"),
            Self::PhaseLocked => f.write_str("a clock that keeps its phase"),
            Self::Growing { ratio } => write!(f, "gaps that grow by a factor of {ratio:.2}"),
            Self::TwoTimers => f.write_str("two timers"),
        }
    }
}
